//! A record as a replica keeps it: its state, and how far remote and vault have caught up with it.

use std::collections::BTreeMap;

use super::{
    Blob, Conflict, Content, Entity, VaultPath,
    entity::{BLOB, PATH},
};

/// A record as the replica holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The state.
    pub state: Entity,
    /// The state last known to be on the remote: the common ancestor of merges.
    pub agreed: Agreed,
    /// The file that shows it.
    pub file: Option<VaultPath>,
    /// The SHA-256 of that file's content, as it was last read or written.
    pub file_sha256: Option<String>,
    /// The state that the file shows, where the file is behind.
    pub shown: Option<Entity>,
    /// Whether its type was kept on this device so far, so that no remote was ever meant to have it.
    pub kept: bool,
}

impl Record {
    /// What the record looks like on the remote; nothing if the remote is not to have it.
    pub fn on_remote(self) -> Option<Entity> {
        match (self.kept, self.agreed) {
            (false, _) | (true, Agreed::Current) => Some(self.state),
            (true, Agreed::Earlier(agreed)) => Some(*agreed),
            (true, Agreed::Never) => None,
        }
    }

    /// What the remote is known to hold of the record; nothing if that is nothing.
    pub fn agreed_state(self) -> Option<Entity> {
        match self.agreed {
            Agreed::Never => None,
            Agreed::Current => Some(self.state),
            Agreed::Earlier(agreed) => Some(*agreed),
        }
    }
}

/// What is known to be on the remote.
#[derive(Debug, Clone, PartialEq)]
pub enum Agreed {
    /// Nothing.
    Never,
    /// The state itself.
    Current,
    /// An earlier state.
    Earlier(Box<Entity>),
}

/// A record as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What kind of record it is.
    pub type_name: String,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// One value per field; larder's own marks are left out.
    pub fields: BTreeMap<String, Content>,
}

impl View {
    /// Where in the vault the record wants to lie.
    pub fn path(&self) -> Option<&str> {
        self.fields.get(PATH)?.value.as_str()
    }

    /// The content of its file, if that is no record of fields.
    pub fn blob(&self) -> Option<Blob> {
        Blob::read(&self.fields.get(BLOB)?.value).ok()
    }
}

/// A record's new place in the replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The new state.
    pub state: Entity,
    /// What the remote holds of it.
    pub agreed: Agreed,
    /// The state that its file shows until the file is written.
    pub shown: Option<Entity>,
    /// The state it replaces, for the history; nothing if a person would see no difference.
    pub replaced: Option<Entity>,
    /// What a person sees of the new state.
    pub view: View,
    /// Whether its type is kept on this device.
    pub kept: bool,
    /// The conflicts that stand in the new state.
    pub conflicts: Vec<Conflict>,
    /// Ids of conflicts that stood in the old state and are settled now.
    pub settled: Vec<String>,
    /// Where its file lies now, if it has one.
    pub file: Option<VaultPath>,
}
