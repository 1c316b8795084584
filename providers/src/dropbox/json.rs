//! JSON as Dropbox takes and gives it.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// JSON that can stand in a header field: everything that is no printable ASCII as `\uXXXX`, DEL
/// too. <https://www.dropbox.com/developers/reference/json-encoding>
pub(super) fn in_header(value: &Value) -> String {
    let text = value.to_string();
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && c != '\x7f' {
            safe.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

/// What Dropbox tells of a file, a folder, or what was one.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    /// Missing where only a file can come.
    #[serde(rename = ".tag", default)]
    pub(super) tag: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) path_lower: Option<String>,
    pub(super) rev: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) server_modified: Option<DateTime<Utc>>,
    pub(super) content_hash: Option<String>,
}

/// `ListFolderResult`.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) entries: Vec<Metadata>,
    pub(super) cursor: String,
    pub(super) has_more: bool,
}

/// `ListFolderGetLatestCursorResult`.
#[derive(Debug, Deserialize)]
pub(super) struct Cursor {
    pub(super) cursor: String,
}

/// `ListFolderLongpollResult`.
#[derive(Debug, Deserialize)]
pub(super) struct Waited {
    pub(super) changes: bool,
    pub(super) backoff: Option<u64>,
}

/// `UploadSessionStartResult`.
#[derive(Debug, Deserialize)]
pub(super) struct Session {
    pub(super) session_id: String,
}

/// `UploadSessionFinishBatchResult`.
#[derive(Debug, Deserialize)]
pub(super) struct Finished {
    pub(super) entries: Vec<FinishedEntry>,
}

/// `UploadSessionFinishBatchResultEntry`: the metadata stands beside the tag, the fault below it.
#[derive(Debug, Deserialize)]
#[serde(tag = ".tag", rename_all = "snake_case")]
pub(super) enum FinishedEntry {
    Success(Metadata),
    Failure { failure: Value },
}

/// The tags of a union of unions, outermost first: `path`, `conflict`, `file`. A fault that is a
/// struct in a union (`UploadWriteFailed`, `RateLimitError`) has its tag in `reason`.
pub(super) fn tags(error: &Value) -> Vec<&str> {
    let (mut tags, mut at) = (Vec::new(), Some(error));
    while let Some(value) = at.filter(|_| tags.len() < 8) {
        if let Some(tag) = value.as_str() {
            tags.push(tag);
            break;
        }
        let tag = value.get(".tag").and_then(Value::as_str);
        tags.extend(tag);
        at = tag.and_then(|tag| value.get(tag)).or_else(|| value.get("reason"));
    }
    tags
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn headers_hold_nothing_but_ascii() {
        let value = json!({ "path": "/Käse 🧀\u{7f}\n\"", "n": 1 });
        let safe = in_header(&value);
        assert!(safe.bytes().all(|b| (0x20..0x7f).contains(&b)), "{safe}");
        assert!(safe.contains("K\\u00e4se \\ud83e\\uddc0\\u007f\\n"), "{safe}");
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
    }

    #[test]
    fn tags_are_found_wherever_they_stand() {
        let found = |value: Value| tags(&value).join("/");
        assert_eq!(found(json!("reset")), "reset");
        assert_eq!(
            found(json!({ ".tag": "path", "path": { ".tag": "not_found" } })),
            "path/not_found"
        );
        let failed = json!({
            ".tag": "path",
            "reason": { ".tag": "conflict", "conflict": { ".tag": "file" } },
            "upload_session_id": "1",
        });
        assert_eq!(found(failed), "path/conflict/file");
        let limited = json!({ "reason": { ".tag": "too_many_requests" }, "retry_after": 1 });
        assert_eq!(found(limited), "too_many_requests");
        assert_eq!(found(json!([1])), "");
    }
}
