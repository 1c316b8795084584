//! What is to change in the files of the vault.

use super::Planner;
use crate::{
    merge::{
        place::{Wish, place},
        snapshot::LocalEdit,
    },
    model::{Blob, ContentHash, EntityId, Update, VaultPath},
};

/// One change to a file of the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAction {
    /// The file of `id` is to lie at `to` with this text; `from` is where it lies now.
    Write {
        /// Whose file.
        id: EntityId,
        /// Where it lies now; nothing if there is none.
        from: Option<VaultPath>,
        /// Where it is to lie.
        to: VaultPath,
        /// What it is to say.
        text: String,
    },
    /// The file of `id` is to lie at `to` with this content, which is no text.
    Place {
        /// Whose file.
        id: EntityId,
        /// Where it lies now; nothing if there is none.
        from: Option<VaultPath>,
        /// Where it is to lie.
        to: VaultPath,
        /// What it is to hold.
        blob: Blob,
    },
    /// The file is to go.
    Remove {
        /// Whose file.
        id: EntityId,
        /// Where it lies.
        path: VaultPath,
    },
}

impl FileAction {
    /// Whose file it is.
    #[must_use]
    pub fn owner(&self) -> &EntityId {
        match self {
            Self::Write { id, .. } | Self::Place { id, .. } | Self::Remove { id, .. } => id,
        }
    }

    /// Where something is put.
    #[must_use]
    pub fn target(&self) -> Option<&VaultPath> {
        match self {
            Self::Write { to, .. } | Self::Place { to, .. } => Some(to),
            Self::Remove { .. } => None,
        }
    }
}

impl Planner<'_> {
    /// What the file of a record holds, if it is known.
    fn held(&self, id: &EntityId) -> Option<ContentHash> {
        if let Some(LocalEdit::Changed { sha256, .. }) = self.snapshot.local.get(id) {
            return Some(*sha256);
        }
        ContentHash::parse(self.snapshot.records.get(id)?.file_sha256.as_deref()?)
    }

    /// Decides where each file is to lie and which files have to be written for it.
    pub(super) fn place_files(&mut self) {
        let wishes: Vec<Wish> = self.plan.updates.iter().map(wish_of).collect();
        let mut places = place(&wishes, self.snapshot.vault);
        let mut files = Vec::new();
        let mut updates = std::mem::take(&mut self.plan.updates);
        for update in &mut updates {
            if self.as_found.contains(&update.state.id) {
                if places.get(&update.state.id) == update.file.as_ref() {
                    places.remove(&update.state.id);
                    continue;
                }
                update.shown = Some(update.state.clone());
            }
            let (id, from) = (update.state.id.clone(), update.file.clone());
            let Some(to) = places.remove(&id) else {
                match from {
                    Some(path) => files.push(FileAction::Remove { id, path }),
                    // There is no file, and so none that is behind.
                    None => update.shown = None,
                }
                continue;
            };
            let is_there = from.as_ref() == Some(&to);
            let held = self.held(&id).filter(|_| is_there);
            let action = match update.view.blob() {
                Some(blob) if held.is_some_and(|held| held.to_string() == blob.sha256) => None,
                Some(blob) => Some(FileAction::Place { id, from, to, blob }),
                None => {
                    let text = self.snapshot.vault.spell(&to, &update.view);
                    let is_right =
                        held.is_some_and(|held| held == ContentHash::of(text.as_bytes()));
                    (!is_right).then_some(FileAction::Write { id, from, to, text })
                }
            };
            if action.is_none() {
                update.shown = None;
            }
            files.extend(action);
        }
        self.plan.updates = updates;
        self.plan.files = files;
        self.plan.revisit = places.into_keys().collect();
    }
}

fn wish_of(update: &Update) -> Wish {
    let path = update.view.path().filter(|_| !update.view.is_deleted);
    Wish {
        id: update.state.id.clone(),
        current: update.file.clone(),
        // A path that cannot be on this device's disk is kept in the record and not written; a
        // file that is there already stays where it is.
        path: path.and_then(|path| VaultPath::new(path).ok().or_else(|| update.file.clone())),
    }
}
