//! Writing, deleting, renaming.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use serde_json::{Value, json};

use super::{
    Dropbox,
    fault::Fault,
    hash::ContentHash,
    json::{Metadata, Session},
    lane::{Mode, Parcel, Placed, waited},
    wire::{Call, Style},
};
use crate::{Body, Error, ErrorKind, Move, Put, PutMode, RemotePath, Result, Version, body};

/// How often a piece of a large file is brought whose answer does not come.
const PIECE_TRIES: u32 = 3;

/// How long is waited before the second time.
const PIECE_PAUSE: Duration = Duration::from_millis(500);

impl Dropbox {
    /// Writes. What is written whatever is there has, but for a repeated upload, a name that nobody
    /// used, so it is tried as new first: an immutable file is never made anew unnoticed.
    pub(super) async fn store(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        let is_whatever = mode == PutMode::Overwrite;
        let mode = match mode {
            PutMode::Overwrite | PutMode::Create => Mode::Add,
            PutMode::Update(Version(rev)) if is_rev(&rev) => Mode::Update(rev),
            // Dropbox never had such a version.
            PutMode::Update(_) => return Ok(Put::Lost),
        };
        let (placed, hash) = if body.len() > self.wire.config.piece_bytes as u64 {
            let parcel = self.bring_in_pieces(path, body, mode).await?;
            let hash = parcel.hash.clone();
            (self.take_place(path, parcel, is_whatever).await?, hash)
        } else {
            let bytes = body::load(path, body).await?;
            let hash = ContentHash::of(&bytes);
            (self.write_at_once(path, bytes, mode, &hash, is_whatever).await?, hash)
        };
        match placed {
            Placed::Done(metadata) => done(path, metadata, &hash),
            Placed::Conflict(_) => Ok(Put::Lost),
        }
    }

    /// A content of one piece: in one request if the lane is free, aside and in a batch if not. One
    /// with a condition waits for the lane: it is the head, and nothing goes with it.
    async fn write_at_once(
        &self,
        path: &RemotePath,
        bytes: Bytes,
        mode: Mode,
        hash: &str,
        is_whatever: bool,
    ) -> Result<Placed> {
        let turn = match self.lane.try_enter() {
            None if !is_whatever => Some(self.lane.enter().await),
            turn => turn,
        };
        let len = bytes.len() as u64;
        let Some(turn) = turn else {
            let session = self.bring(path, bytes, hash).await?;
            let (key, hash) = (self.key(path), hash.to_owned());
            let parcel = Parcel { session, bytes: len, key, mode, hash };
            return self.take_place(path, parcel, is_whatever).await;
        };
        let placed = self.upload(path, bytes.clone(), &mode, hash).await?;
        match placed {
            Placed::Conflict(Some(session)) if is_whatever => {
                drop(turn);
                let (key, hash, mode) = (self.key(path), hash.to_owned(), Mode::Overwrite);
                let parcel = Parcel { session, bytes: len, key, mode, hash };
                self.lane.commit(&self.wire, path, parcel).await
            }
            Placed::Conflict(None) if is_whatever => {
                self.upload(path, bytes, &Mode::Overwrite, hash).await
            }
            placed => Ok(placed),
        }
    }

    /// Has a content that is there take its place; over what is there, if it may.
    async fn take_place(
        &self,
        path: &RemotePath,
        parcel: Parcel,
        is_whatever: bool,
    ) -> Result<Placed> {
        let placed = self.lane.commit(&self.wire, path, parcel.clone()).await?;
        if is_whatever && matches!(placed, Placed::Conflict(_)) {
            let parcel = Parcel { mode: Mode::Overwrite, ..parcel };
            return self.lane.commit(&self.wire, path, parcel).await;
        }
        Ok(placed)
    }

    /// One request that brings a content and takes its place. The caller has the lane.
    async fn upload(
        &self,
        path: &RemotePath,
        bytes: Bytes,
        mode: &Mode,
        hash: &str,
    ) -> Result<Placed> {
        let mut arg = mode.commit(&self.key(path));
        if let Value::Object(fields) = &mut arg {
            fields.insert("content_hash".to_owned(), hash.into());
        }
        let mut call = Call::rpc("put", path, "files/upload", arg);
        (call.style, call.body) = (Style::Upload, bytes);
        match self.write_alone(&call).await? {
            Ok(metadata) => Ok(Placed::Done(metadata)),
            Err(fault) if fault.is_lost_condition() => Ok(Placed::Conflict(fault.session)),
            Err(fault) => Err(self.wire.refused(&call, &fault)),
        }
    }

    /// Makes a call that writes, again as long as it is called off for others who write.
    async fn write_alone(&self, call: &Call<'_>) -> Result<Result<Metadata, Fault>> {
        for tried in 1.. {
            match self.wire.send(call).await? {
                Ok(response) => return Ok(Ok(self.wire.read(call, response).await?)),
                Err(fault) if fault.is_contention() && waited(tried, &fault).await => {}
                Err(fault) => return Ok(Err(fault)),
            }
        }
        unreachable!("the waits come to an end")
    }

    /// Brings a content of one piece to Dropbox, and says under what it is kept there.
    async fn bring(&self, path: &RemotePath, bytes: Bytes, hash: &str) -> Result<String> {
        let arg = json!({ "close": true, "content_hash": hash });
        let mut call = Call::rpc("put", path, "files/upload_session/start", arg);
        (call.style, call.body) = (Style::Upload, bytes);
        let session: Session = self.wire.ask(&call).await?;
        Ok(session.session_id)
    }

    /// Brings a content of any length, a piece at a time.
    async fn bring_in_pieces(&self, path: &RemotePath, body: Body, mode: Mode) -> Result<Parcel> {
        let len = body.len();
        let piece_bytes = self.wire.config.piece_bytes;
        let mut body = opened(path, body).await?;
        let (mut whole, mut piece) = (ContentHash::default(), BytesMut::new());
        let (mut session, mut offset) = (None::<String>, 0);
        loop {
            let chunk = body.try_next().await?;
            let is_end = chunk.is_none();
            piece.extend_from_slice(&chunk.unwrap_or_default());
            // The last piece is held back until all bytes were seen: until then they may turn out
            // to be another file's.
            while piece.len() > piece_bytes || is_end {
                let now = piece.split_to(piece.len().min(piece_bytes)).freeze();
                let is_last = is_end && piece.is_empty();
                whole.update(&now);
                let bytes = now.len() as u64;
                session = Some(self.bring_piece(path, session, offset, now, is_last).await?);
                offset += bytes;
                if !is_last {
                    continue;
                }
                if offset != len {
                    return Err(body::changed(path));
                }
                let session = session.unwrap_or_default();
                let (key, hash) = (self.key(path), whole.finish());
                return Ok(Parcel { session, bytes: offset, key, mode, hash });
            }
        }
    }

    async fn bring_piece(
        &self,
        path: &RemotePath,
        session: Option<String>,
        offset: u64,
        bytes: Bytes,
        is_last: bool,
    ) -> Result<String> {
        let hash = ContentHash::of(&bytes);
        let Some(session) = session else {
            let arg = json!({ "close": is_last, "content_hash": hash });
            let mut call = Call::rpc("put", path, "files/upload_session/start", arg);
            (call.style, call.body) = (Style::Upload, bytes);
            let started: Session = self.wire.ask(&call).await?;
            return Ok(started.session_id);
        };
        let cursor = json!({ "session_id": session, "offset": offset });
        let arg = json!({ "cursor": cursor, "close": is_last, "content_hash": hash });
        let mut call = Call::rpc("put", path, "files/upload_session/append_v2", arg);
        let end = offset + bytes.len() as u64;
        (call.style, call.body) = (Style::Upload, bytes);
        self.append(&call, end).await?;
        Ok(session)
    }

    /// Brings a piece, again if it is not known whether it arrived: Dropbox says so then, for a piece
    /// has its place, and a large file need not start over for a line that broke.
    async fn append(&self, call: &Call<'_>, end: u64) -> Result<()> {
        for tried in 1.. {
            let error = match self.wire.send(call).await {
                Ok(Ok(response)) => {
                    self.wire.finish(response).await;
                    return Ok(());
                }
                // The try before this one went well, and its answer was lost.
                Ok(Err(fault))
                    if tried > 1 && (fault.has("closed") || fault.correct_offset == Some(end)) =>
                {
                    return Ok(());
                }
                Ok(Err(fault)) => self.wire.refused(call, &fault),
                Err(error) => error,
            };
            let is_unknown = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Server);
            if tried == PIECE_TRIES || !is_unknown {
                return Err(error);
            }
            tokio::time::sleep(PIECE_PAUSE * tried).await;
        }
        unreachable!("the last try returns")
    }

    /// Deletes a file, or a folder in which nothing is left. Dropbox would take what lies in a folder
    /// with it, so it is looked at first.
    pub(super) async fn remove(&self, path: &RemotePath) -> Result<()> {
        let Some(metadata) = self.look("delete", path).await? else { return Ok(()) };
        if metadata.tag == "folder" {
            let listing = self.entries(path).await?;
            if !listing.entries.is_empty() || !listing.foreign.is_empty() {
                let detail = "the folder is not empty";
                return Err(Error::new(ErrorKind::Protocol, "delete", path, detail));
            }
        }
        let _turn = self.lane.enter().await;
        let call = Call::rpc("delete", path, "files/delete_v2", json!({ "path": self.key(path) }));
        match self.change(&call).await? {
            Err(fault) if !fault.has("not_found") => Err(self.wire.refused(&call, &fault)),
            _ => Ok(()),
        }
    }

    pub(super) async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        let _turn = self.lane.enter().await;
        let arg =
            json!({ "from_path": self.key(from), "to_path": self.key(to), "autorename": false });
        let call = Call::rpc("move", from, "files/move_v2", arg);
        match self.change(&call).await? {
            Ok(()) => Ok(Move::Done),
            Err(fault) if fault.has("from_lookup") && fault.has("not_found") => Ok(Move::Lost),
            Err(fault) => Err(self.wire.refused(&call, &fault)),
        }
    }

    pub(super) async fn make(&self, folder: &RemotePath) -> Result<()> {
        let key = self.key(folder);
        if key.is_empty() {
            return Ok(());
        }
        let _turn = self.lane.enter().await;
        let arg = json!({ "path": key, "autorename": false });
        let call = Call::rpc("make_folder", folder, "files/create_folder_v2", arg);
        match self.change(&call).await? {
            Err(fault) if !(fault.has("conflict") && fault.has("folder")) => {
                Err(self.wire.refused(&call, &fault))
            }
            _ => Ok(()),
        }
    }

    /// A call that changes something and whose result nobody needs. The caller has the lane.
    async fn change(&self, call: &Call<'_>) -> Result<Result<(), Fault>> {
        for tried in 1.. {
            match self.wire.send(call).await? {
                Ok(response) => {
                    self.wire.finish(response).await;
                    return Ok(Ok(()));
                }
                Err(fault) if fault.is_contention() && waited(tried, &fault).await => {}
                Err(fault) => return Ok(Err(fault)),
            }
        }
        unreachable!("the waits come to an end")
    }
}

/// Dropbox tells the hash of what it keeps now.
fn done(path: &RemotePath, metadata: Metadata, hash: &str) -> Result<Put> {
    if metadata.content_hash.is_some_and(|kept| kept != hash) {
        let detail = "Dropbox keeps other bytes than were sent";
        return Err(Error::new(ErrorKind::Protocol, "put", path, detail));
    }
    Ok(Put::Done(metadata.rev.map(Version)))
}

async fn opened(path: &RemotePath, body: Body) -> Result<BoxStream<'static, Result<Bytes>>> {
    match body {
        Body::Bytes(bytes) => Ok(stream::once(async { Ok(bytes) }).boxed()),
        Body::File { path: file, bytes, sha256 } => {
            let outgoing = body::Outgoing { file: &file, bytes, sha256: sha256.as_deref() };
            body::open(path, outgoing).await
        }
    }
}

/// Whether Dropbox could have given this as a revision: `[0-9a-f]+`, nine letters or more.
fn is_rev(text: &str) -> bool {
    text.len() >= 9 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
