//! Whose file a new file is.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Clerk, FileContent};
use crate::{
    engine::{Result, forms::to_fields},
    merge::{LocalEdit, view},
    model::{Blob, Entity, EntityId, Record, RemoteId, Sibling, VaultPath, entity::PATH},
    vault::{FileKind, ScannedFile},
};

impl Clerk<'_> {
    /// Finds out whose file a new file is, and whether its maker had the record before them.
    pub(super) fn identify(
        &mut self,
        file: &ScannedFile,
        content: &FileContent,
    ) -> Result<(EntityId, bool)> {
        if let FileContent::Fields(document) = content
            && let Some(id) = document.id().and_then(|id| EntityId::new(id).ok())
            && let Some(seen) = self.may_take(&id, None)?
        {
            return Ok((id, seen));
        }
        // Of a vault that is met for the first time nothing is known of where files were before: the
        // record that wants to lie there is the file's, whatever its id came from.
        if self.is_first()? {
            for id in self.wanting(&file.path)? {
                if let Some(seen) = self.may_take(&id, Some(&file.path))? {
                    return Ok((id, seen));
                }
            }
            if let FileContent::Fields(document) = content {
                let holds = |clerk: &Self, record: Option<&Record>, shown: &Entity| {
                    let now = to_fields(document.clone(), &file.path);
                    let mut changes = clerk.differences(Some(shown), record, now, &file.path, true);
                    changes.remove(PATH);
                    changes.is_empty().then_some(())
                };
                if let Some((id, ())) = self.beside(&file.path, holds)? {
                    return Ok((id, false));
                }
            }
        }
        let by_path = self.id_of_path(&file.path)?;
        if let Some(seen) = self.may_take(&by_path, Some(&file.path))? {
            return Ok((by_path, seen));
        }
        Ok((EntityId::new(self.engine.new_uuid().to_string())?, false))
    }

    /// The record that wants to lie where a new file lies and has the same content: of that nothing has
    /// to be sent first, and by the time it was, another file would have the place of the record.
    pub(super) fn held(&mut self, file: &ScannedFile) -> Result<Option<(EntityId, Blob)>> {
        if file.kind != FileKind::Blob {
            return Ok(None);
        }
        for id in self.wanting(&file.path)? {
            if self.may_take(&id, Some(&file.path))?.is_none() {
                continue;
            }
            let record = self.engine.store.record(&id)?;
            let shown = self.shown(&id, record.as_ref(), false);
            if let Some(blob) = self.content_of(shown.as_ref(), file) {
                return Ok(Some((id, blob)));
            }
        }
        let has_it =
            |clerk: &Self, _: Option<&Record>, shown: &Entity| clerk.content_of(Some(shown), file);
        self.beside(&file.path, has_it)
    }

    /// The record that has its file beside its place, where a file with a number is met for the first
    /// time, and what `holds` makes of it if it holds the same.
    fn beside<T>(
        &mut self,
        path: &VaultPath,
        holds: impl Fn(&Self, Option<&Record>, &Entity) -> Option<T>,
    ) -> Result<Option<(EntityId, T)>> {
        let is_first = self.is_first()?;
        let Some(plain) = path.without_number().filter(|_| is_first) else { return Ok(None) };
        let mut has_keeper = false;
        for id in self.wanting(&plain)? {
            let record = self.engine.store.record(&id)?;
            let Some(shown) = self.shown(&id, record.as_ref(), false) else { continue };
            let view = view(&shown, &self.engine.rules);
            if view.is_deleted || view.path() != Some(plain.as_str()) {
                continue;
            }
            // The one with the lowest id lies at the place itself: what lies beside it is no file of it.
            if !std::mem::replace(&mut has_keeper, true) {
                continue;
            }
            if self.may_take(&id, Some(&plain))?.is_some()
                && let Some(held) = holds(self, record.as_ref(), &shown)
            {
                self.beside.insert(path.clone());
                return Ok(Some((id, held)));
            }
        }
        Ok(None)
    }

    /// Whether this replica has never agreed with its remote: it is new, or it was lost.
    pub(super) fn is_first(&self) -> Result<bool> {
        Ok(!self.engine.store.has_agreed()?)
    }

    /// The records that want to lie at a path, here and among the news.
    fn wanting(&self, path: &VaultPath) -> Result<BTreeSet<EntityId>> {
        let wants = |state: &Entity| {
            let path_of = |sibling: &Sibling| sibling.content.value.as_str() == Some(path.as_str());
            state.siblings(PATH).iter().any(path_of)
        };
        let mut ids = self.engine.store.claimants(&path.key())?;
        ids.extend(self.news.values().filter(|state| wants(state)).map(|state| state.id.clone()));
        Ok(ids)
    }

    /// Whether a new file may be the file of this record, and if so, whether its maker knew the
    /// record. With a path, the record has to want to lie there.
    fn may_take(&self, id: &EntityId, path: Option<&VaultPath>) -> Result<Option<bool>> {
        match self.out.edits.get(id) {
            None => {}
            // Moved and changed beyond recognition, but it says itself what it is.
            Some(LocalEdit::Vanished) if path.is_none() => return Ok(Some(true)),
            Some(_) => return Ok(None),
        }
        let record = self.engine.store.record(id)?;
        let Some(state) = self.shown(id, record.as_ref(), false) else { return Ok(Some(false)) };
        let view = view(&state, &self.engine.rules);
        if view.is_deleted {
            // By its own id a deleted record comes back; a new file at an old path is a new one.
            return Ok(path.is_none().then_some(record.is_some()));
        }
        let has_file = record.is_some_and(|record| record.file.is_some());
        let wants_it = path.is_none_or(|path| view.path() == Some(path.as_str()));
        Ok((!has_file && wants_it).then_some(false))
    }

    /// The same path on two devices is the same record.
    fn id_of_path(&mut self, path: &VaultPath) -> Result<EntityId> {
        let space = match self.space {
            Some(space) => space,
            None => {
                // Of several remotes the oldest, so that devices that share them agree on one.
                let bound = self.engine.store.bindings()?.into_iter().map(|bound| bound.id);
                bound.min().map_or(Uuid::NAMESPACE_URL, |id| namespace(&id))
            }
        };
        self.space = Some(space);
        Ok(EntityId::new(Uuid::new_v5(&space, path.as_str().as_bytes()).to_string())?)
    }
}

/// What the ids of paths are made in.
fn namespace(remote: &RemoteId) -> Uuid {
    let named = || Uuid::new_v5(&Uuid::NAMESPACE_URL, remote.as_str().as_bytes());
    Uuid::parse_str(remote.as_str()).unwrap_or_else(|_| named())
}
