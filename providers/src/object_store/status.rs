//! What goes wrong, in our words.

use std::error::Error as StdError;

use reqwest::StatusCode;

use super::{Bucket, Service, http::Seen};
use crate::{Error, ErrorKind, RemotePath, http::causes};

/// Names of faults that stand for a refused account.
const UNAUTHORIZED: [&str; 8] = [
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidSecurity",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

impl Bucket {
    /// The error that a failed call stands for. What `object_store` says of it is left out: it
    /// repeats addresses, and the service's story with them.
    pub(super) fn failure(
        &self,
        operation: &'static str,
        path: &RemotePath,
        error: &(dyn StdError + 'static),
        seen: &Seen,
    ) -> Error {
        if let Some(ours) = causes(error).find_map(|cause| cause.downcast_ref::<Error>()) {
            let told = Error::new(ours.kind(), operation, path, ours.detail());
            let last = causes(error).last().filter(|last| !last.is::<Error>());
            return match last {
                Some(last) => told.with_source(last.to_string()),
                None => told,
            };
        }
        let (kind, words) = match seen.status {
            Some(status) => self.meaning(operation, status, seen),
            None => {
                let words = format!("no request can be made to {} with these settings", self.host);
                (ErrorKind::Config, words)
            }
        };
        Error::new(kind, operation, path, words)
    }

    fn meaning(
        &self,
        operation: &'static str,
        status: StatusCode,
        seen: &Seen,
    ) -> (ErrorKind, String) {
        let host = &self.host;
        let code = seen.code.as_deref().unwrap_or_default();
        let (kind, words) = match (status.as_u16(), code) {
            (_, "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName") => {
                let words = format!("there is no bucket {:?} at {host}: make it first", self.name);
                (ErrorKind::Config, words)
            }
            (_, "RequestTimeTooSkewed") => {
                (ErrorKind::Config, format!("{host} says that the clock of this device is wrong"))
            }
            (301 | 307 | 400, _) if self.service == Service::S3 && seen.region.is_some() => {
                let region = seen.region.as_deref().unwrap_or_default();
                let words =
                    format!("the bucket lies in {region}: add region={region} to its address");
                (ErrorKind::Config, words)
            }
            (300..=399, _) if let Some(to) = &seen.elsewhere => {
                let words = format!("{host} sends us elsewhere, to {to}, which is not followed");
                (ErrorKind::Moved, words)
            }
            (401, _) => (ErrorKind::Unauthorized, format!("{host} refused the credentials")),
            (_, code) if UNAUTHORIZED.contains(&code) => {
                (ErrorKind::Unauthorized, format!("{host} refused the credentials"))
            }
            (403, _) => {
                (ErrorKind::Forbidden, format!("the credentials do not allow this at {host}"))
            }
            (404 | 410, _) => (ErrorKind::NotFound, "there is no such object".to_owned()),
            (405 | 501, _) => (ErrorKind::Unsupported, format!("{host} does not offer this")),
            (408, _) => (ErrorKind::Unreachable, format!("{host} gave up waiting for the request")),
            (409 | 423, _) => (ErrorKind::Busy, format!("others write the same at {host}")),
            (507, _) | (_, "QuotaExceeded") => (ErrorKind::Full, format!("{host} is full")),
            _ if let Some(retry_after) = seen.patience => {
                (ErrorKind::Throttled { retry_after }, format!("{host} asks for patience"))
            }
            (500..=599, _) => (ErrorKind::Server, format!("{host} has a fault")),
            // An upload is put together, and a batch of deletions done, after the answer has begun.
            (200..=299, _) if matches!(operation, "put" | "delete") => {
                (ErrorKind::Server, format!("{host} failed after it had begun to answer"))
            }
            _ => (ErrorKind::Protocol, format!("the answer of {host} makes no sense here")),
        };
        let code = if code.is_empty() { String::new() } else { format!(", {code}") };
        (kind, format!("{words} (status {}{code})", status.as_u16()))
    }
}

/// The service's own word for a fault in its story.
pub(super) fn code(story: &str) -> Option<String> {
    let (_, rest) = story.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}
