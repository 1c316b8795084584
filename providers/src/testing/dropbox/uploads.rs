//! Uploads, in one piece and in sessions.

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::{
    Answer, Shared, State,
    answer::{bad_input, good, refused, union},
    asked::{Asked, unknown_in_commit},
    files::locked,
    tree::{Mode, folded},
};
use crate::{dropbox::hash::ContentHash, sync::lock};

/// The most entries of a batch (spec, `UploadSessionFinishBatchArg`).
const BATCH_MAX: usize = 1_000;

/// A content that has no place yet.
#[derive(Debug, Default)]
pub(super) struct Session {
    bytes: BytesMut,
    is_closed: bool,
}

/// What is wrong with a write: the tags of a `WriteError` (spec).
type Fault = Vec<&'static str>;

/// What is to be written where, and when (spec, `CommitInfo`).
struct Commit {
    path: String,
    mode: Mode,
    is_strict: bool,
}

impl Commit {
    /// Reads a commit; a text says what is wrong with it.
    fn read(commit: &Value) -> Result<Result<Self, Fault>, String> {
        if let Some(name) = unknown_in_commit(commit) {
            return Err(format!("commit: {name}: unknown field"));
        }
        let flag = |name: &str| match commit.get(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| format!("{name}: expected boolean")),
        };
        if flag("autorename")? || !flag("mute")? {
            return Err(
                "this server wants larder to write under its own names, and quietly".to_owned()
            );
        }
        let mode = match commit.get("mode") {
            None => Mode::Add,
            Some(mode) => read_mode(mode)?,
        };
        let is_strict = flag("strict_conflict")?;
        let path =
            commit.get("path").and_then(Value::as_str).ok_or("missing required field 'path'")?;
        let below = path.strip_prefix('/').unwrap_or_default();
        if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Ok(Err(vec!["malformed_path"]));
        }
        Ok(Ok(Self { path: path.to_owned(), mode, is_strict }))
    }
}

/// http, "Request and response formats": a void member may be a plain text, others may not.
fn read_mode(mode: &Value) -> Result<Mode, String> {
    let tag = mode.as_str().or_else(|| mode.get(".tag")?.as_str()).unwrap_or_default();
    match (tag, mode.get("update").and_then(Value::as_str)) {
        ("add", None) => Ok(Mode::Add),
        ("overwrite", None) => Ok(Mode::Overwrite),
        // spec, `Rev`: nine hexadecimal digits or more.
        ("update", Some(rev)) if rev.len() >= 9 && rev.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(Mode::Update(rev.to_owned()))
        }
        ("update", Some(_)) => Err("mode: update: did not match pattern '[0-9a-f]+'".to_owned()),
        _ => Err("mode: not a WriteMode".to_owned()),
    }
}

impl State {
    /// Gives a content its place (spec, `WriteError`).
    fn place(&mut self, commit: &Commit, bytes: Bytes) -> Result<Value, Fault> {
        let hash = ContentHash::of(&bytes);
        let there = self.tree.may_write(&commit.path, &commit.mode, commit.is_strict, &hash);
        let is_there = there.map_err(|what| vec!["conflict", what])?;
        if !is_there {
            if self.tree.bytes() + bytes.len() as u64 > self.knobs.quota {
                return Err(vec!["insufficient_space"]);
            }
            self.tree.write(&commit.path, bytes);
        }
        let node = self.tree.get(&commit.path).ok_or_else(|| vec!["other"])?;
        Ok(node.metadata(&folded(&commit.path), false))
    }

    fn keep(&mut self, bytes: &[u8], is_closed: bool) -> String {
        let id = self.name("pid_upload_session:");
        self.sessions.insert(id.clone(), Session { bytes: BytesMut::from(bytes), is_closed });
        id
    }
}

/// What is wrong with the content of a request, before anything is looked at (spec, `payload_too_large`
/// and `content_hash_mismatch` of each upload route; hash).
fn bad_content(shared: &Shared, asked: &Asked) -> Option<Answer> {
    if asked.body.len() as u64 > lock(&shared.state).knobs.payload_max {
        return Some(refused(&union(&["payload_too_large"])));
    }
    let told = asked.text("content_hash")?;
    (ContentHash::of(&asked.body) != told).then(|| refused(&union(&["content_hash_mismatch"])))
}

/// `files/upload` (spec, `UploadArg`, `UploadError`).
pub(super) async fn upload(shared: &Shared, asked: &Asked) -> Answer {
    if let Some(answer) = bad_content(shared, asked) {
        return answer;
    }
    let mut info = asked.arg.clone();
    if let Some(info) = info.as_object_mut() {
        info.remove("content_hash");
    }
    let commit = match Commit::read(&info) {
        Ok(commit) => commit,
        Err(why) => return bad_input("files/upload", &why),
    };
    let _turn = match locked(shared).await {
        Ok(turn) => turn,
        Err(answer) => return answer,
    };
    let mut state = lock(&shared.state);
    match commit.and_then(|commit| state.place(&commit, asked.body.clone())) {
        Ok(metadata) => {
            shared.changed.notify_waiters();
            good(&metadata)
        }
        // spec, `UploadWriteFailed`: a struct within the union, so its fields stand beside the tag.
        Err(fault) => {
            let session = state.keep(&asked.body, true);
            let reason = union(&fault);
            refused(&json!({ ".tag": "path", "reason": reason, "upload_session_id": session }))
        }
    }
}

/// `files/upload_session/start`.
pub(super) fn start(shared: &Shared, asked: &Asked) -> Answer {
    if let Some(answer) = bad_content(shared, asked) {
        return answer;
    }
    let is_closed = asked.arg.get("close").and_then(Value::as_bool).unwrap_or_default();
    let id = lock(&shared.state).keep(&asked.body, is_closed);
    good(&json!({ "session_id": id }))
}

/// `files/upload_session/append_v2` (spec, `UploadSessionAppendError`).
pub(super) fn append(shared: &Shared, asked: &Asked) -> Answer {
    if let Some(answer) = bad_content(shared, asked) {
        return answer;
    }
    let Some((id, offset)) = asked.arg.get("cursor").and_then(cursor) else {
        return bad_input("files/upload_session/append_v2", "missing required field 'cursor'");
    };
    let mut state = lock(&shared.state);
    let Some(session) = state.sessions.get_mut(id) else { return refused(&union(&["not_found"])) };
    if session.is_closed {
        return refused(&union(&["closed"]));
    }
    if session.bytes.len() as u64 != offset {
        let correct = session.bytes.len();
        return refused(&json!({ ".tag": "incorrect_offset", "correct_offset": correct }));
    }
    session.bytes.extend_from_slice(&asked.body);
    session.is_closed = asked.arg.get("close").and_then(Value::as_bool).unwrap_or_default();
    // The result is Void (spec): null.
    good(&Value::Null)
}

/// `files/upload_session/finish_batch_v2`. "For the same account, this route should be executed serially"
/// (spec, `finish_batch`): the entries of one that comes meanwhile are called off, as those were that
/// dropbox/dropbox-sdk-js#270 shows.
pub(super) async fn finish_batch(shared: &Shared, asked: &Asked, is_busy: bool) -> Answer {
    let route = "files/upload_session/finish_batch_v2";
    let Some(entries) = asked.arg.get("entries").and_then(Value::as_array) else {
        return bad_input(route, "missing required field 'entries'");
    };
    if entries.is_empty() || entries.len() > BATCH_MAX {
        return bad_input(route, "entries: at most 1000 items");
    }
    let called_off =
        || json!({ ".tag": "failure", "failure": { ".tag": "too_many_write_operations" } });
    let Ok(_alone) = shared.batching.try_lock() else {
        let entries: Vec<Value> = entries.iter().map(|_| failure(called_off())).collect();
        return good(&json!({ "entries": entries }));
    };
    let _turn = match locked(shared).await {
        Ok(turn) => turn,
        Err(answer) => return answer,
    };
    let mut state = lock(&shared.state);
    state.batches.push(entries.len());
    let mut told = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        // "Entries succeed or fail singly".
        match finish(&mut state, entry, is_busy && number % 2 == 0) {
            Ok(result) => told.push(result),
            Err(why) => return bad_input(route, &why),
        }
    }
    shared.changed.notify_waiters();
    good(&json!({ "entries": told }))
}

/// One entry (spec, `UploadSessionFinishArg`, `UploadSessionFinishError`, `UploadSessionLookupError`).
fn finish(state: &mut State, entry: &Value, is_called_off: bool) -> Result<Value, String> {
    let (id, offset) = entry.get("cursor").and_then(cursor).ok_or("cursor: missing")?;
    let commit = Commit::read(entry.get("commit").unwrap_or(&Value::Null))?;
    let Some(session) = state.sessions.get(id) else {
        return Ok(failure(union(&["lookup_failed", "not_found"])));
    };
    if !session.is_closed {
        return Ok(failure(union(&["lookup_failed", "not_closed"])));
    }
    let bytes = session.bytes.clone().freeze();
    if bytes.len() as u64 != offset {
        let wrong = json!({ ".tag": "incorrect_offset", "correct_offset": bytes.len() });
        return Ok(failure(json!({ ".tag": "lookup_failed", "lookup_failed": wrong })));
    }
    if is_called_off {
        return Ok(failure(called_off()));
    }
    match commit.and_then(|commit| state.place(&commit, bytes)) {
        Ok(mut metadata) => {
            // What becomes of a session that is done stands nowhere: it is gone here.
            state.sessions.remove(id);
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert(".tag".to_owned(), "success".into());
            }
            Ok(metadata)
        }
        // "Data has already been appended [...]. Please retry": the session stays.
        Err(fault) => {
            let tags: Vec<&str> = std::iter::once("path").chain(fault).collect();
            Ok(failure(union(&tags)))
        }
    }
}

fn failure(error: Value) -> Value {
    json!({ ".tag": "failure", "failure": error })
}

fn called_off() -> Value {
    union(&["too_many_write_operations"])
}

/// spec, `UploadSessionCursor`.
fn cursor(cursor: &Value) -> Option<(&str, u64)> {
    Some((cursor.get("session_id")?.as_str()?, cursor.get("offset")?.as_u64()?))
}
