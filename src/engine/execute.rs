//! Carrying a plan out on this device: the replica in one transaction, then the vault's files.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, EngineError, NoteKind, Progress, Report, Result, Stage, observe::Observed};
use crate::{
    digest::sha256_hex,
    merge::{FileAction, Plan},
    model::{Blob, ContentHash, EntityId, FileStat, KnownFile, VaultPath},
    store::{Decided, FileRow, Intent, Replica, Store},
    vault::{Expect, Removed, Vault, VaultError, Waiting, WriteJob, Written},
};

/// The most files that are written together: the disk is waited for twice, however many there are.
const BATCH_FILES: usize = 4_096;

/// About how many bytes are written together.
const BATCH_BYTES: usize = 8 << 20;

impl Engine {
    /// Keeps what the plan decided, then brings the vault's files up to it.
    ///
    /// The replica comes first: the dots of new edits must be on the disk before anybody else sees
    /// them, and what is about to happen to the vault must be known to the turn after a crash.
    ///
    /// `commits` says whether the edits are about to be sent. Gives the records whose file is still
    /// behind.
    pub(super) fn execute(
        &mut self,
        plan: &Plan,
        observed: &Observed,
        commits: bool,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<BTreeSet<EntityId>> {
        let pen = plan.pen.as_ref().ok_or(EngineError::NotConnected)?;
        let replica = Replica {
            counter: pen.counter,
            last_stamp: pen.last,
            knows: plan.knows.clone(),
            attempted: if commits { pen.counter } else { observed.replica.attempted },
            ..observed.replica.clone()
        };
        let is_idle = plan.updates.is_empty() && observed.local.gone.is_empty();
        if !is_idle || replica != observed.replica {
            let owners = plan.files.iter().map(FileAction::owner);
            let pending: BTreeSet<EntityId> = owners.chain(&plan.revisit).cloned().collect();
            self.store.decide(&Decided {
                updates: &plan.updates,
                pending: &pending,
                replica: &replica,
                seen: &observed.local.seen,
                gone: &observed.local.gone,
                intents: &intents(&plan.files),
                scanned_ms: observed.local.scanned_ms,
                now_ms: self.dated().millis(),
            })?;
        }
        if !plan.revisit.is_empty() {
            self.store.revisit(&plan.revisit)?;
        }
        let mut behind: BTreeSet<EntityId> = plan.revisit.iter().cloned().collect();
        let Some(vault) = self.vault.as_ref().filter(|_| !plan.files.is_empty()) else {
            return Ok(behind);
        };
        let books = self.places(plan)?;
        let taken: BTreeSet<&VaultPath> =
            plan.files.iter().filter_map(FileAction::target).collect();
        for sha256 in plan.files.iter().filter_map(|action| copied(action, &books, &taken)) {
            // Before the file that has it is replaced.
            self.gather(sha256)?;
        }
        let mut hand = Hand::new(vault, &mut self.store, &books, plan);
        let done = hand.carry_out(&plan.files, progress, report);
        if matches!(done, Err(EngineError::Store(_))) {
            // What was done is not all in the books of this turn: the next finds it out.
            return done.map(|()| behind);
        }
        let (written, removed, settled) = (hand.written, hand.removed, hand.settled);
        self.contents.want(hand.wanted);
        self.store.settle_files(&written, &removed, &settled)?;
        done?;
        behind.extend(plan.files.iter().map(|action| action.owner().clone()));
        for id in &settled {
            behind.remove(id);
        }
        Ok(behind)
    }

    /// What the books have of the paths that a plan touches.
    fn places(&self, plan: &Plan) -> Result<Places> {
        let mut places = Places::new();
        for action in &plan.files {
            let paths = match action {
                FileAction::Write { from, to, .. } | FileAction::Place { from, to, .. } => {
                    [from.as_ref(), Some(to)]
                }
                FileAction::Remove { path, .. } => [Some(path), None],
            };
            for path in paths.into_iter().flatten() {
                if let Some(row) = self.store.file_at(path)? {
                    places.insert(row.path, (row.entity, row.known));
                }
            }
        }
        Ok(places)
    }
}

/// Files by their paths: whose they are, and what they were when the scan saw them.
type Places = BTreeMap<VaultPath, (EntityId, KnownFile)>;

/// What is about to happen to which path. A path that one record leaves and another takes is about
/// to be written.
fn intents(files: &[FileAction]) -> Vec<Intent> {
    let mut intents = BTreeMap::new();
    for action in files {
        let (entity, leaves) = match action {
            FileAction::Write { id, from, to, .. } | FileAction::Place { id, from, to, .. } => {
                (id, from.as_ref().filter(|from| *from != to))
            }
            FileAction::Remove { id, path } => (id, Some(path)),
        };
        if let Some(path) = leaves {
            let intent =
                Intent { path: path.clone(), entity: entity.clone(), sha256: None, temp: None };
            intents.insert(path.clone(), intent);
        }
    }
    for action in files {
        let (to, sha256) = match action {
            FileAction::Write { to, text, .. } => (to, sha256_hex(text.as_bytes())),
            FileAction::Place { to, blob, .. } => (to, blob.sha256.clone()),
            FileAction::Remove { .. } => continue,
        };
        let (path, entity) = (to.clone(), action.owner().clone());
        intents.insert(to.clone(), Intent { path, entity, sha256: Some(sha256), temp: None });
    }
    intents.into_values().collect()
}

/// A content to be placed.
#[derive(Clone, Copy)]
struct Placing<'a> {
    id: &'a EntityId,
    /// The place that it leaves.
    from: Option<&'a VaultPath>,
    to: &'a VaultPath,
    blob: &'a Blob,
    sha256: ContentHash,
}

impl<'a> Placing<'a> {
    fn of(action: &'a FileAction) -> Option<Self> {
        let FileAction::Place { id, from, to, blob } = action else { return None };
        let sha256 = ContentHash::parse(&blob.sha256)?;
        Some(Self { id, from: from.as_ref().filter(|from| *from != to), to, blob, sha256 })
    }

    /// The place that the file leaves for a free one with the content that it has.
    fn moves(&self, books: &Places) -> Option<(&'a VaultPath, FileStat)> {
        let from = self.from.filter(|_| !books.contains_key(self.to))?;
        let (owner, known) = books.get(from)?;
        (owner == self.id && known.sha256 == self.sha256).then_some((from, known.stat))
    }
}

/// The content that an action needs from elsewhere: also where the file that has it would only have to
/// move, and another one takes its place before.
fn copied(
    action: &FileAction,
    books: &Places,
    taken: &BTreeSet<&VaultPath>,
) -> Option<ContentHash> {
    let placing = Placing::of(action)?;
    let moves = placing.moves(books).filter(|(from, _)| !taken.contains(from));
    moves.is_none().then_some(placing.sha256)
}

/// A file to be written.
#[derive(Clone, Copy)]
struct Write<'a> {
    id: &'a EntityId,
    /// The place that it leaves.
    from: Option<&'a VaultPath>,
    to: &'a VaultPath,
    text: &'a str,
}

impl<'a> Write<'a> {
    fn of(action: &'a FileAction) -> Option<Self> {
        let FileAction::Write { id, from, to, text } = action else { return None };
        Some(Self { id, from: from.as_ref().filter(|from| *from != to), to, text })
    }
}

/// How many of these files are written together.
///
/// A file whose path leads through a place that another leaves, or the other way round, has to wait
/// until that one is gone.
fn batch_len(writes: &[Write<'_>]) -> usize {
    let (mut left, mut bytes) = (BTreeSet::<&str>::new(), 0);
    for (len, write) in writes.iter().take(BATCH_FILES).enumerate() {
        let to = write.to.as_str();
        bytes += write.text.len();
        if len > 0 && (bytes > BATCH_BYTES || is_nested(to, &left)) {
            return len;
        }
        left.extend(write.from.map(VaultPath::as_str));
    }
    writes.len().min(BATCH_FILES)
}

/// Whether a path leads through one of these, or one of these through it.
fn is_nested(path: &str, among: &BTreeSet<&str>) -> bool {
    let mut above = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
    let below = format!("{path}/");
    let next = || among.range(below.as_str()..).next();
    !among.is_empty()
        && (above.any(|above| among.contains(above))
            || next().is_some_and(|next| next.starts_with(&below)))
}

/// Writes to the vault, never over something that the scan did not see.
struct Hand<'a> {
    vault: &'a Vault,
    store: &'a mut Store,
    books: &'a Places,
    /// Paths whose file leaves them in this plan, so that another may take them.
    left: BTreeSet<&'a VaultPath>,
    /// Where files were written so far.
    fresh: BTreeSet<VaultPath>,
    written: Vec<FileRow>,
    removed: Vec<VaultPath>,
    settled: Vec<EntityId>,
    /// Contents that are not here.
    wanted: Vec<(EntityId, Blob)>,
}

impl<'a> Hand<'a> {
    fn new(vault: &'a Vault, store: &'a mut Store, books: &'a Places, plan: &'a Plan) -> Self {
        let left = plan.files.iter().filter_map(|action| match action {
            FileAction::Write { from, to, .. } | FileAction::Place { from, to, .. } => {
                from.as_ref().filter(|from| *from != to)
            }
            FileAction::Remove { path, .. } => Some(path),
        });
        Self {
            vault,
            store,
            books,
            left: left.collect(),
            fresh: BTreeSet::new(),
            written: Vec::new(),
            removed: Vec::new(),
            settled: Vec::new(),
            wanted: Vec::new(),
        }
    }

    /// Files are taken away before others are written, and folders that a file's name needs with
    /// them; a file that moves is written at its new place before the old one goes.
    fn carry_out(
        &mut self,
        files: &[FileAction],
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<()> {
        let of = files.len() as u64;
        let mut done = 0;
        for action in files {
            if let FileAction::Remove { id, path } = action {
                let outcome = self.remove(path);
                self.note(id, path, outcome, report)?;
                done += 1;
                if done % 64 == 0 || done == of {
                    progress.step(Stage::Write, done, of);
                }
            }
        }
        let writes: Vec<Write<'_>> = files.iter().filter_map(Write::of).collect();
        let mut rest = writes.as_slice();
        while let Some((batch, later)) = rest.split_at_checked(batch_len(rest).max(1)) {
            rest = later;
            let outcomes = self.write_batch(batch)?;
            for (write, outcome) in batch.iter().zip(outcomes) {
                self.note(write.id, write.to, outcome, report)?;
            }
            done += batch.len() as u64;
            progress.step(Stage::Write, done, of);
        }
        for placing in files.iter().filter_map(Placing::of) {
            match self.place(placing) {
                Ok(None) => self.wanted.push((placing.id.clone(), placing.blob.clone())),
                Ok(Some(is_done)) => self.note(placing.id, placing.to, Ok(is_done), report)?,
                Err(error) => self.note(placing.id, placing.to, Err(error), report)?,
            }
            done += 1;
            progress.step(Stage::Write, done, of);
        }
        Ok(())
    }

    /// Has a content lie where it is to be; nothing if it is not here.
    fn place(&mut self, placing: Placing<'_>) -> Result<Option<bool>, VaultError> {
        let Placing { id, from, to, sha256, .. } = placing;
        if let Some((from, stat)) = placing.moves(self.books)
            && !self.fresh.contains(from)
        {
            let written = self.vault.rename(from, to, stat)?;
            let is_done = self.enter(id, to, sha256, written);
            if is_done {
                self.removed.push(from.clone());
            }
            return Ok(Some(is_done));
        }
        if !self.vault.has_content(sha256)? {
            return Ok(None);
        }
        let Some(expect) = self.expect(id, from, to)? else { return Ok(Some(false)) };
        let written = self.vault.adopt(sha256, to, expect)?;
        let is_done = self.enter(id, to, sha256, written);
        if let Some(from) = from.filter(|_| is_done) {
            self.leave(from)?;
        }
        Ok(Some(is_done))
    }

    /// Keeps how an action ended, in the books or in the report.
    fn note(
        &mut self,
        id: &EntityId,
        path: &VaultPath,
        outcome: Result<bool, VaultError>,
        report: &mut Report,
    ) -> Result<()> {
        match outcome {
            Ok(true) => self.settled.push(id.clone()),
            Ok(false) => {
                // What a scan may not read it does not know, so its place is taken by something else.
                let text = if self.vault.is_unreadable(path) {
                    "waits: what lies there cannot be read; make it readable"
                } else {
                    "changed while larder worked, or a file that `.larderignore` names has its place; it \
                     waits for the next turn"
                };
                report.note(NoteKind::Waiting, path, text);
            }
            Err(why) if why.is_about_one_file() => {
                report.note(NoteKind::Waiting, path, format!("waits: {why}"));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn remove(&mut self, path: &VaultPath) -> Result<bool, VaultError> {
        let is_done = match (self.books.get(path), self.vault.stat(path)?) {
            (Some((_, known)), Some(_)) => self.vault.remove(path, known.stat)? == Removed::Done,
            _ => true,
        };
        if is_done {
            self.removed.push(path.clone());
        }
        Ok(is_done)
    }

    /// Writes files; after all of them, those that moved leave their old places. What was written
    /// is in the books of this turn whatever happened to the others.
    fn write_batch(&mut self, batch: &[Write<'_>]) -> Result<Vec<Result<bool, VaultError>>> {
        let expected: Vec<_> =
            batch.iter().map(|write| self.expect(write.id, write.from, write.to)).collect();
        let jobs: Vec<WriteJob<'_>> = batch
            .iter()
            .zip(&expected)
            .filter_map(|(write, expect)| {
                let expect = *expect.as_ref().ok()?.as_ref()?;
                Some(WriteJob { path: write.to, bytes: write.text.as_bytes(), expect })
            })
            .collect();
        let keep = |waiting: &[Waiting<'_>]| self.store.keep_waiting(waiting);
        let mut written = self.vault.write_all(&jobs, keep)?.into_iter();
        let outcomes: Vec<_> = batch
            .iter()
            .zip(expected)
            .map(|(write, expect)| match expect? {
                Some(_) => Ok(self.keep(write, written.next().unwrap_or(Ok(Written::Moved))?)),
                None => Ok(false),
            })
            .collect();
        let left = batch.iter().zip(outcomes).map(|(write, outcome)| match (outcome, write.from) {
            (Ok(true), Some(from)) => self.leave(from).map(|()| true),
            (outcome, _) => outcome,
        });
        Ok(left.collect())
    }

    /// What must stand at a file's place; nothing if the file waits for the next turn.
    fn expect(
        &self,
        id: &EntityId,
        from: Option<&VaultPath>,
        to: &VaultPath,
    ) -> Result<Option<Expect>, VaultError> {
        if let Some(from) = from
            && !self.is_untouched(from)?
        {
            return Ok(None);
        }
        let known = match self.books.get(to) {
            Some((owner, known)) if owner == id || self.left.contains(to) => known,
            _ => return Ok(Some(Expect::Absent)),
        };
        let is_there = self.vault.stat(to)?.is_some();
        let is_own = self.books.get(to).is_some_and(|(owner, _)| owner == id);
        if !is_there && is_own && from.is_none() {
            // Its owner has moved or removed it since: what that means the next scan finds out.
            return Ok(None);
        }
        Ok(Some(if is_there { Expect::Is(known.stat) } else { Expect::Absent }))
    }

    fn keep(&mut self, write: &Write<'_>, written: Written) -> bool {
        self.enter(write.id, write.to, ContentHash::of(write.text.as_bytes()), written)
    }

    /// Enters what was written into the books of this turn, if it was.
    fn enter(
        &mut self,
        id: &EntityId,
        to: &VaultPath,
        sha256: ContentHash,
        written: Written,
    ) -> bool {
        let Written::Done(stat) = written else { return false };
        self.fresh.insert(to.clone());
        let known = KnownFile { stat, sha256 };
        self.written.push(FileRow { path: to.clone(), entity: id.clone(), known });
        true
    }

    /// Whether the file that is to move is still the one that the scan saw, or was already written
    /// over by the record that takes its place.
    fn is_untouched(&self, from: &VaultPath) -> Result<bool, VaultError> {
        if self.fresh.contains(from) {
            return Ok(true);
        }
        let Some((_, known)) = self.books.get(from) else { return Ok(true) };
        Ok(self.vault.stat(from)?.is_none_or(|stat| stat.same_content(&known.stat)))
    }

    /// Takes the file away from the place it moved from, unless another record has taken that.
    fn leave(&mut self, from: &VaultPath) -> Result<(), VaultError> {
        if self.fresh.contains(from) {
            return Ok(());
        }
        if let Some((_, known)) = self.books.get(from) {
            self.vault.remove(from, known.stat)?;
        }
        self.removed.push(from.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_batch_ends_before_a_file_that_needs_a_place_another_leaves(
            moves in prop::collection::vec((prop::option::of("[ab](/[ab]){0,2}"), "[ab](/[ab]){0,2}"), 0..12),
        ) {
            let id = EntityId::new("e").unwrap();
            let path = |text: &String| VaultPath::new(text).unwrap();
            let moves: Vec<_> =
                moves.iter().map(|(from, to)| (from.as_ref().map(path), path(to))).collect();
            let writes: Vec<_> = moves
                .iter()
                .map(|(from, to)| Write { id: &id, from: from.as_ref(), to, text: "" })
                .collect();
            let nest = |from: &VaultPath, to: &VaultPath| {
                let (from, to) = (from.as_str(), to.as_str());
                from.starts_with(&format!("{to}/")) || to.starts_with(&format!("{from}/"))
            };
            let clashes = |at: usize| {
                let mut before = writes[..at].iter().filter_map(|write| write.from);
                before.any(|from| nest(from, writes[at].to))
            };
            let expected = (1..writes.len()).find(|at| clashes(*at)).unwrap_or(writes.len());
            prop_assert_eq!(batch_len(&writes), expected);
        }
    }

    #[test]
    fn a_batch_is_bounded_in_files_and_bytes() {
        let (id, to) = (EntityId::new("e").unwrap(), VaultPath::new("a").unwrap());
        let text = "x".repeat(1 << 20);
        let write = |text| Write { id: &id, from: None, to: &to, text };
        assert_eq!(batch_len(&vec![write(""); 2 * BATCH_FILES]), BATCH_FILES);
        assert_eq!(batch_len(&vec![write(text.as_str()); 50]), 8);
        assert_eq!(batch_len(&[write(&text.repeat(9)), write("")]), 1);
        assert_eq!(batch_len(&[]), 0);
    }
}
