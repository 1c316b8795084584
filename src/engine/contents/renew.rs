//! Naming contents anew that the remote may not have any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use futures::{StreamExt, stream};
use larder_providers::ErrorKind;

use super::{AT_ONCE, send::note_unsent};
use crate::{
    engine::{Engine, NoteKind, Progress, Report, Result, Stage},
    merge::{LocalEdit, view},
    model::{Agreed, Blob, Change, Changes, Content, EntityId, Record, VaultPath, entity::BLOB},
    remote::{
        Remote, RemoteError,
        blob::{carry, is_there, upload},
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
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<bool> {
        let mut has_edited = false;
        let owners = match self.contents.is_lost {
            true => self.store.blob_owners()?,
            false => self.store.new_blob_owners()?,
        };
        self.carry_contents(remote, owners.intersection(unsettled), progress).await?;
        for id in owners.intersection(unsettled) {
            has_edited |= self.renew_content(remote, id, report).await?;
        }
        for blob in self.store.owed_blobs()? {
            has_edited |= self.pay(remote, &blob, report).await?;
        }
        Ok(has_edited)
    }

    /// Has the contents that another remote holds lie on this one too, several at once, as far as it
    /// goes well: what does not is left to `renew_content`. A remote that is added lacks them all.
    async fn carry_contents(
        &mut self,
        remote: &Remote,
        ids: impl Iterator<Item = &EntityId>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut jobs = BTreeMap::new();
        for id in ids {
            let Some((record, blob)) = self.uncertain_content(id)? else { continue };
            let is_retired = self.contents.retired.contains(&blob.file);
            if !is_retired
                && self.store.is_held_elsewhere(&blob.file)?
                && let Some((_, from)) = self.file_with(&record, &blob)?
            {
                jobs.insert(blob.file.clone(), (blob, from));
            }
        }
        if jobs.len() < 2 {
            return Ok(());
        }
        let (of, storage) = (jobs.len() as u64, &remote.storage);
        // None is begun where the line is poor; those on their way come to their end, for some servers
        // keep what was cut.
        let is_poor = &AtomicBool::new(false);
        progress.step(Stage::Send, 0, of);
        let mut carrying = stream::iter(jobs.into_values())
            .map(|(blob, from)| async move {
                let is_there = !is_poor.load(Relaxed)
                    && (is_there(storage, &blob).await? || carry(storage, &blob, from).await?);
                Ok::<_, RemoteError>(is_there.then_some(blob))
            })
            .buffer_unordered(AT_ONCE);
        let mut done = 0;
        while let Some(carried) = carrying.next().await {
            match carried {
                Ok(Some(blob)) => self.contents.found(blob, self.clock.now().millis()),
                Ok(None) => {}
                Err(error) if error.storage_kind() == Some(ErrorKind::Changed) => {}
                Err(_) => is_poor.store(true, Relaxed),
            }
            done += 1;
            progress.step(Stage::Send, done, of);
        }
        Ok(())
    }

    /// Sends a content that the remote is owed, if this device has it by now. Says whether that made
    /// an edit: where something else lies under its name it needs another.
    async fn pay(&mut self, remote: &Remote, blob: &Blob, report: &mut Report) -> Result<bool> {
        if !is_there(&remote.storage, blob).await? {
            let files = self.store.files_with(&blob.sha256)?;
            let (Some((path, _)), Some(vault)) = (files.first(), &self.vault) else {
                return Ok(false);
            };
            match carry(&remote.storage, blob, path.under(vault.root())).await {
                Ok(true) => {}
                Ok(false) => {
                    self.contents.distrust(blob);
                    let mut has_edited = false;
                    for id in self.store.owners_of_blob(&blob.file)? {
                        has_edited |= self.renew_content(remote, &id, report).await?;
                    }
                    // Who names another content by now owes this one to nobody; the others go on owing it.
                    return Ok(has_edited);
                }
                Err(error) => {
                    note_unsent(&error, path, report)?;
                    return Ok(false);
                }
            }
        }
        self.store.set_owed_blob(&blob.file, false)?;
        Ok(false)
    }

    /// Makes sure of the content of one record; says whether it made an edit.
    pub(in crate::engine) async fn renew_content(
        &mut self,
        remote: &Remote,
        id: &EntityId,
        report: &mut Report,
    ) -> Result<bool> {
        let Some((record, blob)) = self.uncertain_content(id)? else { return Ok(false) };
        let shown = view(&record.state, &self.rules);
        let name = shown.path().unwrap_or(id.as_str()).to_owned();
        let Some(blob) = self.renewed(remote, &record, &blob, &name, report).await? else {
            return Ok(false);
        };
        let content = Content::new(blob.to_value());
        let changes = Changes::from([(BLOB.to_owned(), Change::set(content))]);
        self.edit(id, LocalEdit::Made(changes))?;
        Ok(true)
    }

    /// A record and its content, if it goes to the remote and it is not certain that the remote has it.
    fn uncertain_content(&self, id: &EntityId) -> Result<Option<(Record, Blob)>> {
        let Some(record) = self.store.record(id)? else { return Ok(None) };
        let shown = view(&record.state, &self.rules);
        let stays = shown.is_deleted || !self.rules.syncs(&shown.type_name);
        let Some(blob) = shown.blob().filter(|_| !stays) else { return Ok(None) };
        Ok(if self.is_certain(&blob)? { None } else { Some((record, blob)) })
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
        let is_retired = self.contents.retired.contains(&blob.file);
        let is_shared = !is_retired && self.store.is_held_elsewhere(&blob.file)?;
        if is_shared && self.has_carried(remote, record, blob, name, report).await? {
            return Ok(None);
        }
        let candidates = if is_shared { Vec::new() } else { self.candidates(blob)? };
        for candidate in [vec![blob.clone()], candidates].concat() {
            let is_retired = self.contents.retired.contains(&candidate.file);
            if !is_retired && is_there(&remote.storage, &candidate).await? {
                self.contents.found(candidate.clone(), now_ms);
                return Ok((candidate != *blob).then_some(candidate));
            }
        }
        if let Some((path, from)) = self.file_with(record, blob)? {
            let new = Blob::new(&blob.sha256, blob.bytes, &mut self.random);
            match upload(&remote.storage, &new, from).await {
                Ok(()) => {
                    self.store.note_sent_blob(&new.file, now_ms)?;
                    self.contents.found(new.clone(), now_ms);
                    return Ok(Some(new));
                }
                Err(error) => note_unsent(&error, &path, report)?,
            };
            // The record goes all the same, and names it from then on.
            self.store.set_owed_blob(&blob.file, true)?;
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

    /// Has a content that another remote holds lie on this one under the same name, for by another it
    /// would have to be renamed there in turn. What this device has not got itself follows when it
    /// has. Says whether the name is good.
    async fn has_carried(
        &mut self,
        remote: &Remote,
        record: &Record,
        blob: &Blob,
        name: &str,
        report: &mut Report,
    ) -> Result<bool> {
        let mut is_good = is_there(&remote.storage, blob).await?;
        if !is_good {
            let Some((path, from)) = self.file_with(record, blob)? else {
                let text = "its content has not come from the other remote yet, and follows";
                report.note(NoteKind::Waiting, name, text);
                self.store.set_owed_blob(&blob.file, true)?;
                self.contents.found(blob.clone(), self.clock.now().millis());
                return Ok(true);
            };
            match carry(&remote.storage, blob, from).await {
                Ok(is_there) => is_good = is_there,
                Err(error) => {
                    note_unsent(&error, &path, report)?;
                    self.store.set_owed_blob(&blob.file, true)?;
                    self.contents.found(blob.clone(), self.clock.now().millis());
                    return Ok(true);
                }
            }
        }
        if is_good {
            self.contents.found(blob.clone(), self.clock.now().millis());
        }
        Ok(is_good)
    }

    /// A file of the vault that holds a content, that of the record first.
    fn file_with(&self, record: &Record, blob: &Blob) -> Result<Option<(VaultPath, PathBuf)>> {
        let Some(vault) = &self.vault else { return Ok(None) };
        let own = record.file.clone().filter(|_| record.file_sha256.as_ref() == Some(&blob.sha256));
        let others = self.store.files_with(&blob.sha256)?.into_iter().map(|(path, _)| path);
        let path = own.into_iter().chain(others).next();
        Ok(path.map(|path| (path.clone(), path.under(vault.root()))))
    }
}
