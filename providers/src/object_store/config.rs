//! What is needed to reach a bucket.

use std::{path::PathBuf, sync::Arc};

use ::object_store::{
    RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
};
use url::Url;

use super::{Store, http::Way};
use crate::{
    HttpConfig, Password, Result,
    http::{server_of, wrong},
};

/// Which kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3, or what speaks like it at an endpoint of its own.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// Where a bucket lies and how to get at it.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// The kind of store.
    pub service: Service,
    /// The bucket, or Azure's container.
    pub bucket: String,
    /// What the keys of the remote begin with; empty for the whole bucket.
    pub prefix: String,
    /// Where the service is asked, if that is not its own usual place.
    pub endpoint: Option<Url>,
    /// The region that requests are signed for; S3 only.
    pub region: Option<String>,
    /// Whose bucket it is.
    pub credentials: Credentials,
    /// How the service is spoken to.
    pub http: HttpConfig,
}

/// What shows a service who asks.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The id of an access key and its secret; at Azure the account and its key.
    Key {
        /// The part that may be seen.
        id: String,
        /// The part that may not.
        secret: Password,
        /// What goes with a key that is good for a while only.
        session: Option<Password>,
    },
    /// The file of a Google service account.
    AccountFile(PathBuf),
    /// The text of such a file.
    AccountText(Password),
}

impl BucketConfig {
    /// The usual settings for a bucket.
    pub fn new(service: Service, bucket: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            service,
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            credentials,
            http: HttpConfig::default(),
        }
    }

    /// Who is asked, as errors name it.
    pub(super) fn host(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => server_of(endpoint),
            None => match self.service {
                Service::S3 => "Amazon S3".to_owned(),
                Service::Gcs => "Google Cloud Storage".to_owned(),
                Service::Azure => "Azure Blob Storage".to_owned(),
            },
        }
    }

    /// The client. What its builders say of settings that they do not take is not passed on: it may
    /// show parts of a secret.
    pub(super) fn build(&self, way: Way) -> Result<Arc<dyn Store>> {
        if let Some(endpoint) = &self.endpoint
            && (!matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none())
        {
            return Err(wrong("the endpoint is no http:// or https:// address"));
        }
        match (self.service, &self.credentials) {
            (Service::S3, Credentials::Key { id, secret, session }) => {
                self.s3(way, id, secret, session.as_ref())
            }
            (Service::Azure, Credentials::Key { id, secret, .. }) => self.azure(way, id, secret),
            (Service::Gcs, Credentials::AccountFile(_) | Credentials::AccountText(_)) => {
                self.gcs(way)
            }
            _ => Err(wrong("these credentials are for another kind of object store")),
        }
    }

    fn s3(
        &self,
        way: Way,
        id: &str,
        secret: &Password,
        session: Option<&Password>,
    ) -> Result<Arc<dyn Store>> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_access_key_id(id)
            .with_secret_access_key(secret.expose())
            // One file at a time is deleted here, and not every store knows the other way.
            .with_disable_bulk_delete(true)
            .with_retry(once())
            .with_http_connector(way);
        if let Some(endpoint) = self.endpoint() {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(session) = session {
            builder = builder.with_token(session.expose());
        }
        let built =
            builder.build().map_err(|_| wrong("S3 cannot be set up with these settings"))?;
        Ok(Arc::new(built))
    }

    fn azure(&self, way: Way, account: &str, key: &Password) -> Result<Arc<dyn Store>> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_container_name(&self.bucket)
            .with_account(account)
            .with_access_key(key.expose())
            .with_retry(once())
            .with_http_connector(way);
        if let Some(endpoint) = self.endpoint() {
            builder = builder.with_endpoint(endpoint);
        }
        let failed = "Azure cannot be set up with these settings: is the key of the account whole?";
        Ok(Arc::new(builder.build().map_err(|_| wrong(failed))?))
    }

    fn gcs(&self, way: Way) -> Result<Arc<dyn Store>> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.bucket)
            .with_retry(once())
            .with_http_connector(way);
        if let Some(endpoint) = self.endpoint() {
            builder = builder.with_base_url(&endpoint);
        }
        let mut from = "the text of the service account".to_owned();
        builder = match &self.credentials {
            Credentials::AccountFile(path) => {
                from = path.display().to_string();
                builder.with_service_account_path(path.to_string_lossy())
            }
            Credentials::AccountText(text) => builder.with_service_account_key(text.expose()),
            Credentials::Key { .. } => builder,
        };
        let failed = |_| wrong(&format!("{from} cannot be read as a Google service account"));
        Ok(Arc::new(builder.build().map_err(failed)?))
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.endpoint.as_ref()?.as_str().trim_end_matches('/').to_owned())
    }
}

/// Waiting is the work of the layer above, which knows what may be done twice.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}
