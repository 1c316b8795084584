//! What the server's answers mean.

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderMap},
};

use crate::{
    ErrorKind, Version,
    http::fields::{patience, tag, text},
};

/// What a status other than success is to the caller, and in words.
pub(super) fn meaning(status: StatusCode, headers: &HeaderMap) -> (ErrorKind, String) {
    let (kind, words) = match status.as_u16() {
        401 => (ErrorKind::Unauthorized, "the account was refused"),
        403 => (ErrorKind::Forbidden, "the account may not do this"),
        404 | 410 => (ErrorKind::NotFound, "there is no such file or folder"),
        405 | 501 => (ErrorKind::Unsupported, "the server does not offer this: is it WebDAV?"),
        408 => (ErrorKind::Unreachable, "the server gave up waiting for the request"),
        409 | 423 | 425 => (ErrorKind::Busy, "the file is locked or in use"),
        413 => (ErrorKind::Unsupported, "the server takes no file of this size"),
        _ if let Some(retry_after) = patience(status, headers) => {
            (ErrorKind::Throttled { retry_after }, "the server asks for patience")
        }
        507 => (ErrorKind::Full, "the storage is full"),
        207 => (ErrorKind::Server, "the server could not do all of it"),
        500..=599 => (ErrorKind::Server, "the server has a fault"),
        _ => (ErrorKind::Protocol, "the server gave an answer that makes no sense here"),
    };
    (kind, format!("{words} (status {status})"))
}

/// The version that the answer's `ETag` tells.
pub(super) fn version(headers: &HeaderMap) -> Option<Version> {
    tag(text(headers, ETAG)?)
}

/// Whether the answer is a page for people: a login form, a hotel's portal, an index.
pub(super) fn is_web_page(headers: &HeaderMap) -> bool {
    text(headers, CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.trim_start().to_ascii_lowercase();
        kind.starts_with("text/html") || kind.starts_with("application/xhtml")
    })
}
