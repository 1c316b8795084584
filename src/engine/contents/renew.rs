//! Naming contents anew that the remote may not have any more.

use std::collections::BTreeSet;

use super::send::note_unsent;
use crate::{
    engine::{Engine, NoteKind, Report, Result},
    merge::{LocalEdit, view},
    model::{Agreed, Blob, Change, Changes, Content, EntityId, Record, entity::BLOB},
    remote::{
        Remote,
        blob::{is_there, upload},
    },
};

impl Engine {
    /// Makes sure that what is about to be sent names no content which the remote may not have:
    /// after a turn that was cut off, on a remote that went back, where somebody collected it. Says
    /// whether it made edits.
    pub(in crate::engine) async fn renew_contents(
        &mut self,
        remote: &Remote,
        unsettled: &BTreeSet<EntityId>,
        report: &mut Report,
    ) -> Result<bool> {
        let mut has_edited = false;
        for id in self.store.blob_owners(!self.contents.is_lost)?.intersection(unsettled) {
            has_edited |= self.renew_content(remote, id, report).await?;
        }
        Ok(has_edited)
    }

    /// Makes sure of the content of one record; says whether it made an edit.
    pub(in crate::engine) async fn renew_content(
        &mut self,
        remote: &Remote,
        id: &EntityId,
        report: &mut Report,
    ) -> Result<bool> {
        let Some(record) = self.store.record(id)? else { return Ok(false) };
        let shown = view(&record.state, &self.rules);
        let stays = shown.is_deleted || !self.rules.syncs(&shown.type_name);
        let Some(blob) = shown.blob().filter(|_| !stays) else { return Ok(false) };
        if self.is_certain(&blob)? {
            return Ok(false);
        }
        let name = shown.path().unwrap_or(id.as_str()).to_owned();
        let Some(blob) = self.renewed(remote, &record, &blob, &name, report).await? else {
            return Ok(false);
        };
        let content = Content::new(blob.to_value());
        let changes = Changes::from([(BLOB.to_owned(), Change::set(content))]);
        self.edit(id, LocalEdit::Made(changes))?;
        Ok(true)
    }

    /// Another value for a record whose content nothing certain is known of; nothing if it can stay.
    async fn renewed(
        &mut self,
        remote: &Remote,
        record: &Record,
        blob: &Blob,
        name: &str,
        report: &mut Report,
    ) -> Result<Option<Blob>> {
        let now_ms = self.clock.now().millis();
        for candidate in [vec![blob.clone()], self.candidates(blob)?].concat() {
            let is_retired = self.contents.retired.contains(&candidate.file);
            if !is_retired && is_there(&remote.storage, &candidate).await? {
                self.contents.found(candidate.clone(), now_ms);
                return Ok((candidate != *blob).then_some(candidate));
            }
        }
        let own = record.file.clone().filter(|_| record.file_sha256.as_ref() == Some(&blob.sha256));
        let others = self.store.files_with(&blob.sha256)?.into_iter().map(|(path, _)| path);
        if let (Some(path), Some(vault)) = (own.into_iter().chain(others).next(), &self.vault) {
            let from = path.under(vault.root());
            let new = Blob::new(&blob.sha256, blob.bytes, &mut self.random);
            match upload(&remote.storage, &new, from).await {
                Ok(()) => {
                    self.store.note_sent_blob(&new.file, now_ms)?;
                    self.contents.found(new.clone(), now_ms);
                    return Ok(Some(new));
                }
                Err(error) => note_unsent(&error, &path, report)?,
            };
            return Ok(None);
        }
        report.note(
            NoteKind::Damaged,
            name,
            "its content is gone: no file of this vault has it, and the remote does not either",
        );
        let agreed = match &record.agreed {
            Agreed::Earlier(agreed) => view(agreed, &self.rules).blob(),
            _ => None,
        };
        Ok(agreed.filter(|agreed| agreed.sha256 != blob.sha256))
    }
}
