//! A record on its way through the plan: what this device, its file and the remote make of it.

use crate::model::{Agreed, Entity, EntityId, Record, VaultPath};

/// A record on its way through the plan.
pub(super) struct Sides {
    pub(super) id: EntityId,
    pub(super) state: Option<Entity>,
    pub(super) agreed: Agreed,
    pub(super) file: Option<VaultPath>,
    pub(super) shown: Option<Entity>,
    /// Whether the state is new and what its file shows.
    pub(super) as_found: bool,
    pub(super) pulled: bool,
    pub(super) merged: bool,
}

/// What became of it.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    pub(super) pulled: bool,
    pub(super) merged: bool,
}

impl Sides {
    pub(super) fn new(id: &EntityId, record: Option<&Record>) -> Self {
        Self {
            id: id.clone(),
            state: record.map(|record| record.state.clone()),
            agreed: record.map_or(Agreed::Never, |record| record.agreed.clone()),
            file: record.and_then(|record| record.file.clone()),
            shown: record.and_then(|record| record.shown.clone()),
            as_found: false,
            pulled: false,
            merged: false,
        }
    }

    /// From here on the state is ahead of what the remote is known to hold.
    pub(super) fn unsettle(&mut self) {
        if let (Agreed::Current, Some(state)) = (&self.agreed, &self.state) {
            self.agreed = Agreed::Earlier(Box::new(state.clone()));
        }
    }

    /// From here on the state is more than what its file shows.
    pub(super) fn keep_shown(&mut self) {
        if std::mem::take(&mut self.as_found) {
            self.shown = self.state.clone();
        }
    }

    pub(super) fn flags(&self) -> Flags {
        Flags { pulled: self.pulled, merged: self.merged }
    }

    pub(super) fn agreed_state(&self) -> Option<Entity> {
        match &self.agreed {
            Agreed::Never => None,
            Agreed::Current => self.state.clone(),
            Agreed::Earlier(earlier) => Some((**earlier).clone()),
        }
    }
}
