//! After a turn that was cut short while it wrote to the vault: telling its work from the user's.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Result, forms::Forms};
use crate::{
    digest::sha256_hex,
    merge::{VaultForms as _, view},
    model::{ContentHash, Entity, EntityId, FileStat, KnownFile, Record, VaultPath},
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
        let (mut written, mut shows) = (Vec::new(), Vec::new());
        for intent in &intents {
            let record = self.store.record(&intent.entity)?;
            let texts = record.and_then(|record| self.texts(&record, intent));
            if let Some(row) = done(vault, intent, texts.as_ref()) {
                shows.extend(texts.map(|_| intent.entity.clone()));
                written.push(row);
            }
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
            match vault.stat(&intent.path) {
                Ok(None) => removed.push(intent.path.clone()),
                // Nobody can tell what is behind a symlink.
                Err(error) if !error.is_about_one_file() => return Err(error.into()),
                _ => {}
            }
        }
        self.store.recover_files(&written, &removed, &shows)?;
        Ok(())
    }

    /// What the file held before it was to be written, and what it was to hold; nothing if that is not
    /// the record's state.
    fn texts(&self, record: &Record, intent: &Intent) -> Option<Texts> {
        let forms = Forms::new(&self.store, &self.rules);
        let spell = |path: &VaultPath, state: &Entity| forms.spell(path, &view(state, &self.rules));
        let wanted = spell(&intent.path, &record.state);
        let before = record.shown.as_ref().filter(|_| record.file.is_some());
        let texts = Texts { before: before.map(|state| spell(&intent.path, state)), wanted };
        (intent.sha256 == Some(sha256_hex(texts.wanted.as_bytes()))).then_some(texts)
    }
}

/// What a file may have held when its owner edited it after the cut.
struct Texts {
    before: Option<String>,
    wanted: String,
}

impl Texts {
    /// Whether a text was made from what the file was to hold. Then nothing in it that the cut turn
    /// had written is its owner's doing. In doubt it was not: what the owner may not have seen is
    /// not replaced by their edit but meets it.
    fn is_from_wanted(&self, text: &str) -> bool {
        let from_wanted = lines_in_common(text, &self.wanted);
        match &self.before {
            Some(before) => from_wanted > lines_in_common(text, before),
            // The file is new, and somebody may have made one of the same name.
            None => from_wanted * 2 > self.wanted.lines().count(),
        }
    }
}

fn lines_in_common(a: &str, b: &str) -> usize {
    let mut counts = BTreeMap::<&str, usize>::new();
    b.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    let is_there = |line: &&str| {
        let count = counts.get_mut(*line).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    };
    a.lines().filter(is_there).count()
}

/// The row of a file that was written as it was to be. Whoever edited it since then is found by the
/// next scan, which finds another content than the row says.
fn done(vault: &Vault, intent: &Intent, texts: Option<&Texts>) -> Option<FileRow> {
    let wanted = intent.sha256.as_deref().and_then(ContentHash::parse)?;
    let file = vault.read(&intent.path).ok().flatten()?;
    let known = if file.sha256 == wanted {
        file.known()
    } else {
        let (text, texts) = (vault.load(&file).ok().flatten()?, texts?);
        texts
            .is_from_wanted(&text)
            .then(|| KnownFile { stat: FileStat::default(), sha256: wanted })?
    };
    Some(FileRow { path: intent.path.clone(), entity: intent.entity.clone(), known })
}
