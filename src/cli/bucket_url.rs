//! Addresses of buckets: `s3://`, `gs://` and `az://`.

use std::fmt;

use larder_providers::{Bucket, BucketConfig, Credentials, HttpConfig, Password, Service, Traffic};
use url::Url;

use super::error::CliError;

/// An address of a bucket and a prefix in it, without any secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BucketUrl {
    service: Service,
    /// The id of the access key, or Azure's account.
    user: Option<String>,
    bucket: String,
    prefix: String,
    endpoint: Option<Url>,
    region: Option<String>,
}

/// A look at the surroundings: the variable of a name, if it is set.
type Look<'a> = &'a dyn Fn(&str) -> Option<String>;

impl BucketUrl {
    /// Reads what stands after the scheme; a secret that stands in it comes back beside it.
    pub(super) fn parse(scheme: &str, rest: &str) -> Result<(Self, Option<Password>), CliError> {
        // What is wrong is told without the address: a secret may stand anywhere in it.
        let wrong = |why: &str| CliError::Usage(format!("this {scheme}:// address {why}"));
        let service = match scheme {
            "s3" => Service::S3,
            "gs" => Service::Gcs,
            _ => Service::Azure,
        };
        let rest = rest.strip_prefix("//").ok_or_else(|| wrong("needs // and a bucket"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (user, place),
            None => ("", rest),
        };
        let (user, secret) = match user.split_once(':') {
            Some((user, secret)) => (user, Some(Password::new(secret))),
            None => (user, None),
        };
        if service == Service::Gcs && !user.is_empty() {
            return Err(wrong("takes no account; GOOGLE_APPLICATION_CREDENTIALS names its file"));
        }
        let is_word = |text: &str| {
            text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() || !is_word(bucket) {
            return Err(wrong("needs the name of a bucket after the //"));
        }
        if !is_word(user) {
            return Err(wrong(
                "has a / or another character in its account: give the secret apart",
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
        let is_plain = !prefix.contains(['%', '#', '\\']) && !prefix.contains(char::is_control);
        let is_path = prefix.is_empty() || prefix.split('/').all(is_part);
        if !is_plain || !is_path {
            return Err(wrong("has a prefix that larder does not take (empty parts, %, # or \\)"));
        }
        let (endpoint, region) = settings(query).map_err(wrong)?;
        let user = Some(user.to_owned()).filter(|user| !user.is_empty());
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Ok((Self { service, user, bucket, prefix, endpoint, region }, secret))
    }

    /// The same address with what the surroundings say of where it lies, so that it is whole wherever
    /// it is kept.
    pub(super) fn completed(mut self, look: Look<'_>) -> Result<Self, CliError> {
        let (endpoints, regions): (&[_], &[_]) = match self.service {
            Service::S3 => (
                &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
                &["AWS_REGION", "AWS_DEFAULT_REGION"],
            ),
            Service::Gcs => (&[], &[]),
            Service::Azure => (&["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"], &[]),
        };
        if self.endpoint.is_none()
            && let Some((name, text)) = first(look, endpoints)
        {
            let wrong = |why| CliError::Usage(format!("{name} {why}"));
            self.endpoint = Some(endpoint(&text).map_err(wrong)?);
        }
        if self.region.is_none() {
            self.region = first(look, regions).map(|(_, text)| text);
        }
        if self.service == Service::Azure && self.user.is_none() {
            self.user = look("AZURE_STORAGE_ACCOUNT_NAME");
        }
        Ok(self)
    }

    /// The address of a folder below this one.
    pub(super) fn below(&self, name: &str) -> Self {
        let prefix = format!("{}/{name}", self.prefix);
        Self { prefix: prefix.trim_start_matches('/').to_owned(), ..self.clone() }
    }

    /// The account whose secret is asked and kept; nothing where the surroundings give it.
    pub(super) fn account(&self, look: Look<'_>) -> Option<String> {
        let user = self.user.as_deref().filter(|_| self.surrounding(look).is_none())?;
        let place = match (&self.endpoint, self.service) {
            (Some(endpoint), _) => endpoint.authority(),
            (None, Service::S3) => "s3",
            (None, Service::Gcs) => "gs",
            (None, Service::Azure) => "az",
        };
        Some(format!("{user}@{place}"))
    }

    /// Whether what is written would travel in the open.
    pub(super) fn is_exposed(&self) -> bool {
        self.endpoint.as_ref().is_some_and(super::remote_url::is_open)
    }

    /// What opens the bucket, with the secret that was kept for the account if there is one.
    pub(super) fn open(
        &self,
        secret: Option<Password>,
        look: Look<'_>,
        http: &HttpConfig,
        traffic: &Traffic,
    ) -> Result<Bucket, CliError> {
        let kept = self.user.clone().zip(secret);
        let kept = kept.map(|(id, secret)| Credentials::Key { id, secret, session: None });
        let Some(credentials) = kept.or_else(|| self.surrounding(look)) else {
            return Err(CliError::Usage(format!("no credentials for {self}: {}", self.wanted())));
        };
        let config = BucketConfig {
            prefix: self.prefix.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            http: http.clone(),
            ..BucketConfig::new(self.service, &self.bucket, credentials)
        };
        Ok(Bucket::new(config, traffic.clone())?)
    }

    /// The credentials that the surroundings give for this address.
    fn surrounding(&self, look: Look<'_>) -> Option<Credentials> {
        let is_ours = |id: &String| self.user.as_ref().is_none_or(|user| user == id);
        let secret = |name: &str| look(name).map(Password::new);
        match self.service {
            Service::S3 => Some(Credentials::Key {
                id: look("AWS_ACCESS_KEY_ID").filter(is_ours)?,
                secret: secret("AWS_SECRET_ACCESS_KEY")?,
                session: secret("AWS_SESSION_TOKEN"),
            }),
            Service::Azure => {
                let id = look("AZURE_STORAGE_ACCOUNT_NAME").or_else(|| self.user.clone());
                Some(Credentials::Key {
                    id: id.filter(is_ours)?,
                    secret: secret("AZURE_STORAGE_ACCOUNT_KEY")?,
                    session: None,
                })
            }
            Service::Gcs => {
                let files = ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"];
                let file = files.iter().find_map(|name| look(name));
                let file = file.map(|file| Credentials::AccountFile(file.into()));
                file.or_else(|| secret("GOOGLE_SERVICE_ACCOUNT_KEY").map(Credentials::AccountText))
            }
        }
    }

    fn wanted(&self) -> &'static str {
        match self.service {
            Service::S3 => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write the id of the key before the \
                 bucket, s3://ID@bucket/prefix, and larder asks for its secret"
            }
            Service::Gcs => {
                "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account's key"
            }
            Service::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or write the account before \
                 the container, az://ACCOUNT@container/prefix, and larder asks for its key"
            }
        }
    }
}

/// The first of the variables that is set.
fn first(look: Look<'_>, names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, look(name)?)))
}

/// The settings in a query: the endpoint and the region.
fn settings(query: &str) -> Result<(Option<Url>, Option<String>), &'static str> {
    let (mut at, mut region) = (None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "endpoint" => at = Some(endpoint(&value)?),
            "region" if !value.is_empty() && value.bytes().all(is_of_region) => {
                region = Some(value.into_owned());
            }
            "region" => return Err("has a region that is none"),
            _ => return Err("has a setting that is none; there are ?endpoint= and region="),
        }
    }
    Ok((at, region))
}

fn is_of_region(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn endpoint(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or("has an endpoint that is no http:// or https:// address")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has an account in its endpoint, where none can stand");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a ? or a # in its endpoint");
    }
    Ok(url)
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.service {
            Service::S3 => "s3",
            Service::Gcs => "gs",
            Service::Azure => "az",
        };
        write!(f, "{scheme}://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        let mut before = '?';
        if let Some(endpoint) = &self.endpoint {
            write!(f, "{before}endpoint={}", endpoint.as_str().trim_end_matches('/'))?;
            before = '&';
        }
        if let Some(region) = &self.region {
            write!(f, "{before}region={region}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(BucketUrl, Option<Password>), CliError> {
        let (scheme, rest) = text.split_once(':').unwrap();
        BucketUrl::parse(scheme, rest)
    }

    #[test]
    fn an_address_is_kept_whole_and_without_its_secret() {
        for (given, kept) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("s3://AKIA1:s3cret@bucket/a", "s3://AKIA1@bucket/a"),
            ("s3://AKIA1:s3/cr:et@bucket/a", "s3://AKIA1@bucket/a"),
            (
                "s3://b/p?endpoint=http://127.0.0.1:9000&region=us-east-1",
                "s3://b/p?endpoint=http://127.0.0.1:9000&region=us-east-1",
            ),
            ("s3://b?endpoint=http%3A%2F%2Fhost%2F", "s3://b?endpoint=http://host"),
            ("gs://bucket/notes", "gs://bucket/notes"),
            ("az://account@container/notes", "az://account@container/notes"),
        ] {
            let (url, secret) = read(given).unwrap();
            assert_eq!(url.to_string(), kept);
            assert_eq!(read(kept).unwrap(), (url, None));
            assert_eq!(secret.is_some(), given.contains("cr"));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_what_may_be_a_secret() {
        for text in [
            "s3:bucket",
            "s3://",
            "s3:///x",
            "s3://ID:s3cret@",
            "s3://ID:s3cret@b/a//b",
            "s3://ID:s3cret@b/../a",
            "s3://ID:s3cret@b?token=s3cret",
            "s3://b?endpoint=http://ann:s3cret@host",
            "s3://b?endpoint=s3cret",
            "s3://b?region=s3cret%20s3cret",
            "gs://ann:s3cret@b",
        ] {
            let told = read(text).unwrap_err().message();
            assert!(!told.contains("s3cret"), "{text}: {told}");
        }
    }

    #[test]
    fn the_surroundings_fill_in_what_is_not_said() {
        let set = |pairs: &'static [(&str, &str)]| {
            |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
        };
        let look = set(&[
            ("AWS_ENDPOINT_URL", "https://minio.example"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIA1"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
        ]);
        let full = |text: &str| read(text).unwrap().0.completed(&look).unwrap();
        let kept = full("s3://b");
        assert_eq!(kept.to_string(), "s3://b?endpoint=https://minio.example&region=eu-central-1");
        assert_eq!(full("s3://b?region=x").to_string().matches("region=").count(), 1);
        assert!(kept.account(&look).is_none() && kept.surrounding(&look).is_some());
        let other = full("s3://AKIA2@b");
        assert_eq!(other.account(&look).as_deref(), Some("AKIA2@minio.example"));
        assert!(other.surrounding(&look).is_none(), "another key's secret");
        let look = set(&[("AZURE_STORAGE_ACCOUNT_NAME", "ann")]);
        let azure = read("az://c/p").unwrap().0.completed(&look).unwrap();
        assert_eq!(
            (azure.to_string().as_str(), azure.account(&look).as_deref()),
            ("az://ann@c/p", Some("ann@az"))
        );
        let nothing = |_: &str| None;
        let told = azure
            .open(None, &nothing, &HttpConfig::default(), &Traffic::new())
            .unwrap_err()
            .message();
        assert!(told.contains("AZURE_STORAGE_ACCOUNT_KEY"), "{told}");
    }

    #[test]
    fn google_wants_a_service_account() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bucket = read("gs://b/p").unwrap().0;
        let nothing = |_: &str| None;
        assert!(bucket.open(None, &nothing, &HttpConfig::default(), &Traffic::new()).is_err());
        let text = r#"{"private_key": "s3cret", "private_key_id": "", "client_email": "", "disable_oauth": true}"#;
        let look = |name: &str| (name == "GOOGLE_SERVICE_ACCOUNT_KEY").then(|| text.to_owned());
        bucket.open(None, &look, &HttpConfig::default(), &Traffic::new()).unwrap();
        let broken = |name: &str| (name == "GOOGLE_SERVICE_ACCOUNT_KEY").then(|| "s3cret".into());
        let told = bucket
            .open(None, &broken, &HttpConfig::default(), &Traffic::new())
            .unwrap_err()
            .message();
        assert!(!told.contains("s3cret"), "{told}");
    }

    #[test]
    fn http_to_another_machine_is_exposed() {
        assert!(read("s3://b?endpoint=http://minio.lan:9000").unwrap().0.is_exposed());
        assert!(!read("s3://b?endpoint=http://127.0.0.1:9000").unwrap().0.is_exposed());
        assert!(!read("s3://b").unwrap().0.is_exposed());
    }
}
