//! The one place at which this device writes in an account.
//!
//! Dropbox takes a lock for each write and answers `too_many_write_operations` to who comes meanwhile
//! (<https://www.dropbox.com/developers/reference/data-ingress-guide>). Contents can be brought there at any time
//! (`upload_session`); only their places are taken one after the other. So whoever finds the lane
//! taken brings his content first, and whoever gets the lane next takes the places of all who wait.

use std::{collections::VecDeque, sync::Mutex as Short, time::Duration};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, oneshot};

use super::{
    fault::Fault,
    json::{Finished, FinishedEntry, Metadata},
    wire::{Call, Wire},
};
use crate::{Error, ErrorKind, RemotePath, Result, sync::lock};

/// How often a write is made that Dropbox calls off because somebody else writes.
const TRIES: u32 = 8;

/// How long is waited before the second of them, about; then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest such wait that is waited for here; a longer one is the work of the layer above.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lane {
    turn: Mutex<()>,
    waiting: Short<VecDeque<Waiting>>,
}

/// On what condition a content takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// Where nothing is.
    Add,
    /// Over this revision.
    Update(String),
    /// Whatever is there.
    Overwrite,
}

/// A content that is at Dropbox already, and the place that it is to take.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) session: String,
    pub(super) bytes: u64,
    /// The place as Dropbox calls it.
    pub(super) key: String,
    pub(super) mode: Mode,
    /// The hash of the content.
    pub(super) hash: String,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Placed {
    Done(Metadata),
    /// Something is there already, or something else; with the session that still holds the content.
    Conflict(Option<String>),
}

#[derive(Debug)]
struct Waiting {
    path: RemotePath,
    parcel: Parcel,
    reply: oneshot::Sender<Result<Placed>>,
}

impl Mode {
    /// `CommitInfo`. Nobody is notified of larder's files; and without `strict_conflict` a write of
    /// what is there already, or over what was deleted, would be no conflict.
    pub(super) fn commit(&self, key: &str) -> Value {
        let mode = match self {
            Self::Add => json!({ ".tag": "add" }),
            Self::Update(rev) => json!({ ".tag": "update", "update": rev }),
            Self::Overwrite => json!({ ".tag": "overwrite" }),
        };
        let is_strict = *self != Self::Overwrite;
        json!({
            "path": key, "mode": mode, "autorename": false, "mute": true, "strict_conflict": is_strict,
        })
    }
}

impl Lane {
    /// The right to write; waits for it.
    pub(super) async fn enter(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The right to write, if nobody has it.
    pub(super) fn try_enter(&self) -> Option<MutexGuard<'_, ()>> {
        self.turn.try_lock().ok()
    }

    /// Has a content take its place, together with all others that wait.
    pub(super) async fn commit(
        &self,
        wire: &Wire,
        path: &RemotePath,
        parcel: Parcel,
    ) -> Result<Placed> {
        let (reply, mut answer) = oneshot::channel();
        lock(&self.waiting).push_back(Waiting { path: path.clone(), parcel, reply });
        let _turn = self.turn.lock().await;
        loop {
            match answer.try_recv() {
                Ok(placed) => return placed,
                Err(oneshot::error::TryRecvError::Empty) => {}
                // Who had the lane was stopped in the middle.
                Err(oneshot::error::TryRecvError::Closed) => {
                    let detail = "nobody waited for Dropbox's answer";
                    return Err(Error::new(ErrorKind::Unreachable, "put", path, detail));
                }
            }
            let batch: Vec<Waiting> = {
                let mut waiting = lock(&self.waiting);
                // Those who gave up need no place.
                waiting.retain(|one| !one.reply.is_closed());
                let many = waiting.len().min(wire.config.batch_max.max(1));
                waiting.drain(..many).collect()
            };
            finish(wire, batch).await;
        }
    }
}

/// Takes the places of a batch, again for those that Dropbox was too busy for.
async fn finish(wire: &Wire, mut batch: Vec<Waiting>) {
    for tried in 1.. {
        let (left, busy) = finish_once(wire, batch).await;
        let Some(fault) = busy.filter(|_| !left.is_empty()) else { return };
        if !waited(tried, &fault).await {
            for one in left {
                let error = fault.error(&wire.host, "put", &one.path);
                // Who does not listen any more needs no answer.
                let _ = one.reply.send(Err(error));
            }
            return;
        }
        batch = left;
    }
}

/// One request; gives back who has to come again, and why.
async fn finish_once(wire: &Wire, batch: Vec<Waiting>) -> (Vec<Waiting>, Option<Fault>) {
    let root = RemotePath::root();
    let entries: Vec<Value> = batch
        .iter()
        .map(|Waiting { parcel, .. }| {
            json!({
                "cursor": { "session_id": parcel.session, "offset": parcel.bytes },
                "commit": parcel.mode.commit(&parcel.key),
            })
        })
        .collect();
    let arg = json!({ "entries": entries });
    let call = Call::rpc("put", &root, "files/upload_session/finish_batch_v2", arg);
    let finished: Result<Finished> = match wire.send(&call).await {
        Ok(Ok(response)) => wire.read(&call, response).await,
        Ok(Err(fault)) if fault.is_contention() => return (batch, Some(fault)),
        Ok(Err(fault)) => Err(wire.refused(&call, &fault)),
        Err(error) => Err(error),
    };
    let finished = finished.and_then(|finished| {
        let is_whole = finished.entries.len() == batch.len();
        let detail = "Dropbox answers for another number of files than were sent";
        if is_whole { Ok(finished.entries) } else { Err(call.error(ErrorKind::Protocol, detail)) }
    });
    let entries = match finished {
        Ok(entries) => entries,
        Err(error) => {
            for one in batch {
                let told = Error::new(error.kind(), "put", &one.path, error.detail());
                let _ = one.reply.send(Err(told));
            }
            return (Vec::new(), None);
        }
    };
    let (mut left, mut busy) = (Vec::new(), None);
    for (one, entry) in batch.into_iter().zip(entries) {
        let answer = match entry {
            FinishedEntry::Success(metadata) => Ok(Placed::Done(metadata)),
            FinishedEntry::Failure { failure } => {
                let fault = Fault::in_batch(&failure);
                if fault.is_contention() {
                    busy = Some(fault);
                    left.push(one);
                    continue;
                }
                if fault.is_lost_condition() {
                    Ok(Placed::Conflict(Some(one.parcel.session)))
                } else {
                    Err(fault.error(&wire.host, "put", &one.path))
                }
            }
        };
        let _ = one.reply.send(answer);
    }
    (left, busy)
}

/// Waits after a write that was called off, by about as much as Dropbox asks for; false if that is too
/// often, or too long.
pub(super) async fn waited(tried: u32, fault: &Fault) -> bool {
    let asked = fault.retry_after().unwrap_or_default();
    if tried >= TRIES || asked > WAIT_MAX {
        return false;
    }
    let own = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tried - 1)).min(WAIT_MAX);
    // Devices that met must not meet again.
    tokio::time::sleep(asked + own.mul_f64(fastrand::f64())).await;
    true
}
