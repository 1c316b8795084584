//! The state of one record: per field the concurrent values, and a clock of what has been seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Content, DeviceId, Dot, EntityId, Stamp, VersionVector, limits::COUNT_MAX};

/// The text of a file beside its fields.
pub const BODY: &str = "body";
/// Where in the vault the entity lies.
pub const PATH: &str = "path";
/// Present while a deletion is known; its value is the clock that the deleter had seen.
pub const DELETED: &str = "$deleted";
/// The file's own form around its values: key order, comments, line endings.
pub const LAYOUT: &str = "$layout";
/// The content of a file that is no record of fields, as [`Blob`](super::Blob).
pub const BLOB: &str = "$blob";
/// The kind of record, if the record itself says so.
pub const TYPE: &str = "type";

/// The state of one record on one replica.
///
/// Two states of one record are combined by `merge::join`; what a person sees is `merge::view`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entity {
    /// Which record.
    pub id: EntityId,
    /// Per device, the last edit of this record that is reflected here.
    pub clock: Clock,
    /// Per field its concurrent values in order of their dots; never an empty list.
    pub fields: BTreeMap<String, Vec<Sibling>>,
}

/// Per device, the last edit of one entity.
pub type Clock = BTreeMap<DeviceId, LastEdit>;

/// What one device did to one entity, up to its last edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64, Stamp)", into = "(u64, u64, Stamp)")]
pub struct LastEdit {
    /// The counter of the last edit's dot.
    pub counter: u64,
    /// How many times the device edited this entity.
    pub edits: u64,
    /// When the last edit was made.
    pub at: Stamp,
}

impl From<(u64, u64, Stamp)> for LastEdit {
    fn from((counter, edits, at): (u64, u64, Stamp)) -> Self {
        Self { counter, edits, at }
    }
}

impl From<LastEdit> for (u64, u64, Stamp) {
    fn from(edit: LastEdit) -> Self {
        (edit.counter, edit.edits, edit.at)
    }
}

/// One of several concurrent values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The edit that set it.
    pub dot: Dot,
    /// When that was.
    pub at: Stamp,
    /// What was set.
    pub content: Content,
    /// Where a merge made this value out of values that exclude each other: those values. They wait
    /// here, on every device, until somebody edits the field.
    pub alternatives: Vec<Alternative>,
}

/// A value that a merge could not keep in sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The edit that had set it.
    pub dot: Dot,
    /// When that was.
    pub at: Stamp,
    /// What had been set.
    pub content: Content,
}

impl From<&Sibling> for Alternative {
    fn from(sibling: &Sibling) -> Self {
        Self { dot: sibling.dot.clone(), at: sibling.at, content: sibling.content.clone() }
    }
}

impl Alternative {
    /// Takes the value that its edit has among these siblings, if it is among them.
    pub fn take_value_from(&mut self, siblings: &[Sibling]) {
        if let Some(known) = siblings.iter().find(|sibling| sibling.dot == self.dot) {
            self.content.clone_from(&known.content);
        }
    }
}

/// What an edit does to one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The field gets this value; the alternatives are those a merge leaves to a person.
    Set(Content, Vec<Alternative>),
    /// The field goes.
    Remove,
}

impl Change {
    /// A plain new value.
    pub fn set(content: Content) -> Self {
        Self::Set(content, Vec::new())
    }
}

/// The fields that one edit changes.
pub type Changes = BTreeMap<String, Change>;

impl Entity {
    /// An entity nobody has edited yet.
    pub fn new(id: EntityId) -> Self {
        Self { id, clock: Clock::new(), fields: BTreeMap::new() }
    }

    /// Applies one edit: each changed field gets the edit's dot and loses every value seen here.
    /// The fields of one edit share its dot, for they were changed together.
    pub fn edit(&mut self, dot: &Dot, at: Stamp, changes: Changes) {
        for (field, change) in changes {
            match change {
                Change::Set(content, alternatives) => {
                    let sibling = Sibling { dot: dot.clone(), at, content, alternatives };
                    self.fields.insert(field, vec![sibling]);
                }
                Change::Remove => {
                    self.fields.remove(&field);
                }
            }
        }
        let before = self.clock.get(&dot.device);
        let edits = before.map_or(0, |last| last.edits) + 1;
        let at = before.map_or(at, |last| last.at.max(at));
        let last = LastEdit { counter: dot.counter, edits, at };
        self.clock.insert(dot.device.clone(), last);
    }

    /// Applies one edit whose maker had the older state `seen` before them, or nothing: a changed
    /// field loses the values that they saw, and no other. Clocks cannot tell these apart, for
    /// edits that this very device made meanwhile count lower than the one that is applied now.
    pub fn edit_seeing(&mut self, seen: Option<&Self>, dot: &Dot, at: Stamp, changes: Changes) {
        let known = |field: &str, sibling: &Sibling| {
            let seen = seen.map_or(&[][..], |seen| seen.siblings(field));
            seen.iter().any(|other| other.dot == sibling.dot)
        };
        let unseen = changes.keys().map(|field| {
            let siblings = self.siblings(field).iter();
            (field.clone(), siblings.filter(|s| !known(field, s)).cloned().collect::<Vec<_>>())
        });
        let unseen: Vec<(String, Vec<Sibling>)> = unseen.collect();
        self.edit(dot, at, changes);
        for (field, siblings) in unseen.into_iter().filter(|(_, siblings)| !siblings.is_empty()) {
            let now = self.fields.entry(field).or_default();
            now.extend(siblings);
            now.sort_by(|a, b| a.dot.cmp(&b.dot));
        }
    }

    /// Gives the values that an edit set another time, if one is given.
    pub fn date(&mut self, dot: &Dot, at: Option<Stamp>) {
        let Some(at) = at else { return };
        for sibling in self.fields.values_mut().flatten().filter(|sibling| sibling.dot == *dot) {
            sibling.at = at;
        }
    }

    /// Whether the edit is reflected in this state.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.clock.get(&dot.device).is_some_and(|last| last.counter >= dot.counter)
    }

    /// The edits reflected in this state, as a version vector.
    pub fn seen(&self) -> VersionVector {
        self.clock.iter().map(|(device, last)| (device.clone(), last.counter)).collect()
    }

    /// The edits that its deletions had seen, themselves included.
    pub fn seen_by_deletions(&self) -> VersionVector {
        let mut seen = VersionVector::default();
        self.seen_by_each_deletion().for_each(|one| seen.join(&one));
        seen
    }

    /// The edits that each of its deletions had seen, itself included.
    pub fn seen_by_each_deletion(&self) -> impl Iterator<Item = VersionVector> {
        self.siblings(DELETED).iter().map(|deletion| {
            let known = VersionVector::from_json(&deletion.content.value);
            let mut seen = known.unwrap_or_default();
            seen.raise(&deletion.dot.device, deletion.dot.counter);
            seen
        })
    }

    /// How many edits were ever made to this record, as far as known here: it rises with each, and
    /// two devices that each edit version 5 once meet at 7. Never more than can be written.
    pub fn version(&self) -> u64 {
        let sum = self.clock.values().fold(0_u64, |sum, last| sum.saturating_add(last.edits));
        sum.min(COUNT_MAX)
    }

    /// The time and the maker of the latest edit.
    pub fn last_modified(&self) -> Option<(Stamp, &DeviceId)> {
        self.clock.iter().map(|(device, last)| (last.at, device)).max()
    }

    /// The concurrent values of a field; none if it is not there.
    pub fn siblings(&self, field: &str) -> &[Sibling] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }
}
