//! A device id belongs to one life of one replica.
//!
//! A replica that was restored from a backup, or copied to another device, holds edits that its
//! other life has numbered as well. Two edits under one dot would be taken for one, and one of them
//! lost; so it takes a new device id before it edits, and renumbers what it has not sent.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, EngineError, NoteKind, Report, Result};
use crate::{
    merge::{Pen, conflicts, settled, view},
    model::{
        DeviceId, Dot, Entity, EntityId, LastEdit, Record, Stamp, Update, VersionVector,
        entity::DELETED,
    },
    mutant::{self, Mutant},
    remote::{CommitMode, HeadState, Manifest},
    store::{Decided, Replica},
};

/// How one state of the remote follows from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lineage {
    /// Nothing is known of an earlier one.
    Unknown,
    /// By commits, as far as can be told.
    Straight,
    /// It lacks edits that it had at this generation.
    WentBack {
        /// The generation that this replica saw.
        from: u64,
    },
    /// It has all the edits that it had, by another history.
    Forked {
        /// The generation that this replica saw as another one.
        at: u64,
    },
}

impl Engine {
    /// Gives a new replica its id, and a copied or restored one a new one.
    pub(super) fn settle_identity(&mut self) -> Result<()> {
        let body = self.store.file().and_then(body_of);
        match self.store.replica()? {
            None => {
                let replica = Replica {
                    device: DeviceId::random(&mut self.random),
                    counter: 0,
                    attempted: 0,
                    last_stamp: Stamp::default(),
                    knows: VersionVector::default(),
                    body,
                };
                self.store.set_replica(&replica)?;
            }
            Some(replica) if replica.body != body && !mutant::is(Mutant::KeepsIdentity) => {
                self.renew(&replica, body)?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// What the replica knows of itself.
    pub(super) fn replica(&self) -> Result<Replica> {
        self.store.replica()?.ok_or(EngineError::NotConnected)
    }

    /// Keeps that all edits made so far are about to be sent, so that nobody else's are taken for them.
    pub(super) fn note_attempt(&mut self) -> Result<()> {
        let mut replica = self.replica()?;
        if replica.attempted < replica.counter {
            replica.attempted = replica.counter;
            self.store.set_replica(&replica)?;
        }
        Ok(())
    }

    /// Takes a new id if the remote has edits, or a commit, under this one that this replica never
    /// sent; also if what says so does not count yet, for this replica would write over it. Says whether
    /// it did.
    pub(super) fn check_identity(&mut self, head: &HeadState, report: &mut Report) -> Result<bool> {
        let replica = self.replica()?;
        let is_taken = self.is_taken(&head.manifest)? || self.is_taken_unmet(head)?;
        if !is_taken || mutant::is(Mutant::KeepsIdentity) {
            return Ok(false);
        }
        self.take_new_id()?;
        let text = format!(
            "this replica was restored from a backup or copied: it is now the device {}",
            self.replica()?.device
        );
        report.note(NoteKind::NewIdentity, &replica.device, text);
        Ok(true)
    }

    /// Takes a new id: what was sent under the old one cannot be told any more.
    pub(super) fn take_new_id(&mut self) -> Result<()> {
        let replica = self.replica()?;
        self.renew(&replica, replica.body.clone())
    }

    /// Whether heads that do not count, or not yet, tell of another life of this replica.
    pub(super) fn is_taken_unmet(&self, head: &HeadState) -> Result<bool> {
        let replica = self.replica()?;
        let own = format!("{}.json", replica.device);
        // Who never tried a commit has no head. Of others a head that cannot be read tells nothing: the
        // answers may have been cut off, and to take a new id would send again what was sent.
        let is_cut = head.others.unreadable.iter().any(|file| file.name() == own);
        if is_cut && self.store.tried()?.is_empty() {
            return Ok(true);
        }
        for unmet in &head.others.unmet {
            let is_own = unmet.commit.device == replica.device;
            if unmet.claims(&replica.device) > replica.attempted
                || is_own && self.is_taken(unmet)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a manifest speaks of edits, or of a commit, by this id that this replica never sent.
    pub(super) fn is_taken(&self, manifest: &Manifest) -> Result<bool> {
        let replica = self.replica()?;
        let own = manifest.devices.get(&replica.device);
        let is_strange = match own.and_then(|own| own.commit.as_ref()) {
            Some(last) => !self.store.tried()?.contains(last) && !self.is_agreed_commit(last)?,
            None => false,
        };
        Ok(is_strange || manifest.claims(&replica.device) > replica.attempted)
    }

    /// Whether this was this device's last commit when it last agreed with the remote: of the commits
    /// that it tried since the latest are remembered.
    fn is_agreed_commit(&self, commit: &str) -> Result<bool> {
        let device = self.replica()?.device;
        let last = self.last_manifest()?;
        let own = last.as_ref().and_then(|last| last.devices.get(&device));
        Ok(own.is_some_and(|own| own.commit.as_deref() == Some(commit)))
    }

    /// How what the remote is now follows from what it was when this replica last agreed with it.
    pub(super) fn lineage(&self, head: &HeadState) -> Result<Lineage> {
        let Some(mark) = self.store.remote_mark()? else { return Ok(Lineage::Unknown) };
        let Ok(before) = self.decode_last(&mark.manifest) else { return Ok(Lineage::Unknown) };
        let now = &head.manifest;
        if before.remote_id != now.remote_id {
            return Ok(Lineage::Unknown);
        }
        let from = before.generation;
        if !now.knows.includes(&before.knows) {
            return Ok(Lineage::WentBack { from });
        }
        // The join of many heads has no line of generations, and a head that says nothing of the one
        // before was made without one.
        if now.commit_mode == CommitMode::Devices {
            return Ok(Lineage::Straight);
        }
        let follows = match now.generation.checked_sub(from) {
            None => false,
            Some(0) => now.commit.id == before.commit.id,
            Some(1) => now.commit.prev == mark.manifest_sha256,
            // Only the manifest before is named.
            Some(_) => true,
        };
        Ok(if follows { Lineage::Straight } else { Lineage::Forked { at: from } })
    }

    /// Says so when the remote no longer knows what it knew, or has another history: it was rolled
    /// back or forked. Nothing has to be done about it, for a turn sends whatever the remote does not
    /// know. Tells whether what was agreed with the remote may not be there.
    pub(super) fn check_rollback(&self, head: &HeadState, report: &mut Report) -> Result<bool> {
        let now = head.manifest.generation;
        let text = match self.lineage(head)? {
            Lineage::Straight => return Ok(false),
            Lineage::Unknown => return Ok(true),
            Lineage::WentBack { from } => format!(
                "went back from generation {from} to {now} and lacks edits that it had; what this \
                 device has of them is sent again"
            ),
            Lineage::Forked { at } => format!(
                "has another history than this device has seen (generation {at} is another one now): \
                 it was restored or forked. It knows all that it knew; `larder check --read-data` \
                 makes sure of it"
            ),
        };
        report.note(NoteKind::Healed, "the remote", text);
        Ok(true)
    }

    /// Starts a new life: a new id, under which every edit that was not sent is made again.
    fn renew(&mut self, old: &Replica, body: Option<String>) -> Result<()> {
        let now = self.clock.now();
        let device = DeviceId::random(&mut self.random);
        let mut pen = Pen::new(device.clone(), 0, old.last_stamp);
        let mut updates = Vec::new();
        let mut pending = BTreeSet::new();
        for id in self.store.held_nowhere()? {
            let Some(record) = self.store.record(&id)? else { continue };
            if record.file.is_some() && record.shown.is_some() {
                pending.insert(id.clone());
            }
            let held = self.store.held_edit(&id, &old.device)?;
            updates.push(self.renumber(record, held, &old.device, &mut pen, now));
        }
        let mut sent = VersionVector::default();
        for text in self.store.manifests()? {
            sent.join(&self.decode_last(&text)?.knows);
        }
        let replica = Replica {
            knows: renumbered_knows(old, &sent, &pen),
            device,
            counter: pen.counter,
            attempted: 0,
            last_stamp: pen.last,
            body,
        };
        self.decide_rewritten(&updates, &pending, &replica, now)
    }

    /// Names what a record has beyond what any remote holds anew; `held` is the last edit of the old
    /// life that one does.
    fn renumber(
        &self,
        record: Record,
        held: Option<LastEdit>,
        old: &DeviceId,
        pen: &mut Pen,
        now: Stamp,
    ) -> Update {
        let renaming = Renaming::new(&record, held, old, pen, now);
        let state = renaming.apply(&record.state);
        let shown = record.shown.as_ref().map(|shown| renaming.apply(shown));
        let shown = shown.filter(|shown| *shown != state);
        Update { shown, ..self.rewritten(record, state) }
    }

    /// A record in a state that shows the same by other edits.
    pub(super) fn rewritten(&self, record: Record, state: Entity) -> Update {
        let standing = conflicts(&state, &self.rules);
        Update {
            view: view(&state, &self.rules),
            settled: settled(&conflicts(&record.state, &self.rules), &standing),
            conflicts: standing,
            replaced: None,
            agreed: record.agreed,
            shown: record.shown,
            file: record.file,
            kept: record.kept,
            state,
        }
    }

    /// Keeps records that were rewritten. What the scan saw is no matter here.
    pub(super) fn decide_rewritten(
        &mut self,
        updates: &[Update],
        pending: &BTreeSet<EntityId>,
        replica: &Replica,
        now: Stamp,
    ) -> Result<()> {
        self.store.decide(&Decided {
            updates,
            pending,
            replica,
            seen: &[],
            gone: &[],
            intents: &[],
            scanned_ms: None,
            now_ms: now.millis(),
        })?;
        Ok(())
    }
}

/// New names for the edits of one record that were not sent.
struct Renaming {
    old: DeviceId,
    new: DeviceId,
    /// The last edit of the old life that some remote has.
    held: Option<LastEdit>,
    /// The new counters by the old.
    counters: BTreeMap<u64, u64>,
}

impl Renaming {
    fn new(
        record: &Record,
        held: Option<LastEdit>,
        old: &DeviceId,
        pen: &mut Pen,
        now: Stamp,
    ) -> Self {
        let mut renaming =
            Self { old: old.clone(), new: pen.device.clone(), held, counters: BTreeMap::new() };
        let siblings = record.state.fields.values().flatten();
        let mut counters: BTreeSet<u64> = siblings
            .flat_map(|s| s.alternatives.iter().map(|a| &a.dot).chain([&s.dot]))
            .filter(|dot| dot.device == *old)
            .map(|dot| dot.counter)
            .collect();
        counters.extend(record.state.clock.get(old).map(|last| last.counter));
        counters.extend(record.shown.iter().filter_map(|s| s.clock.get(old)).map(|l| l.counter));
        let floor = renaming.floor();
        for counter in counters.into_iter().filter(|counter| *counter > floor) {
            let (dot, _) = pen.next(now);
            renaming.counters.insert(counter, dot.counter);
        }
        renaming
    }

    fn floor(&self) -> u64 {
        self.held.map_or(0, |last| last.counter)
    }

    fn apply(&self, entity: &Entity) -> Entity {
        let mut entity = entity.clone();
        for (field, siblings) in &mut entity.fields {
            for sibling in siblings.iter_mut() {
                self.rename(&mut sibling.dot);
                for alternative in &mut sibling.alternatives {
                    self.rename(&mut alternative.dot);
                }
                if field == DELETED {
                    self.rename_seen(&mut sibling.content.value);
                }
            }
            siblings.sort_by(|a, b| a.dot.cmp(&b.dot));
        }
        let Some(last) = entity.clock.get(&self.old).copied() else { return entity };
        let mine: Vec<u64> = self.counters.range(..=last.counter).map(|(_, new)| *new).collect();
        if let Some(counter) = mine.last() {
            let edits = mine.len() as u64;
            let last = LastEdit { counter: *counter, edits, at: last.at };
            entity.clock.insert(self.new.clone(), last);
            match self.held {
                Some(held) => entity.clock.insert(self.old.clone(), held),
                None => entity.clock.remove(&self.old),
            };
        }
        entity
    }

    fn rename(&self, dot: &mut Dot) {
        let counter = self.counters.get(&dot.counter).filter(|_| dot.device == self.old);
        if let Some(counter) = counter {
            *dot = Dot::new(self.new.clone(), *counter);
        }
    }

    /// What a deletion had seen of the old life's unsent edits it has seen of the new life's.
    fn rename_seen(&self, value: &mut serde_json::Value) {
        let Some(seen) = VersionVector::from_json(value) else { return };
        let own = seen.get(&self.old);
        if own <= self.floor() {
            return;
        }
        let capped = |(device, counter): (&DeviceId, u64)| {
            let is_old = *device == self.old;
            (device.clone(), if is_old { counter.min(self.floor()) } else { counter })
        };
        let mut renamed: VersionVector = seen.iter().map(capped).filter(|(_, c)| *c > 0).collect();
        if let Some((_, new)) = self.counters.range(..=own).next_back() {
            renamed.raise(&self.new, *new);
        }
        *value = serde_json::to_value(renamed).unwrap_or_default();
    }
}

/// Without the edits that no remote is known to have, for these have other names now.
fn renumbered_knows(old: &Replica, sent: &VersionVector, pen: &Pen) -> VersionVector {
    let capped = |(device, counter): (&DeviceId, u64)| {
        let is_old_self = *device == old.device;
        (device.clone(), if is_old_self { counter.min(sent.get(device)) } else { counter })
    };
    let mut knows: VersionVector =
        old.knows.iter().map(capped).filter(|(_, counter)| *counter > 0).collect();
    knows.raise(&pen.device, pen.counter);
    knows
}

/// What the database's file is known by: a copy or a restored backup lies in another inode.
#[cfg(unix)]
fn body_of(file: &std::path::Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    // The device number is left out: some file systems get another at each mount.
    Some(metadata.ino().to_string())
}

#[cfg(not(unix))]
fn body_of(_: &std::path::Path) -> Option<String> {
    None
}
