//! What header fields say, as servers write them: waits, dates, tags, ranges.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode,
    header::{
        CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    },
};

use crate::Version;

/// A header field as text.
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// About how many bytes header fields take in their HTTP/1.1 form, with the line above them.
pub(crate) fn bytes(headers: &HeaderMap) -> u64 {
    let field =
        |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().len() + value.len() + 4) as u64;
    headers.iter().map(field).sum()
}

/// The longest wait that a server can ask for.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Whether the server asks for patience, and for how much of it.
pub(crate) fn patience(status: StatusCode, headers: &HeaderMap) -> Option<Option<Duration>> {
    matches!(status.as_u16(), 429 | 503 | 509).then(|| retry_after(headers))
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
pub(crate) fn date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let http = httpdate::parse_http_date(text).ok().map(Into::into);
    http.or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.into()))
        .or_else(|| Some(DateTime::parse_from_rfc2822(text).ok()?.into()))
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

/// How many bytes the answer says that it has.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.trim().parse().ok()
}

/// What can be asked for to read `wanted`. No field can ask for nothing; one byte tells whether the
/// file is there.
pub(crate) fn askable(wanted: &Range<u64>) -> Range<u64> {
    wanted.start..wanted.end.max(wanted.start.saturating_add(1))
}

/// The `Range` field that asks for `wanted`.
pub(crate) fn range(wanted: &Range<u64>) -> String {
    let Range { start, end } = askable(wanted);
    format!("bytes={start}-{}", end - 1)
}

/// The bytes that the answer covers, if they begin where `wanted` does and are no more.
pub(crate) fn covered(headers: &HeaderMap, wanted: &Range<u64>) -> Option<Range<u64>> {
    let range = content_range(text(headers, CONTENT_RANGE)?)?;
    (range.start == wanted.start && range.end <= askable(wanted).end).then_some(range)
}

/// The bytes that `bytes 0-4/10` stands for.
fn content_range(field: &str) -> Option<Range<u64>> {
    let (range, _) = field.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse::<u64>().ok()?);
    let end = last.checked_add(1)?;
    (first < end).then_some(first..end)
}

#[cfg(test)]
mod tests {
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
            patience(StatusCode::SERVICE_UNAVAILABLE, &headers).unwrap()
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait("7"), seconds(7));
        assert_eq!(wait("Fri, 20 Nov 2026 10:01:00 GMT"), seconds(60));
        assert_eq!(wait("Fri, 20 Nov 2026 09:01:00 GMT"), seconds(0));
        assert_eq!(wait("86400"), seconds(3600));
        assert_eq!(wait("soon"), None);
        assert_eq!(patience(StatusCode::OK, &HeaderMap::new()), None);
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

    #[test]
    fn content_ranges_are_read_with_care() {
        assert_eq!(content_range("bytes 0-4/10"), Some(0..5));
        assert_eq!(content_range("bytes 7-7/*"), Some(7..8));
        let last = format!("bytes 0-{}/*", u64::MAX);
        for broken in ["", "bytes */10", "bytes 4-3/10", "lines 0-4/10", last.as_str()] {
            assert_eq!(content_range(broken), None, "{broken}");
        }
    }

    #[test]
    fn no_other_range_is_taken_than_was_asked_for() {
        assert_eq!(range(&(0..5)), "bytes=0-4");
        assert_eq!(range(&(3..3)), "bytes=3-3", "nothing cannot be asked for");
        let covers = |field: &'static str, wanted: Range<u64>| {
            let field = (CONTENT_RANGE, HeaderValue::from_static(field));
            covered(&HeaderMap::from_iter([field]), &wanted)
        };
        assert_eq!(covers("bytes 3-4/5", 3..9), Some(3..5), "the file ends there");
        assert_eq!(covers("bytes 3-3/5", 3..3), Some(3..4));
        assert_eq!(covers("bytes 2-4/5", 3..9), None);
        assert_eq!(covers("bytes 3-9/50", 3..9), None);
        assert_eq!(covered(&HeaderMap::new(), &(3..9)), None);
    }
}
