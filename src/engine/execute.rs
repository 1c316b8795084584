//! Carrying a plan out on this device: the replica in one transaction, then the vault's files.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, EngineError, NoteKind, Progress, Report, Result, Stage, observe::Observed};
use crate::{
    digest::sha256_hex,
    merge::{FileAction, Plan},
    model::{ContentHash, EntityId, FileStat, KnownFile, VaultPath},
    store::{Decided, FileRow, Intent, Replica},
    vault::{Expect, Removed, Vault, VaultError, Written},
};

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
                now_ms: self.clock.now().millis(),
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
        let mut hand = Hand::new(vault, &books, plan);
        let done = hand.carry_out(&plan.files, progress, report);
        let (written, removed, settled) = (hand.written, hand.removed, hand.settled);
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
                FileAction::Write { from, to, .. } => [from.as_ref(), Some(to)],
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
            FileAction::Write { id, from, to, .. } => {
                (id, from.as_ref().filter(|from| *from != to))
            }
            FileAction::Remove { id, path } => (id, Some(path)),
        };
        if let Some(path) = leaves {
            let intent = Intent { path: path.clone(), entity: entity.clone(), sha256: None };
            intents.insert(path.clone(), intent);
        }
    }
    for action in files {
        if let FileAction::Write { id, to, text, .. } = action {
            let sha256 = Some(sha256_hex(text.as_bytes()));
            let intent = Intent { path: to.clone(), entity: id.clone(), sha256 };
            intents.insert(to.clone(), intent);
        }
    }
    intents.into_values().collect()
}

/// Writes to the vault, never over something that the scan did not see.
struct Hand<'a> {
    vault: &'a Vault,
    books: &'a Places,
    /// Paths whose file leaves them in this plan, so that another may take them.
    left: BTreeSet<&'a VaultPath>,
    /// What was written so far: where, and what it looks like now.
    fresh: BTreeMap<VaultPath, FileStat>,
    written: Vec<FileRow>,
    removed: Vec<VaultPath>,
    settled: Vec<EntityId>,
}

impl<'a> Hand<'a> {
    fn new(vault: &'a Vault, books: &'a Places, plan: &'a Plan) -> Self {
        let left = plan.files.iter().filter_map(|action| match action {
            FileAction::Write { from: Some(from), to, .. } if from != to => Some(from),
            FileAction::Remove { path, .. } => Some(path),
            FileAction::Write { .. } => None,
        });
        Self {
            vault,
            books,
            left: left.collect(),
            fresh: BTreeMap::new(),
            written: Vec::new(),
            removed: Vec::new(),
            settled: Vec::new(),
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
        let (removals, writes): (Vec<_>, Vec<_>) =
            files.iter().partition(|action| matches!(action, FileAction::Remove { .. }));
        for (done, action) in (1..).zip(removals.into_iter().chain(writes)) {
            let (path, outcome) = match action {
                FileAction::Remove { path, .. } => (path, self.remove(path)),
                FileAction::Write { id, from, to, text } => {
                    (to, self.write(id, from.as_ref(), to, text))
                }
            };
            match outcome {
                Ok(true) => self.settled.push(action.owner().clone()),
                Ok(false) => {
                    let text = "changed while larder worked, or its place is taken; it waits for the next turn";
                    report.note(NoteKind::Waiting, path, text);
                }
                Err(why) if why.is_about_one_file() => {
                    report.note(NoteKind::Waiting, path, format!("waits: {why}"));
                }
                Err(error) => return Err(error.into()),
            }
            if done % 64 == 0 || done == of {
                progress.step(Stage::Write, done, of);
            }
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

    fn write(
        &mut self,
        id: &EntityId,
        from: Option<&VaultPath>,
        to: &VaultPath,
        text: &str,
    ) -> Result<bool, VaultError> {
        if let Some(from) = from.filter(|from| *from != to)
            && !self.is_untouched(from)?
        {
            return Ok(false);
        }
        let expect = match self.books.get(to) {
            Some((owner, known)) if owner == id || self.left.contains(to) => {
                if self.vault.stat(to)?.is_none() { Expect::Absent } else { Expect::Is(known.stat) }
            }
            _ => Expect::Absent,
        };
        let Written::Done(stat) = self.vault.write(to, text.as_bytes(), expect)? else {
            return Ok(false);
        };
        self.fresh.insert(to.clone(), stat);
        let known = KnownFile { stat, sha256: ContentHash::of(text.as_bytes()) };
        self.written.push(FileRow { path: to.clone(), entity: id.clone(), known });
        if let Some(from) = from.filter(|from| *from != to) {
            self.leave(from)?;
        }
        Ok(true)
    }

    /// Whether the file that is to move is still the one that the scan saw, or was already written
    /// over by the record that takes its place.
    fn is_untouched(&self, from: &VaultPath) -> Result<bool, VaultError> {
        if self.fresh.contains_key(from) {
            return Ok(true);
        }
        let Some((_, known)) = self.books.get(from) else { return Ok(true) };
        Ok(self.vault.stat(from)?.is_none_or(|stat| stat.same_content(&known.stat)))
    }

    /// Takes the file away from the place it moved from, unless another record has taken that.
    fn leave(&mut self, from: &VaultPath) -> Result<(), VaultError> {
        if self.fresh.contains_key(from) {
            return Ok(());
        }
        if let Some((_, known)) = self.books.get(from) {
            self.vault.remove(from, known.stat)?;
        }
        self.removed.push(from.clone());
        Ok(())
    }
}
