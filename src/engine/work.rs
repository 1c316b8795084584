//! What a turn has to look at, handed out in batches that fit into memory.
//!
//! A turn that changes little is one batch. Of more, what was done to known files comes first, then
//! the news of the remote, and then new files, for one of those may be the file of a record that is
//! among the news. Each batch is planned and carried out before the next is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::{
    Brake, Engine, NoteKind, Progress, Report, Result, Stage, TurnOptions, feed::Feed,
    observe::join_news,
};
use crate::{
    merge::{FileAction, Plan},
    model::{Books, Content, Entity, EntityId, Sibling, VaultPath, json, limits::BRAKE_FILES_MIN},
    remote::{DataFile, HeadRead, HeadState, Last, Reader, Remote},
    store::Store,
    vault::{FileKind, Renamed, Scan, ScannedFile},
};

/// How many bytes of texts the scan keeps in memory; the rest is read again when it is its turn.
const KEEP_BYTES: usize = 8 << 20;
/// What a record weighs besides its text, in bytes.
const RECORD_BYTES: u64 = 256;

/// What a device in a clock weighs, in bytes, and how many of them are nothing to speak of.
const DEVICE_BYTES: u64 = 128;
const DEVICES_USUAL: usize = 16;

/// How much a turn takes up at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Bytes of texts and news; one record may have more.
    pub bytes: u64,
    /// Records.
    pub records: usize,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self { bytes: 4 << 20, records: 4096 }
    }
}

impl BatchSize {
    const UNBOUNDED: Self = Self { bytes: u64::MAX, records: usize::MAX };
}

/// What is left to do in a turn.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) books: Books,
    /// How many files the brake counts against.
    pub(super) known_files: usize,
    /// When the vault was scanned; nothing if there is none.
    pub(super) scanned_ms: Option<i64>,
    vanished: VecDeque<VaultPath>,
    renamed: VecDeque<Renamed>,
    changed: VecDeque<ScannedFile>,
    feed: Feed,
    new: VecDeque<ScannedFile>,
    /// Where new files lie that nobody has looked into yet.
    taken: BTreeSet<VaultPath>,
    /// Records that the remote lacks, or whose file is behind.
    unsettled: VecDeque<EntityId>,
    /// Records whose file could not be brought up to them yet.
    held: BTreeSet<EntityId>,
    batch_size: BatchSize,
    /// Whether something of the news was not taken up.
    leaves_out: bool,
    is_done: bool,
}

/// Some of the work.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What happened to these files.
    pub(super) scan: Scan,
    /// When the vault was scanned, with the last batch: until then not all is in the books.
    pub(super) scanned_ms: Option<i64>,
    /// What came from the remote.
    pub(super) news: BTreeMap<EntityId, Entity>,
    /// Records to look at besides.
    pub(super) ids: BTreeSet<EntityId>,
    /// Whether all that the remote has was read by now.
    pub(super) complete: bool,
    /// Whether nothing follows.
    pub(super) is_last: bool,
}

/// What came of asking for more work.
#[derive(Debug)]
pub(super) enum Next {
    Batch(Box<Batch>),
    /// There is none left.
    Done,
    /// The remote has moved on, and what was missing may have been folded into other files.
    Moved,
}

/// How much a batch may still take.
struct Room {
    bytes: u64,
    records: usize,
}

impl Room {
    fn is_left(&self) -> bool {
        self.bytes > 0 && self.records > 0
    }

    fn take(&mut self, records: usize, bytes: u64) {
        let bytes = bytes.saturating_add(RECORD_BYTES.saturating_mul(records as u64));
        self.bytes = self.bytes.saturating_sub(bytes);
        self.records = self.records.saturating_sub(records);
    }

    /// Moves what there is room for from one list to another.
    fn fill<T>(&mut self, from: &mut VecDeque<T>, to: &mut Vec<T>, size: impl Fn(&T) -> u64) {
        while self.is_left() {
            let Some(item) = from.pop_front() else { return };
            self.take(1, size(&item));
            to.push(item);
        }
    }
}

impl Engine {
    /// Scans the vault, and finds out what else there is to do.
    pub(super) fn survey_work(
        &mut self,
        feed: Feed,
        unsettled: BTreeSet<EntityId>,
        options: TurnOptions,
        scan: Option<Scan>,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Work> {
        let mut work = Work {
            books: Books::default(),
            known_files: 0,
            scanned_ms: None,
            vanished: VecDeque::new(),
            renamed: VecDeque::new(),
            changed: VecDeque::new(),
            feed,
            new: VecDeque::new(),
            taken: BTreeSet::new(),
            unsettled: unsettled.into_iter().collect(),
            held: BTreeSet::new(),
            // What is not carried out in between has to be planned at once.
            batch_size: if options.dry_run { BatchSize::UNBOUNDED } else { self.batch_size },
            leaves_out: false,
            is_done: false,
        };
        let Some(vault) = &self.vault else { return Ok(work) };
        work.books = self.store.files()?;
        // What a turn brought that was stopped or cut must not hide how much of the rest would go.
        let before = self.store.files_before()?.filter(|before| *before >= BRAKE_FILES_MIN);
        work.known_files = before.map_or(work.books.len(), |before| before.min(work.books.len()));
        if let Some(scan) = scan {
            work.enter(scan);
            return Ok(work);
        }
        self.contents.begin_scan();
        work.scanned_ms = Some(self.clock.now().millis());
        progress.step(Stage::Scan, 0, 1);
        let scan = vault.scan(&work.books, self.store.last_scan_ms()?, KEEP_BYTES)?;
        if let Some(brake) = scan.brake().filter(|_| !options.accept_deletes) {
            return Err(Brake::Vanished { gone: brake.gone, known: brake.known }.into());
        }
        report.skipped = scan.skipped.len();
        for skipped in &scan.skipped {
            report.note(NoteKind::Skipped, &skipped.path, &skipped.reason);
        }
        self.note_touched(&scan, &work.books)?;
        progress.step(Stage::Scan, 1, 1);
        work.enter(scan);
        Ok(work)
    }
}

impl Work {
    fn enter(&mut self, scan: Scan) {
        self.vanished = scan.vanished.into();
        self.renamed = scan.renamed.into();
        self.changed = scan.changed.into();
        if !self.feed.is_complete() {
            self.taken = scan.new.iter().map(|file| file.path.clone()).collect();
        }
        self.new = scan.new.into();
    }

    /// The next batch. Where something is missing it may be asked to look whether the remote has
    /// moved on.
    pub(super) async fn next(
        &mut self,
        store: &Store,
        remote: &Remote,
        head: &HeadState,
        may_look_again: bool,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Next> {
        if self.is_done {
            return Ok(Next::Done);
        }
        let BatchSize { bytes, records } = self.batch_size;
        let mut room = Room { bytes, records };
        let mut batch = Batch::default();
        room.fill(&mut self.vanished, &mut batch.scan.vanished, |_| 0);
        room.fill(&mut self.renamed, &mut batch.scan.renamed, |renamed| text_bytes(&renamed.file));
        room.fill(&mut self.changed, &mut batch.scan.changed, text_bytes);
        let mut noted = Report::default();
        let mut entities = Vec::new();
        let mut is_fed = false;
        while room.is_left() && !is_fed {
            match self.feed.next_portion(progress, &mut noted).await? {
                Some(block) => {
                    let bytes = block.iter().map(weight).sum();
                    room.take(block.len(), bytes);
                    entities.extend(block);
                }
                None => is_fed = true,
            }
        }
        if is_fed && !self.feed.is_complete() && may_look_again && has_moved(remote, head).await? {
            return Ok(Next::Moved);
        }
        report.take_notes(noted);
        batch.news = join_news(entities);
        if is_fed {
            batch.complete = self.feed.is_complete();
            room.fill(&mut self.new, &mut batch.scan.new, text_bytes);
            for file in &batch.scan.new {
                self.taken.remove(&file.path);
            }
            while room.is_left()
                && let Some(id) = self.unsettled.pop_front()
            {
                room.take(1, store.weight(&id)?);
                batch.ids.insert(id);
            }
            self.is_done = room.is_left();
        }
        if self.is_done {
            batch.is_last = true;
            batch.scanned_ms = self.scanned_ms;
            batch.ids.append(&mut self.held);
        }
        Ok(Next::Batch(Box::new(batch)))
    }

    /// Takes out of a plan what has to wait for later batches: what removes files, for only all of
    /// them together tell whether there are too many, and what would be written where a new file
    /// lies that nobody has looked into.
    pub(super) fn postpone(&self, plan: &mut Plan) {
        let waits = |action: &FileAction| match action {
            FileAction::Remove { .. } => true,
            FileAction::Write { to, .. } | FileAction::Place { to, .. } => self.taken.contains(to),
        };
        let (later, now) = std::mem::take(&mut plan.files).into_iter().partition(waits);
        plan.files = now;
        plan.revisit.extend(later.iter().map(|action: &FileAction| action.owner().clone()));
    }

    /// Notes how a batch ended: which records were looked at, and which of them have to be again.
    pub(super) fn settle(&mut self, plan: &Plan, behind: BTreeSet<EntityId>) {
        for update in &plan.updates {
            self.held.remove(&update.state.id);
        }
        self.held.extend(behind);
    }

    /// Has the data files of this turn read again in the next: something that was in them was not taken
    /// up.
    pub(super) fn leave_out(&mut self) {
        self.leaves_out = true;
    }

    /// Whether all that was read was taken up.
    pub(super) fn takes_all(&self) -> bool {
        !self.leaves_out
    }

    /// The data files that were read whole since this was asked last, and need not be again.
    pub(super) fn take_read(&mut self) -> Vec<DataFile> {
        let read = self.feed.take_finished();
        if self.leaves_out { Vec::new() } else { read }
    }
}

/// What a file takes of a batch's room.
fn text_bytes(file: &ScannedFile) -> u64 {
    if file.kind == FileKind::Blob { 0 } else { file.stat.size }
}

/// What an entity takes of a batch's room: about its length, and more where many values are short.
pub(super) fn weight(entity: &Entity) -> u64 {
    let of_content = |content: &Content| {
        let source = content.source.as_ref().map_or(0, String::len) as u64;
        let value = match &content.value {
            Value::String(text) => text.len() as u64,
            value => json::weight_of(value),
        };
        source + value
    };
    let of_sibling = |sibling: &Sibling| {
        let beside = sibling.alternatives.iter().map(|other| of_content(&other.content));
        of_content(&sibling.content).saturating_add(beside.sum())
    };
    let clock = DEVICE_BYTES * entity.clock.len().saturating_sub(DEVICES_USUAL) as u64;
    clock + entity.fields.values().flatten().map(of_sibling).sum::<u64>()
}

async fn has_moved(remote: &Remote, head: &HeadState) -> Result<bool> {
    let HeadState { mark, manifest, .. } = head;
    let last = Some(Last { mark, manifest });
    let reader = Reader { last, is_lenient: true, ..Reader::new(&manifest.commit.device) };
    Ok(match remote.head.read(&reader).await? {
        HeadRead::Unchanged => false,
        HeadRead::Current(now) => now.mark != *mark,
        HeadRead::Missing => true,
    })
}
