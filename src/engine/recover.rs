//! After a turn that was cut short while it wrote to the vault: telling its work from the user's.

use std::collections::BTreeSet;

use super::{Engine, Result};
use crate::{
    model::{ContentHash, EntityId},
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
        vault.clean_temps()?;
        let mut written = Vec::new();
        for intent in intents.iter().filter(|intent| intent.sha256.is_some()) {
            written.extend(done(vault, intent));
        }
        let there: BTreeSet<EntityId> = written.iter().map(|row| row.entity.clone()).collect();
        let mut removed = Vec::new();
        for intent in &intents {
            let is_written = written.iter().any(|row| row.path == intent.path);
            // What still lies at a place that its record has left for another.
            let row = self.store.file_at(&intent.path)?;
            let left = row.filter(|row| there.contains(&row.entity) && !is_written);
            if let Some(left) = left {
                match vault.remove(&intent.path, left.known.stat) {
                    Err(error) if !error.is_about_one_file() => return Err(error.into()),
                    _ => {}
                }
            }
            if vault.stat(&intent.path)?.is_none() {
                removed.push(intent.path.clone());
            }
        }
        self.store.settle_files(&written, &removed, &[])?;
        Ok(())
    }
}

/// The row of a file that holds what was to be written to it.
fn done(vault: &Vault, intent: &Intent) -> Option<FileRow> {
    let file = vault.read(&intent.path).ok().flatten()?;
    let wanted = intent.sha256.as_deref().and_then(ContentHash::parse);
    let is_done = wanted == Some(file.sha256);
    let (path, entity) = (intent.path.clone(), intent.entity.clone());
    is_done.then(|| FileRow { path, entity, known: file.known() })
}
