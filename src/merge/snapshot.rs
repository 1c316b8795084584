//! What a plan rests on.

use std::collections::BTreeMap;

use super::place::PathClaims;
use crate::model::{
    Changes, Content, ContentHash, DeviceId, Dot, Entity, EntityId, Record, Rules, Stamp,
    VaultPath, VersionVector, View, limits::STAMP_AHEAD_MS_MAX,
};

/// Everything that was observed and that a plan rests on.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Who makes the edits of this turn.
    pub pen: Pen,
    /// The wall clock when the turn began.
    pub now: Stamp,
    /// The vault's rules.
    pub rules: &'a Rules,
    /// The edits that the replica holds.
    pub knows: VersionVector,
    /// The replica's records that this turn may touch: those edited, fetched, unsent, or whose file
    /// is behind.
    pub records: &'a BTreeMap<EntityId, Record>,
    /// What happened to the vault's files since the last turn.
    pub local: &'a BTreeMap<EntityId, LocalEdit>,
    /// What the remote has that the replica lacks.
    pub remote: &'a News,
    /// How many files of the vault are known.
    pub known_files: usize,
    /// What the devices are called.
    pub names: BTreeMap<DeviceId, String>,
    /// Who else wants which path, and how a record is spelled as a file.
    pub vault: &'a dyn VaultForms,
}

/// Makes dots and stamps for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pen {
    /// The device.
    pub device: DeviceId,
    /// The counter of the last edit made.
    pub counter: u64,
    /// The latest stamp made or believed.
    pub last: Stamp,
    /// The stamp of the edits made so far.
    at: Option<Stamp>,
}

impl Pen {
    /// A pen that goes on after the last edit of the device.
    pub fn new(device: DeviceId, counter: u64, last: Stamp) -> Self {
        Self { device, counter, last, at: None }
    }

    /// The dot and the stamp of the next edit. Edits by one pen are of one time: with a millisecond
    /// for each, a first sync of many files would put the device's clock minutes ahead of the wall's,
    /// and win against what others write until then.
    pub fn next(&mut self, now: Stamp) -> (Dot, Stamp) {
        self.counter += 1;
        if self.at != Some(self.last) {
            self.last = Stamp::next(now, self.last);
            self.at = Some(self.last);
        }
        (Dot::new(self.device.clone(), self.counter), self.last)
    }

    /// Takes note of a stamp seen elsewhere, unless it is too far ahead to be believed.
    pub fn see(&mut self, stamp: Stamp, now: Stamp) {
        if stamp.millis() <= now.millis() + STAMP_AHEAD_MS_MAX {
            self.last = self.last.max(stamp);
        }
    }
}

/// What happened in the vault to one record.
#[derive(Debug, Clone, PartialEq)]
pub enum LocalEdit {
    /// Its file was made, changed or moved.
    Changed {
        /// The fields that differ from what the file showed; none if only its place in the books
        /// is new. Of a record that nobody knew before, all that the file says.
        changes: Changes,
        /// Where the file lies.
        file: VaultPath,
        /// The digest of what the file holds.
        sha256: ContentHash,
        /// Whether whoever made the file had the record's state before them. A file that came about
        /// by itself is a creation that knew of nothing.
        seen: bool,
        /// When the file was written, where it is not known to have been since the last turn.
        set_at: Option<Stamp>,
    },
    /// Its file is gone.
    Vanished,
    /// A command changes it, whatever its file shows.
    Made(Changes),
    /// Values that somebody set and that never arrived; they knew of nothing here.
    Found(Changes, Stamp),
    /// A command deletes it.
    Deleted,
}

impl LocalEdit {
    /// When its values were set, where that is not now.
    pub(super) fn set_at(&self) -> Option<Stamp> {
        match self {
            Self::Found(_, at) => Some(*at),
            Self::Changed { set_at, .. } => *set_at,
            _ => None,
        }
    }
}

/// What the remote has that the replica lacks.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// States of records.
    pub entities: Vec<Entity>,
    /// The edits that the remote holds.
    pub knows: VersionVector,
    /// Whether everything that was to be fetched came.
    pub complete: bool,
    /// Whether the vault has another remote, or had one, and meets this one for the first time.
    pub is_joined: bool,
    /// Whether what was agreed with it last is still there, as far as can be told.
    pub holds_agreed: bool,
    /// The highest edits of each device that lie there, whether or not the remote knows all up to them.
    pub holds: VersionVector,
}

/// What a plan has to know of files.
pub trait VaultForms: PathClaims + std::fmt::Debug {
    /// Whether the replica has a record of this id.
    fn knows(&self, id: &EntityId) -> bool;

    /// The latest state that the record had before on this device, of those that are meant.
    fn latest_past(&self, id: &EntityId, is_meant: &dyn Fn(&Entity) -> bool) -> Option<Entity>;

    /// The text of the file at `path` that shows these fields. For what was read of a file there
    /// it is that file's text.
    fn spell(&self, path: &VaultPath, view: &View) -> String;

    /// A merged value in the style that it had before in the file at `path`.
    fn respell(&self, path: &str, content: Content, like: Option<&Content>) -> Content;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_edits_at_once_do_not_put_the_clock_ahead() {
        let [now, early] = [5_000, 4_000].map(Stamp::from_millis);
        let mut pen = Pen::new(DeviceId::new("0123456789abcdef").unwrap(), 7, early);
        let stamps: Vec<_> = std::iter::repeat_with(|| pen.next(now)).take(1_000).collect();
        assert!(stamps.iter().all(|(_, at)| *at == now));
        assert_eq!((pen.counter, pen.last), (1_007, now));
        // What was seen in between is older than what is made after it.
        let seen = Stamp::from_millis(6_000);
        pen.see(seen, now);
        assert!(pen.next(now).1 > seen);
        // The next turn in the same millisecond is later.
        assert!(Pen::new(pen.device.clone(), pen.counter, pen.last).next(now).1 > pen.last);
    }
}
