//! Writes that a server does only after their client gave them up, and went on.

use std::sync::Mutex;

use bytes::Bytes;
use futures::FutureExt;
use larder_providers::{Body, Memory, PutMode, RemotePath, Storage};

use super::time::Time;

/// By then a server has done what it was asked for, or never will.
const LATE_MS_MAX: i64 = 30 * 60 * 1000;

/// What a server still has to do.
#[derive(Debug)]
pub(crate) struct Late {
    memory: Memory,
    time: Time,
    /// Each with the time by which it is done.
    writes: Mutex<Vec<(i64, Write)>>,
}

/// A write whose connection broke before it was done.
#[derive(Debug)]
pub(crate) enum Write {
    Put(RemotePath, Bytes, PutMode),
    Delete(RemotePath),
    Move(RemotePath, RemotePath),
}

impl Late {
    pub(crate) fn new(memory: Memory, time: Time) -> Self {
        Self { memory, time, writes: Mutex::default() }
    }

    pub(crate) fn put_off(&self, write: Write) {
        let until_ms = self.time.now_ms() + LATE_MS_MAX;
        self.writes.lock().unwrap().push((until_ms, write));
    }

    /// The server starts anew.
    pub(crate) fn forget(&self) {
        self.writes.lock().unwrap().clear();
    }

    /// The server does some of it; nobody hears what became of it.
    pub(crate) fn do_some(&self, mut is_chosen: impl FnMut() -> bool) {
        self.do_those(|_| is_chosen());
    }

    /// Whether the server has something to do before this time; it does it.
    pub(crate) fn do_before(&self, now_ms: i64) -> bool {
        self.do_those(|until_ms| until_ms < now_ms)
    }

    fn do_those(&self, mut is_due: impl FnMut(i64) -> bool) -> bool {
        let mut writes = self.writes.lock().unwrap();
        let (due, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *writes).into_iter().partition(|(until_ms, _)| is_due(*until_ms));
        *writes = left;
        let has_done = !due.is_empty();
        for (_, write) in due {
            // In memory nothing has to be waited for.
            let done = match write {
                Write::Put(path, bytes, mode) => {
                    self.memory.put(&path, Body::Bytes(bytes), mode).now_or_never().map(drop)
                }
                Write::Delete(path) => self.memory.delete(&path).now_or_never().map(drop),
                Write::Move(from, to) => {
                    self.memory.move_exclusive(&from, &to).now_or_never().map(drop)
                }
            };
            assert!(done.is_some());
        }
        has_done
    }
}
