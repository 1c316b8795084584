//! What is asked, and whether it is asked in the right way.

use bytes::Bytes;
use hyper::{HeaderMap, http::request::Parts};
use serde_json::Value;

use super::{Answer, answer::bad_input};

/// How a route takes its argument (http, "Request and response formats"; spec, `stone_cfg.Route.style`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Rpc,
    Upload,
    Download,
}

/// A route: its host, its style, the scope that it needs, and the fields that its argument has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) host: &'static str,
    pub(super) style: Style,
    pub(super) scope: &'static str,
    fields: &'static [&'static str],
}

const COMMIT: &[&str] =
    &["path", "mode", "autorename", "client_modified", "mute", "strict_conflict"];
const READ: &str = "files.content.read";
const WRITE: &str = "files.content.write";
const LOOK: &str = "files.metadata.read";

const fn rpc(name: &'static str, scope: &'static str, fields: &'static [&'static str]) -> Route {
    Route { name, host: "api", style: Style::Rpc, scope, fields }
}

/// The routes that larder may call (spec, `files.stone`: the attributes of each).
pub(super) const ROUTES: &[Route] = &[
    Route {
        name: "files/upload",
        host: "content",
        style: Style::Upload,
        scope: WRITE,
        fields: &[
            "path",
            "mode",
            "autorename",
            "client_modified",
            "mute",
            "strict_conflict",
            "content_hash",
        ],
    },
    Route {
        name: "files/upload_session/start",
        host: "content",
        style: Style::Upload,
        scope: WRITE,
        fields: &["close", "session_type", "content_hash"],
    },
    Route {
        name: "files/upload_session/append_v2",
        host: "content",
        style: Style::Upload,
        scope: WRITE,
        fields: &["cursor", "close", "content_hash"],
    },
    Route {
        name: "files/download",
        host: "content",
        style: Style::Download,
        scope: READ,
        fields: &["path", "rev"],
    },
    Route {
        name: "files/list_folder/longpoll",
        host: "notify",
        style: Style::Rpc,
        scope: LOOK,
        fields: &["cursor", "timeout"],
    },
    rpc("files/upload_session/finish_batch_v2", WRITE, &["entries"]),
    rpc("files/list_folder", LOOK, &["path", "recursive", "limit", "include_deleted"]),
    rpc("files/list_folder/continue", LOOK, &["cursor"]),
    rpc("files/list_folder/get_latest_cursor", LOOK, &["path", "recursive", "limit"]),
    rpc("files/get_metadata", LOOK, &["path"]),
    rpc("files/delete_v2", WRITE, &["path"]),
    rpc(
        "files/move_v2",
        WRITE,
        &["from_path", "to_path", "autorename", "allow_ownership_transfer"],
    ),
    rpc("files/create_folder_v2", WRITE, &["path", "autorename"]),
];

/// A call that was made in the right way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) arg: Value,
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
    pub(super) is_get: bool,
}

impl Asked {
    /// Checks how `route` was called.
    pub(super) fn new(route: &Route, parts: Parts, body: Bytes) -> Result<Self, Answer> {
        let bad = |why: &str| bad_input(route.name, why);
        let is_get = parts.method == "GET";
        // http, "Content-download endpoints": "These endpoints also support HTTP GET".
        if parts.method != "POST" && !(is_get && route.style == Style::Download) {
            return Err(super::answer::of(405, "text/plain", "method not allowed"));
        }
        let kind = field(&parts.headers, "content-type").unwrap_or_default();
        let (arg, body) = match route.style {
            Style::Rpc => {
                let kinds = ["application/json", "application/json; charset=utf-8"];
                if !kinds.contains(&kind) {
                    return Err(bad(&format!(
                        "Bad HTTP \"Content-Type\" header: \"{kind}\".  Expecting one of \"application/json\", \
                         \"application/json; charset=utf-8\", \"text/plain; charset=dropbox-cors-hack\"."
                    )));
                }
                (body, Bytes::new())
            }
            Style::Upload if kind != "application/octet-stream" => {
                return Err(bad(&format!(
                    "Bad HTTP \"Content-Type\" header: \"{kind}\".  Expecting one of \
                     \"application/octet-stream\", \"text/plain; charset=dropbox-cors-hack\"."
                )));
            }
            Style::Download if !kind.is_empty() => {
                return Err(bad(&format!("Bad HTTP \"Content-Type\" header: \"{kind}\".")));
            }
            Style::Upload | Style::Download => (in_header(route, &parts.headers)?, body),
        };
        let arg: Value = serde_json::from_slice(&arg)
            .map_err(|_| bad("request body: could not decode input as JSON"))?;
        let asked = Self { arg, body, headers: parts.headers, is_get };
        // Dropbox refuses fields that it does not know; the words are inferred.
        let fields = asked.arg.as_object().ok_or_else(|| bad("expected object"))?;
        if let Some(name) = fields.keys().find(|name| !route.fields.contains(&name.as_str())) {
            return Err(bad(&format!("request body: {name}: unknown field")));
        }
        Ok(asked)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.arg.get(name)?.as_str()
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }
}

/// What `commit` holds that is no `CommitInfo`.
pub(super) fn unknown_in_commit(commit: &Value) -> Option<&String> {
    commit.as_object()?.keys().find(|name| !COMMIT.contains(&name.as_str()))
}

/// A header field as text.
pub(super) fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The argument in `Dropbox-API-Arg`: ASCII, everything else and DEL escaped (encoding).
fn in_header(route: &Route, headers: &HeaderMap) -> Result<Bytes, Answer> {
    let missing = "Must provide HTTP header \"Dropbox-API-Arg\" or URL parameter \"arg\".";
    let value = headers.get("dropbox-api-arg").ok_or_else(|| bad_input(route.name, missing))?;
    if value.as_bytes().iter().any(|b| !(0x20..0x7f).contains(b)) {
        let why = "HTTP header \"Dropbox-API-Arg\": could not decode input as JSON";
        return Err(bad_input(route.name, why));
    }
    Ok(Bytes::copy_from_slice(value.as_bytes()))
}
