//! Values that exclude each other, as they are listed and kept.

use serde::{Deserialize, Serialize};

use super::{Content, Dot, Stamp};

/// One place where edits that did not know of each other exclude each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The same on every device: a digest of the record, the field and the edits.
    pub id: String,
    /// The field; `$deleted` for an edit against a deletion.
    pub field: String,
    /// What kind of conflict.
    pub kind: ConflictKind,
    /// The rule that decided or declined to.
    pub rule: String,
    /// The values that exclude each other.
    pub values: Vec<ConflictValue>,
    /// What is shown now; nothing if the field or the record is gone.
    pub chosen: Option<Content>,
    /// Whether a person has to look at it.
    pub state: ConflictState,
}

/// What excludes what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConflictKind {
    /// Different values of one field.
    Values,
    /// Edits of the same words, both of which now stand in the text.
    Overlap,
    /// An edit and a deletion that did not know of each other.
    Deletion,
}

/// How a conflict stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConflictState {
    /// A person has to decide.
    Open,
    /// A rule decided; a person may still decide otherwise.
    Decided,
    /// Somebody edited the field since.
    Resolved,
}

/// One of the values that exclude each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictValue {
    /// The edit that set it.
    pub dot: Dot,
    /// When that was.
    pub at: Stamp,
    /// The value; nothing for a deletion, or for the whole record that a deletion beat.
    pub content: Option<Content>,
}
