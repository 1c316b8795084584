//! After a turn that was cut short while it wrote to the vault: telling its work from the user's.

use std::collections::BTreeSet;

use super::{Engine, Result, forms::Forms};
use crate::{
    digest::sha256_hex,
    merge::{VaultForms as _, view},
    model::{ContentHash, EntityId, FileStat, KnownFile, Record, VaultPath},
    mutant::{self, Mutant},
    store::{FileRow, Intent},
    vault::Vault,
};

impl Engine {
    /// Enters into the books what a cut turn had already done to the vault. What it had not done
    /// is planned anew, for the records are still marked.
    pub(super) fn recover_files(&mut self) -> Result<()> {
        let Some(vault) = &self.vault else { return Ok(()) };
        let intents = self.store.intents()?;
        if intents.is_empty() || mutant::is(Mutant::NoRecovery) {
            return Ok(());
        }
        let waiting = waiting(vault, &intents)?;
        // Temporary files tell what took its place: what they told is kept before they go.
        self.store.keep_waiting(&waiting.iter().map(|path| (*path, None)).collect::<Vec<_>>())?;
        vault.clean_temps()?;
        let (mut written, mut shows) = (Vec::new(), Vec::new());
        for intent in &intents {
            let took_place = intent.temp.is_some() && !waiting.contains(&intent.path)
                || mutant::is(Mutant::TakesForWritten);
            let record = self.store.record(&intent.entity)?;
            let is_state = record.is_some_and(|record| self.is_state(&record, intent));
            let has_row = self.had_file(intent)?;
            if let Some(row) = done(vault, intent, took_place && is_state, has_row) {
                shows.extend(is_state.then(|| intent.entity.clone()));
                written.push(row);
            }
        }
        let there: BTreeSet<EntityId> = written.iter().map(|row| row.entity.clone()).collect();
        let mut removed = Vec::new();
        for intent in &intents {
            let is_written = written.iter().any(|row| row.path == intent.path);
            let row = self.store.file_at(&intent.path)?;
            // Of a file that was to be written and is not there its owner has made something: what it
            // is the scan finds out, by what the row says of it.
            let is_owners = intent.sha256.is_some()
                && row.as_ref().is_some_and(|row| row.entity == intent.entity);
            // What still lies at a place that its record has left for another.
            let left = row.filter(|row| there.contains(&row.entity) && !is_written);
            if let Some(left) = left {
                match vault.remove(&intent.path, left.known.stat) {
                    Err(error) if !error.is_about_one_file() => return Err(error.into()),
                    _ => {}
                }
            }
            match vault.stat(&intent.path) {
                Ok(None) if !is_owners => removed.push(intent.path.clone()),
                Err(error) if !error.is_about_one_file() => return Err(error.into()),
                _ => {}
            }
        }
        self.store.recover_files(&written, &removed, &shows)?;
        Ok(())
    }

    /// Whether the record had a file at this very place before.
    fn had_file(&self, intent: &Intent) -> Result<bool> {
        let row = self.store.file_at(&intent.path)?;
        Ok(row.is_some_and(|row| row.entity == intent.entity))
    }

    /// Whether what the file was to hold is the record's state.
    fn is_state(&self, record: &Record, intent: &Intent) -> bool {
        let view = view(&record.state, &self.rules);
        let sha256 = view.blob().map(|blob| blob.sha256).unwrap_or_else(|| {
            let forms = Forms::new(&self.store, &self.rules);
            sha256_hex(forms.spell(&intent.path, &view).as_bytes())
        });
        intent.sha256.as_ref() == Some(&sha256)
    }
}

/// The places whose temporary files still wait for them.
fn waiting<'a>(vault: &Vault, intents: &'a [Intent]) -> Result<BTreeSet<&'a VaultPath>> {
    let mut waiting = BTreeSet::new();
    for intent in intents {
        let Some(temp) = &intent.temp else { continue };
        match vault.waits(&intent.path, temp) {
            Ok(false) => {}
            Err(error) if !error.is_about_one_file() => return Err(error.into()),
            // Nobody can tell what is behind a symlink.
            Ok(true) | Err(_) => {
                waiting.insert(&intent.path);
            }
        }
    }
    Ok(waiting)
}

/// The row of a file that was written as it was to be: it still is so, or it took its place. Whoever
/// edited, renamed or removed it since then is found by the next scan, which finds another content than
/// the row says, or none. Of a file that was not there before, and is not now, nothing is taken for sure.
fn done(vault: &Vault, intent: &Intent, took_place: bool, has_row: bool) -> Option<FileRow> {
    let wanted = intent.sha256.as_deref().and_then(ContentHash::parse)?;
    let known = match vault.read(&intent.path).ok()? {
        Some(file) if file.sha256 == wanted => file.known(),
        file if took_place && (has_row || file.is_some()) => {
            KnownFile { stat: FileStat::default(), sha256: wanted }
        }
        _ => return None,
    };
    Some(FileRow { path: intent.path.clone(), entity: intent.entity.clone(), known })
}
