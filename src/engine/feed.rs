//! What the remote has and the replica lacks, block by block: files are fetched ahead while blocks
//! are taken, so that neither the network nor the memory holds everything at once.

use std::collections::{BTreeMap, VecDeque};

use larder_providers::SharedStorage;
use tokio::task::JoinSet;

use super::{EngineError, NoteKind, Progress, Report, Result, Stage};
use crate::{
    model::{Entity, VersionVector},
    remote::{DataFile, Fetched, RemoteError, fetch},
};

/// How many files are fetched at once.
const FETCHES: usize = 4;
/// How many bytes may be fetched ahead.
const BYTES_AHEAD: u64 = 32 << 20;

type Fetch = (usize, Result<Fetched, RemoteError>);

/// The way of data files from the remote.
#[derive(Debug)]
pub(super) struct Feed {
    storage: SharedStorage,
    knows: VersionVector,
    wanted: VecDeque<DataFile>,
    /// What was asked for and not used up yet, in the order in which it was asked for.
    asked: VecDeque<DataFile>,
    tasks: JoinSet<Fetch>,
    arrived: BTreeMap<usize, Result<Fetched, RemoteError>>,
    /// The number of the first of `asked`.
    number: usize,
    open: Option<Fetched>,
    finished: Vec<DataFile>,
    complete: bool,
    done: u64,
    of: u64,
}

impl Feed {
    /// Fetches these files for a replica of the edits `knows`.
    pub(super) fn new(
        storage: SharedStorage,
        wanted: VecDeque<DataFile>,
        knows: VersionVector,
    ) -> Self {
        let of = wanted.iter().fold(0_u64, |sum, data| sum.saturating_add(data.entities));
        Self {
            storage,
            knows,
            wanted,
            asked: VecDeque::new(),
            tasks: JoinSet::new(),
            arrived: BTreeMap::new(),
            number: 0,
            open: None,
            finished: Vec::new(),
            complete: true,
            done: 0,
            of,
        }
    }

    /// The entities of the next block, or of a part of it; nothing when all were given. A file that is missing or
    /// damaged is reported, and the rest goes on.
    pub(super) async fn next_portion(
        &mut self,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Option<Vec<Entity>>> {
        loop {
            if self.open.is_none() {
                match self.next_file().await? {
                    None => return Ok(None),
                    Some(Ok(fetched)) => self.open = Some(fetched),
                    Some(Err(error)) => self.give_up_file(&error, report),
                }
            }
            match self.open.as_mut().and_then(Fetched::next_portion) {
                Some(Ok(entities)) => {
                    self.done += entities.len() as u64;
                    progress.step(Stage::Fetch, self.done.min(self.of), self.of);
                    return Ok(Some(entities));
                }
                Some(Err(error)) => self.give_up_file(&error, report),
                None if self.open.take().is_some() => {
                    let file = self.next_asked();
                    self.finished.extend(file);
                }
                None => {}
            }
        }
    }

    /// Whether everything came that was wanted; only when all was given.
    pub(super) fn is_complete(&self) -> bool {
        self.complete && self.asked.is_empty() && self.wanted.is_empty()
    }

    /// The files that were given whole since this was asked last.
    pub(super) fn take_finished(&mut self) -> Vec<DataFile> {
        std::mem::take(&mut self.finished)
    }

    /// The file that follows, once it came; an error that is about more than it ends the turn.
    async fn next_file(&mut self) -> Result<Option<Result<Fetched, RemoteError>>> {
        self.ask();
        if self.asked.is_empty() {
            return Ok(None);
        }
        loop {
            if let Some(fetched) = self.arrived.remove(&self.number) {
                return match fetched {
                    Err(error) if !is_about_one_file(&error) => Err(error.into()),
                    fetched => Ok(Some(fetched)),
                };
            }
            let Some(done) = self.tasks.join_next().await else { return Ok(None) };
            let (number, fetched) = done.map_err(EngineError::task)?;
            self.arrived.insert(number, fetched);
        }
    }

    /// Keeps some files on their way.
    fn ask(&mut self) {
        let asked = self.asked.iter().map(|data| data.bytes);
        let mut bytes = asked.fold(0, u64::saturating_add);
        while self.asked.len() < FETCHES && (bytes == 0 || bytes < BYTES_AHEAD) {
            let Some(data) = self.wanted.pop_front() else { return };
            bytes = bytes.saturating_add(data.bytes);
            let number = self.number + self.asked.len();
            let (storage, knows) = (self.storage.clone(), self.knows.clone());
            self.asked.push_back(data.clone());
            self.tasks.spawn(async move { (number, fetch(&storage, &data, &knows).await) });
        }
    }

    fn next_asked(&mut self) -> Option<DataFile> {
        self.number += 1;
        self.asked.pop_front()
    }

    fn give_up_file(&mut self, error: &RemoteError, report: &mut Report) {
        self.open = None;
        self.complete = false;
        if let Some(data) = self.next_asked() {
            report.note(NoteKind::Damaged, data.file.as_str(), what_is_wrong(error));
        }
    }
}

/// What to say of a file whose name is said already.
pub(super) fn what_is_wrong(error: &RemoteError) -> String {
    match error {
        RemoteError::Damaged { detail, .. } => format!("damaged on the remote: {detail}"),
        other => format!("cannot be read from the remote: {other}"),
    }
}

/// Whether the rest of the remote may still be fine.
pub(super) fn is_about_one_file(error: &RemoteError) -> bool {
    match error {
        RemoteError::Damaged { .. } => true,
        RemoteError::Storage(error) => {
            use larder_providers::ErrorKind::{NotFound, Protocol, TooLarge};
            matches!(error.kind(), NotFound | Protocol | TooLarge)
        }
        _ => false,
    }
}
