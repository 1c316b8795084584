//! Answers: results, and faults as Dropbox words them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Answer, set};

/// JSON with status 200.
pub(super) fn good(value: &Value) -> Answer {
    of(200, "application/json", value.to_string())
}

/// A fault of the endpoint (http, "Error handling": 409, JSON with `error_summary` and `error`). The
/// summary is made of the tags and ends in dots of random number.
pub(super) fn refused(error: &Value) -> Answer {
    told(409, error)
}

/// 401 (http, "Error handling"; spec, `auth.AuthError`).
pub(super) fn unauthorised(error: &Value) -> Answer {
    told(401, error)
}

/// 429 (ingress; spec, `auth.RateLimitError`). The body of `too_many_write_operations` has no
/// `retry_after`, and its header says 1, as seen in dropbox/dropbox-sdk-go-unofficial#33.
pub(super) fn too_many(reason: &str, retry_after: u64) -> Answer {
    let mut error = json!({ "reason": { ".tag": reason } });
    if reason == "too_many_requests" {
        error = json!({ "reason": { ".tag": reason }, "retry_after": retry_after });
    }
    let summary = format!("{reason}/..");
    let body = json!({ "error_summary": summary, "error": error });
    let mut answer = of(429, "application/json", body.to_string());
    set(&mut answer, "retry-after", &retry_after.to_string());
    answer
}

/// 400: plain text that says what is wrong with the request (http, "Error handling"). The words are
/// inferred from answers that people have quoted.
pub(super) fn bad_input(route: &str, why: &str) -> Answer {
    let text = format!("Error in call to API function \"{route}\": {why}");
    of(400, "text/plain; charset=utf-8", text)
}

/// A fault of an OAuth endpoint (RFC 6749, section 5.2; seen in nextcloud/integration_dropbox#34).
pub(super) fn oauth(error: &str, description: &str) -> Answer {
    let body = json!({ "error": error, "error_description": description });
    of(400, "application/json", body.to_string())
}

/// Any other answer.
pub(super) fn of(status: u16, kind: &str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    set(&mut answer, "content-type", kind);
    answer
}

/// A union of unions: `path`, `conflict`, `file` is `{".tag": "path", "path": {".tag": "conflict", …}}`.
pub(super) fn union(tags: &[&str]) -> Value {
    match tags {
        [] => Value::Null,
        [tag] => json!({ ".tag": tag }),
        [tag, below @ ..] => json!({ ".tag": tag, *tag: union(below) }),
    }
}

fn told(status: u16, error: &Value) -> Answer {
    let dots = ".".repeat(fastrand::usize(0..4));
    let summary = format!("{}/{dots}", summary(error).join("/"));
    let body = json!({ "error_summary": summary, "error": error });
    of(status, "application/json", body.to_string())
}

/// The tags of a fault, outermost first.
fn summary(error: &Value) -> Vec<&str> {
    let Some(tag) = error.get(".tag").and_then(Value::as_str) else { return Vec::new() };
    let below = error.get(tag).or_else(|| error.get("reason"));
    let mut tags = vec![tag];
    tags.extend(below.map(summary).unwrap_or_default());
    tags
}
