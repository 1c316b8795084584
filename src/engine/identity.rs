//! A device id belongs to one life of one replica.
//!
//! A replica that was restored from a backup, or copied to another device, holds edits that its
//! other life has numbered as well. Two edits under one dot would be taken for one, and one of them
//! lost; so it takes a new device id before it edits, and renumbers what it has not sent.

use std::collections::BTreeSet;

use super::{Engine, EngineError, NoteKind, Report, Result};
use crate::{
    merge::{Pen, conflicts, join, view},
    model::{
        Agreed, Change, Changes, DeviceId, Entity, EntityId, Record, Stamp, Update, VersionVector,
    },
    remote::Manifest,
    store::{Decided, Replica},
};

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
            Some(replica) if replica.body != body => self.renew(&replica, body)?,
            Some(_) => {}
        }
        Ok(())
    }

    /// What the replica knows of itself.
    pub(super) fn replica(&self) -> Result<Replica> {
        self.store.replica()?.ok_or(EngineError::NotConnected)
    }

    /// Takes a new id if the remote knows edits under this one that this replica never sent.
    pub(super) fn check_identity(
        &mut self,
        manifest: &Manifest,
        report: &mut Report,
    ) -> Result<()> {
        let replica = self.replica()?;
        if manifest.knows.get(&replica.device) > replica.attempted {
            let body = replica.body.clone();
            self.renew(&replica, body)?;
            let text = format!(
                "this replica was restored from a backup or copied: it is now the device {}",
                self.replica()?.device
            );
            report.note(NoteKind::NewIdentity, &replica.device, text);
        }
        Ok(())
    }

    /// Says so when the remote no longer knows what it knew: it was rolled back or forked. Nothing
    /// has to be done about it, for a turn sends whatever the remote does not know.
    pub(super) fn check_rollback(&self, manifest: &Manifest, report: &mut Report) -> Result<()> {
        let Some(mark) = self.store.remote_mark()? else { return Ok(()) };
        let Ok(before) = Manifest::decode("the last manifest", mark.manifest.as_bytes()) else {
            return Ok(());
        };
        let is_same = before.remote_id == manifest.remote_id;
        if is_same && !manifest.knows.includes(&before.knows) {
            let text = format!(
                "went back from generation {} to {} and lacks edits that it had; what this device \
                 has of them is sent again",
                before.generation, manifest.generation
            );
            report.note(NoteKind::Healed, "the remote", text);
        }
        Ok(())
    }

    /// Starts a new life: a new id, under which every edit that was not sent is made again.
    fn renew(&mut self, old: &Replica, body: Option<String>) -> Result<()> {
        let now = self.clock.now();
        let device = DeviceId::random(&mut self.random);
        let mut pen = Pen { device: device.clone(), counter: 0, last: old.last_stamp };
        let mut updates = Vec::new();
        let mut pending = BTreeSet::new();
        for id in self.store.unagreed()? {
            let Some(record) = self.store.record(&id)? else { continue };
            if record.file.is_some() && record.shown.is_some() {
                pending.insert(id.clone());
            }
            updates.push(self.renumber(&id, record, &mut pen, now));
        }
        let replica = Replica {
            knows: renumbered_knows(old, &pen),
            device,
            counter: pen.counter,
            attempted: 0,
            last_stamp: pen.last,
            body,
        };
        self.store.decide(&Decided {
            updates: &updates,
            pending: &pending,
            replica: &replica,
            seen: &[],
            gone: &[],
            intents: &[],
            scanned_ms: None,
            now_ms: now.millis(),
        })?;
        Ok(())
    }

    /// Makes what a record has beyond the agreed state again, under a new dot.
    fn renumber(&self, id: &EntityId, record: Record, pen: &mut Pen, now: Stamp) -> Update {
        let agreed = match &record.agreed {
            Agreed::Earlier(earlier) => (**earlier).clone(),
            Agreed::Never | Agreed::Current => Entity::new(id.clone()),
        };
        let mut changes = Changes::new();
        for (field, siblings) in &record.state.fields {
            if agreed.siblings(field) != siblings.as_slice()
                && let Some(newest) = siblings.iter().max_by_key(|sibling| sibling.at)
            {
                let change = Change::Set(newest.content.clone(), newest.alternatives.clone());
                changes.insert(field.clone(), change);
            }
        }
        for field in agreed.fields.keys() {
            if !record.state.fields.contains_key(field) {
                changes.insert(field.clone(), Change::Remove);
            }
        }
        let mut state = agreed;
        let (dot, at) = pen.next(now);
        state.edit(&dot, at, changes);
        let shown = record.shown.as_ref().map(|shown| join(shown, &state));
        Update {
            view: view(&state, &self.rules),
            conflicts: conflicts(&state, &self.rules),
            settled: Vec::new(),
            replaced: None,
            agreed: record.agreed,
            shown: shown.filter(|shown| *shown != state),
            file: record.file,
            kept: record.kept,
            state,
        }
    }
}

/// Without the edits that were never sent, which have other names now.
fn renumbered_knows(old: &Replica, pen: &Pen) -> VersionVector {
    let sent = |(device, counter): (&DeviceId, u64)| {
        let is_old_self = *device == old.device;
        (device.clone(), if is_old_self { counter.min(old.attempted) } else { counter })
    };
    let mut knows: VersionVector = old.knows.iter().map(sent).collect();
    knows.raise(&pen.device, pen.counter);
    knows
}

/// What the database's file is known by: a copy or a restored backup lies in another inode.
#[cfg(unix)]
fn body_of(file: &std::path::Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    Some(format!("{}:{}", metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn body_of(_: &std::path::Path) -> Option<String> {
    None
}
