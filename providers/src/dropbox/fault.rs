//! What goes wrong, in our words.
//!
//! Statuses: <https://www.dropbox.com/developers/documentation/http/documentation#error-handling>. A fault
//! of one endpoint is a 409 with a union of unions; only its tags are looked at, the summary beside
//! them is for people and ends in dots of changing number.

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;

use super::json;
use crate::{
    Error, ErrorKind, RemotePath,
    http::fields::{self, RETRY_AFTER_MAX},
};

/// An answer other than success.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// `path`, `conflict`, `file`.
    pub(super) tags: Vec<String>,
    /// Under which the body of a refused upload is kept.
    pub(super) session: Option<String>,
    /// How much of a content in pieces is at Dropbox.
    pub(super) correct_offset: Option<u64>,
    /// The permission that the app lacks.
    scope: Option<String>,
    retry_after: Option<Duration>,
}

impl Fault {
    /// Reads what came with `status`. A body that is no JSON has no tags; that of a 429 then stands
    /// for `too_many_requests`, as the guide on data ingress says.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let is_json = fields::text(headers, CONTENT_TYPE)
            .is_some_and(|kind| !kind.trim_start().starts_with("text/plain"));
        let told: Value = Some(body)
            .filter(|_| is_json)
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default();
        let error = told.get("error").unwrap_or(&Value::Null);
        let mut fault = Self::of(status, error);
        fault.retry_after = fields::patience(status, headers)
            .flatten()
            .or(fault.retry_after)
            .map(|wait| wait.min(RETRY_AFTER_MAX));
        fault
    }

    /// A fault that stands within the answer to a batch.
    pub(super) fn in_batch(error: &Value) -> Self {
        Self::of(StatusCode::CONFLICT, error)
    }

    fn of(status: StatusCode, error: &Value) -> Self {
        let text = |name: &str| Some(error.get(name)?.as_str()?.to_owned());
        Self {
            status,
            tags: json::tags(error)
                .into_iter()
                .filter(|tag| is_word(tag))
                .map(str::to_owned)
                .collect(),
            session: text("upload_session_id"),
            correct_offset: error.get("correct_offset").and_then(Value::as_u64),
            scope: text("required_scope").filter(|scope| scope.len() <= 64 && is_word(scope)),
            retry_after: error.get("retry_after").and_then(Value::as_u64).map(Duration::from_secs),
        }
    }

    /// Whether one of its tags is this one.
    pub(super) fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }

    /// Whether a file is in the way of a conditional write, or another one, or none.
    pub(super) fn is_lost_condition(&self) -> bool {
        self.has("conflict") && !self.has("folder") && !self.has("file_ancestor")
    }

    /// Whether it was turned away only because somebody else writes in the same account right now:
    /// nothing was done.
    pub(super) fn is_contention(&self) -> bool {
        self.has("too_many_write_operations")
    }

    /// Whether the access token was refused, and another may be taken.
    pub(super) fn is_token(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
            && !self.has("missing_scope")
            && !self.has("user_suspended")
    }

    /// How long Dropbox wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The error that it stands for; `host` is who was asked.
    pub(super) fn error(&self, host: &str, operation: &'static str, path: &RemotePath) -> Error {
        let (kind, words) = self.meaning(host);
        let code = self.tags.join("/");
        let code = if code.is_empty() { code } else { format!(", {code}") };
        Error::new(
            kind,
            operation,
            path,
            format!("{words} (status {}{code})", self.status.as_u16()),
        )
    }

    fn meaning(&self, host: &str) -> (ErrorKind, String) {
        match self.status.as_u16() {
            400 => (ErrorKind::Protocol, format!("{host} does not understand the request")),
            401 if self.has("missing_scope") => {
                let scope = self.scope.as_deref().unwrap_or("something");
                let words = format!(
                    "the Dropbox app may not do this: tick {scope} under Permissions in the App Console, submit, and log in again"
                );
                (ErrorKind::Forbidden, words)
            }
            401 if self.has("user_suspended") => {
                (ErrorKind::Forbidden, format!("{host} says that this user is suspended"))
            }
            401 => (ErrorKind::LoggedOut, format!("{host} refuses the access token")),
            403 => (ErrorKind::Forbidden, format!("this account may not do this at {host}")),
            404 | 410 => (ErrorKind::Unsupported, format!("{host} does not know this call")),
            408 => (ErrorKind::Unreachable, format!("{host} gave up waiting for the request")),
            409 => self.conflict(host),
            429 if self.is_contention() => {
                let words = format!("others write in the same account at {host}");
                (ErrorKind::Throttled { retry_after: self.retry_after }, words)
            }
            429 | 503 => {
                let words = format!("{host} asks for patience");
                (ErrorKind::Throttled { retry_after: self.retry_after }, words)
            }
            500..=599 => (ErrorKind::Server, format!("{host} has a fault")),
            300..=399 => (ErrorKind::Protocol, format!("{host} sends us elsewhere")),
            _ => (ErrorKind::Protocol, format!("the answer of {host} makes no sense here")),
        }
    }

    /// What a fault of the endpoint means.
    fn conflict(&self, host: &str) -> (ErrorKind, String) {
        // The last tag that is known: what comes after it only says more.
        for tag in self.tags.iter().rev() {
            let found = match tag.as_str() {
                "not_found" if self.has("lookup_failed") => {
                    (ErrorKind::Busy, format!("{host} no longer has the parts of this file"))
                }
                "not_found" => (ErrorKind::NotFound, "there is no such file or folder".to_owned()),
                "not_file" => (ErrorKind::NotFound, "there is a folder, not a file".to_owned()),
                "not_folder" => (ErrorKind::NotFound, "there is a file, not a folder".to_owned()),
                "file_ancestor" | "folder" | "file" => {
                    (ErrorKind::Protocol, "something else of that name is in the way".to_owned())
                }
                "malformed_path" | "disallowed_name" => {
                    (ErrorKind::Config, format!("{host} takes no file of this name"))
                }
                "no_write_permission"
                | "access_restricted"
                | "operation_suppressed"
                | "team_folder" => {
                    (ErrorKind::Forbidden, format!("the account may not write there at {host}"))
                }
                "restricted_content" => {
                    (ErrorKind::Forbidden, format!("{host} does not hand out this file"))
                }
                "insufficient_space" | "insufficient_quota" => {
                    (ErrorKind::Full, "the Dropbox account is full".to_owned())
                }
                "too_many_write_operations" => {
                    let words = format!("others write in the same account at {host}");
                    (ErrorKind::Throttled { retry_after: self.retry_after }, words)
                }
                "locked" => (ErrorKind::Busy, "the file is locked".to_owned()),
                // Nothing was written, and sending it again is all there is to do.
                "content_hash_mismatch" => {
                    (ErrorKind::Busy, format!("other bytes arrived at {host} than were sent"))
                }
                "incorrect_offset" | "closed" | "not_closed" => {
                    (ErrorKind::Busy, format!("{host} and larder disagree on how much was sent"))
                }
                "payload_too_large" | "too_large" | "too_many_files" => {
                    (ErrorKind::Unsupported, format!("{host} takes nothing of this size"))
                }
                "reset" => {
                    (ErrorKind::Busy, format!("{host} wants to be asked from the beginning"))
                }
                "internal_error" => (ErrorKind::Server, format!("{host} has a fault")),
                _ => continue,
            };
            return found;
        }
        (ErrorKind::Protocol, format!("{host} refuses this"))
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}
