//! What the server's answers mean: statuses, dates, tags.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, RETRY_AFTER},
};

use crate::{ErrorKind, Version};

/// The longest wait that a server can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Whether the server asks for patience, and for how much of it.
pub(crate) fn patience(status: StatusCode, headers: &HeaderMap) -> Option<Option<Duration>> {
    matches!(status.as_u16(), 429 | 503 | 509).then(|| retry_after(headers))
}

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

/// How long the server wants to be left alone: seconds, or a date by its own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?;
    let asked = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(value).ok()?;
            let now: SystemTime = server_time(headers)?.into();
            until.duration_since(now).unwrap_or_default()
        }
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// The server's clock.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    date(text(headers, DATE)?)
}

/// A date as servers write them.
pub(super) fn date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let http = httpdate::parse_http_date(text).ok().map(Into::into);
    http.or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.into()))
        .or_else(|| Some(DateTime::parse_from_rfc2822(text).ok()?.into()))
}

/// The version that the answer's `ETag` tells.
pub(super) fn version(headers: &HeaderMap) -> Option<Version> {
    tag(text(headers, ETAG)?)
}

/// The version in an entity tag, in the quotes that a condition needs.
///
/// Weak tags are no versions. Apache gives one to a file younger than a second and takes it back
/// in no `If-Match`; nginx makes one from second and length. Two states can share one, so even
/// `If-None-Match` would keep a reader on the old state for ever.
pub(crate) fn tag(text: &str) -> Option<Version> {
    let text = text.trim();
    if text.starts_with("W/") || text.starts_with("w/") {
        return None;
    }
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let fits = |c: char| c.is_ascii_graphic() && c != '"' || c == ' ';
    (!bare.is_empty() && bare.chars().all(fits)).then(|| Version(format!("\"{bare}\"")))
}

/// Whether the answer is a page for people: a login form, a hotel's portal, an index.
pub(super) fn is_web_page(headers: &HeaderMap) -> bool {
    text(headers, CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.trim_start().to_ascii_lowercase();
        kind.starts_with("text/html") || kind.starts_with("application/xhtml")
    })
}

/// A header field as text.
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// About how many bytes header fields take in their HTTP/1.1 form, with the line above them.
pub(crate) fn header_bytes(headers: &HeaderMap) -> u64 {
    let field = |(name, value): (&HeaderName, &reqwest::header::HeaderValue)| {
        (name.as_str().len() + value.len() + 4) as u64
    };
    headers.iter().map(field).sum()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn tags_come_out_quoted_or_not_at_all() {
        for (given, wanted) in [
            ("\"a-1\"", Some("\"a-1\"")),
            ("a-1", Some("\"a-1\"")),
            (" \"324667177e9bc31:4cfe\" ", Some("\"324667177e9bc31:4cfe\"")),
            ("W/\"a\"", None),
            ("", None),
            ("\"\"", None),
            ("\"a\"b\"", None),
            ("a\r\nX: y", None),
        ] {
            assert_eq!(tag(given), wanted.map(|tag| Version(tag.into())), "{given}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_capped() {
        let wait = |after: &'static str| {
            let headers = HeaderMap::from_iter([
                (RETRY_AFTER, HeaderValue::from_static(after)),
                (DATE, HeaderValue::from_static("Fri, 20 Nov 2026 10:00:00 GMT")),
            ]);
            meaning(StatusCode::SERVICE_UNAVAILABLE, &headers).0
        };
        let throttled =
            |seconds| ErrorKind::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(wait("7"), throttled(7));
        assert_eq!(wait("Fri, 20 Nov 2026 10:01:00 GMT"), throttled(60));
        assert_eq!(wait("Fri, 20 Nov 2026 09:01:00 GMT"), throttled(0));
        assert_eq!(wait("86400"), throttled(3600));
        assert_eq!(wait("soon"), ErrorKind::Throttled { retry_after: None });
    }

    #[test]
    fn dates_are_read_as_servers_write_them() {
        for text in [
            "Fri, 20 Nov 2026 10:00:00 GMT",
            "2026-11-20T10:00:00Z",
            "Fri, 20 Nov 2026 11:00:00 +0100",
            "Friday, 20-Nov-26 10:00:00 GMT",
        ] {
            let read = date(text).unwrap();
            assert_eq!(read.to_rfc3339(), "2026-11-20T10:00:00+00:00", "{text}");
        }
        assert_eq!(date("yesterday"), None);
    }
}
