//! Reading, listing, waiting, deleting, renaming.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    Answer, Shared, State,
    answer::{bad_input, good, of, refused, too_many, union},
    asked::Asked,
    range,
    routes::damaged,
    set,
    tree::{Node, folded},
};
use crate::sync::lock;

/// A path that is looked up or written: it begins with a slash (spec, `ReadPath`, `WritePath`) and ends
/// with a name. Elsewhere it is a `malformed_path` (spec, `LookupError`, `WriteError`).
pub(super) fn path_of(asked: &Asked, name: &str) -> Option<String> {
    let path = asked.text(name)?;
    let below = path.strip_prefix('/')?;
    let is_whole = below.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    is_whole.then(|| path.to_owned())
}

/// `files/download`: `Dropbox-API-Result`, `If-None-Match` and ranges (http, "Content-download
/// endpoints"). The tag is the revision, marked weak: inferred from dropbox/dropbox-sdk-dotnet#358.
pub(super) fn download(shared: &Shared, asked: &Asked, is_damaged: bool) -> Answer {
    let state = lock(&shared.state);
    let Some(path) = path_of(asked, "path") else {
        return refused(&union(&["path", "malformed_path"]));
    };
    let Some(node) = state.tree.get(&path) else { return refused(&union(&["path", "not_found"])) };
    let Some(file) = &node.file else { return refused(&union(&["path", "not_file"])) };
    let tag = format!("W/\"{}\"", file.rev);
    let known = asked.field("if-none-match").filter(|_| asked.is_get);
    if known == Some(&tag) {
        let mut answer = of(304, "application/octet-stream", "");
        set(&mut answer, "etag", &tag);
        return answer;
    }
    let len = file.bytes.len();
    let wanted = asked.field("range").map(|text| range(text, len));
    let (status, bytes) = match wanted {
        None => (StatusCode::OK, file.bytes.clone()),
        Some(None) => {
            let mut answer = of(416, "text/plain; charset=utf-8", "");
            set(&mut answer, "content-range", &format!("bytes */{len}"));
            return answer;
        }
        Some(Some(ref range)) => (StatusCode::PARTIAL_CONTENT, file.bytes.slice(range.clone())),
    };
    let bytes = if is_damaged { damaged(&bytes) } else { bytes };
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    if let Some(Some(range)) = wanted {
        let covered = format!("bytes {}-{}/{len}", range.start, range.end - 1);
        set(&mut answer, "content-range", &covered);
    }
    set(&mut answer, "content-type", "application/octet-stream");
    set(&mut answer, "accept-ranges", "bytes");
    set(&mut answer, "etag", &tag);
    set(&mut answer, "dropbox-api-result", &ascii(&node.metadata(&folded(&path), false)));
    answer
}

/// JSON in a header field is ASCII here too (encoding).
fn ascii(value: &Value) -> String {
    let escaped = |c: char| {
        let mut units = [0; 2];
        let units = c.encode_utf16(&mut units).iter();
        units.map(|unit| format!("\\u{unit:04x}")).collect::<String>()
    };
    let text = value.to_string();
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect()
}

/// `files/get_metadata`. That the root has no metadata is quoted widely and stands in no document.
pub(super) fn look(shared: &Shared, asked: &Asked) -> Answer {
    if asked.text("path") == Some("") {
        return bad_input(
            "files/get_metadata",
            "request body: path: The root folder is unsupported.",
        );
    }
    let state = lock(&shared.state);
    let Some(path) = path_of(asked, "path") else {
        return refused(&union(&["path", "malformed_path"]));
    };
    match state.tree.get(&path) {
        Some(node) => good(&node.metadata(&folded(&path), true)),
        None => refused(&union(&["path", "not_found"])),
    }
}

/// The folder that a listing is of: the root is the empty text (spec, `PathROrId`; http, "Path formats").
fn folder_of(state: &State, asked: &Asked) -> Result<String, Answer> {
    let Some(path) = asked.text("path") else {
        return Err(bad_input("files/list_folder", "request body: missing required field 'path'"));
    };
    if path.is_empty() {
        return Ok(String::new());
    }
    if path == "/" {
        let why =
            "request body: path: Specify the root folder as an empty string rather than as \"/\".";
        return Err(bad_input("files/list_folder", why));
    }
    if asked.arg.get("recursive").and_then(Value::as_bool) == Some(true) {
        return Err(bad_input("files/list_folder", "this server lists one folder at a time"));
    }
    let malformed = || refused(&union(&["path", "malformed_path"]));
    let path = path_of(asked, "path").ok_or_else(malformed)?;
    match state.tree.get(&path) {
        None => Err(refused(&union(&["path", "not_found"]))),
        Some(Node { file: Some(_), .. }) => Err(refused(&union(&["path", "not_folder"]))),
        Some(_) => Ok(folded(&path)),
    }
}

/// `files/list_folder` (spec, `ListFolderResult`).
pub(super) fn list(shared: &Shared, asked: &Asked) -> Answer {
    let state = lock(&shared.state);
    match folder_of(&state, asked) {
        Ok(folder) => page(&state, &folder, ""),
        Err(answer) => answer,
    }
}

/// `files/list_folder/continue`: the next page, or what changed since the last one.
pub(super) fn list_on(shared: &Shared, asked: &Asked) -> Answer {
    let state = lock(&shared.state);
    let cursor = asked.text("cursor").unwrap_or_default();
    if let Some((folder, after)) =
        cursor.strip_prefix("page|").and_then(|text| text.split_once('|'))
    {
        return page(&state, folder, after);
    }
    let Some((folder, since)) = since(cursor) else { return refused(&union(&["reset"])) };
    let mut paths = state.tree.changed_in(folder, since);
    paths.sort_unstable();
    paths.dedup();
    let entry = |path: &str| match state.tree.get(path) {
        Some(node) => node.metadata(path, true),
        None => {
            let name = path.rsplit('/').next().unwrap_or_default();
            json!({ ".tag": "deleted", "name": name, "path_lower": path, "path_display": path })
        }
    };
    let entries: Vec<Value> = paths.into_iter().map(entry).collect();
    good(&json!({ "entries": entries, "cursor": cursor_of(&state, folder), "has_more": false }))
}

fn page(state: &State, folder: &str, after: &str) -> Answer {
    let size = state.knobs.page;
    let mut rest = state.tree.children(folder).filter(|(path, _)| path.as_str() > after);
    let rows: Vec<_> = rest.by_ref().take(size).collect();
    let has_more = rest.next().is_some();
    let last = rows.last().map_or(after, |(path, _)| path.as_str());
    let cursor = if has_more { format!("page|{folder}|{last}") } else { cursor_of(state, folder) };
    let entries: Vec<Value> = rows.iter().map(|(path, node)| node.metadata(path, true)).collect();
    good(&json!({ "entries": entries, "cursor": cursor, "has_more": has_more }))
}

fn cursor_of(state: &State, folder: &str) -> String {
    format!("since|{folder}|{}", state.tree.changes())
}

fn since(cursor: &str) -> Option<(&str, usize)> {
    let (folder, since) = cursor.strip_prefix("since|")?.split_once('|')?;
    Some((folder, since.parse().ok()?))
}

/// `files/list_folder/get_latest_cursor`.
pub(super) fn latest(shared: &Shared, asked: &Asked) -> Answer {
    let state = lock(&shared.state);
    match folder_of(&state, asked) {
        Ok(folder) => good(&json!({ "cursor": cursor_of(&state, &folder) })),
        Err(answer) => answer,
    }
}

/// `files/list_folder/longpoll` (spec, `ListFolderLongpollArg` and `…Result`): 30 to 480 seconds, or
/// until something changes. The jitter is left out.
pub(super) async fn wait(shared: &Arc<Shared>, asked: &Asked) -> Answer {
    let timeout = asked.arg.get("timeout").map_or(Some(30), Value::as_u64);
    let Some(timeout) = timeout.filter(|timeout| (30..=480).contains(timeout)) else {
        let why = "request body: timeout: not between 30 and 480";
        return bad_input("files/list_folder/longpoll", why);
    };
    let Some((folder, since)) = asked.text("cursor").and_then(since) else {
        return refused(&union(&["reset"]));
    };
    let (longest, backoff) = {
        let state = lock(&shared.state);
        (state.knobs.wait_max, state.knobs.backoff)
    };
    let until = Instant::now() + Duration::from_secs(timeout).min(longest);
    loop {
        let rung = shared.changed.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        let changes = !lock(&shared.state).tree.changed_in(folder, since).is_empty();
        if changes || timeout_at(until, rung).await.is_err() {
            let mut told = json!({ "changes": changes });
            if let (Some(backoff), Some(told)) = (backoff, told.as_object_mut()) {
                told.insert("backoff".to_owned(), backoff.into());
            }
            return good(&told);
        }
    }
}

/// The lock of a write (ingress, "Namespace lock contention"); nothing if it is not to be had.
pub(super) async fn locked(shared: &Shared) -> Result<tokio::sync::MutexGuard<'_, ()>, Answer> {
    let (time, patience) = {
        let state = lock(&shared.state);
        (state.knobs.write_time, state.knobs.lock_patience)
    };
    let turn = tokio::time::timeout(patience, shared.writing.lock()).await;
    let turn = turn.map_err(|_| too_many("too_many_write_operations", 1))?;
    tokio::time::sleep(time).await;
    Ok(turn)
}

/// `files/delete_v2`: "If the path is a folder, all its contents will be deleted too."
pub(super) async fn delete(shared: &Shared, asked: &Asked) -> Answer {
    let Some(path) = path_of(asked, "path") else {
        return refused(&union(&["path_lookup", "malformed_path"]));
    };
    let _turn = match locked(shared).await {
        Ok(turn) => turn,
        Err(answer) => return answer,
    };
    let mut state = lock(&shared.state);
    let Some(node) = state.tree.get(&path) else {
        return refused(&union(&["path_lookup", "not_found"]));
    };
    let metadata = node.metadata(&folded(&path), true);
    state.tree.remove(&path);
    shared.changed.notify_waiters();
    good(&json!({ "metadata": metadata }))
}

/// `files/move_v2` (spec, `RelocationError`). That the folders above the target are made as needed is
/// inferred. Folders are not moved here.
pub(super) async fn rename(shared: &Shared, asked: &Asked) -> Answer {
    let (Some(from), Some(to)) = (path_of(asked, "from_path"), path_of(asked, "to_path")) else {
        return refused(&union(&["from_lookup", "malformed_path"]));
    };
    let _turn = match locked(shared).await {
        Ok(turn) => turn,
        Err(answer) => return answer,
    };
    let mut state = lock(&shared.state);
    let Some(file) = state.tree.get(&from).and_then(|node| node.file.clone()) else {
        return refused(&union(&["from_lookup", "not_found"]));
    };
    if let Some(there) = state.tree.get(&to) {
        let what = if there.file.is_some() { "file" } else { "folder" };
        return refused(&union(&["to", "conflict", what]));
    }
    state.tree.remove(&from);
    state.tree.write(&to, Bytes::clone(&file.bytes));
    shared.changed.notify_waiters();
    let metadata = state.tree.get(&to).map(|node| node.metadata(&folded(&to), true));
    good(&json!({ "metadata": metadata }))
}

/// `files/create_folder_v2`.
pub(super) async fn make(shared: &Shared, asked: &Asked) -> Answer {
    let Some(path) = path_of(asked, "path") else {
        return refused(&union(&["path", "malformed_path"]));
    };
    let _turn = match locked(shared).await {
        Ok(turn) => turn,
        Err(answer) => return answer,
    };
    let mut state = lock(&shared.state);
    if let Some(there) = state.tree.get(&path) {
        let what = if there.file.is_some() { "file" } else { "folder" };
        return refused(&union(&["path", "conflict", what]));
    }
    state.tree.make(&path);
    shared.changed.notify_waiters();
    let metadata = state.tree.get(&path).map(|node| node.metadata(&folded(&path), false));
    good(&json!({ "metadata": metadata }))
}
