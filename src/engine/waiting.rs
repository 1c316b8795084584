//! Files of the vault that are behind their records: their content or their place was not to be had.

use std::collections::BTreeMap;

use super::{Engine, Result};
use crate::{
    merge::view,
    model::{EntityId, Record, Rules, VaultPath},
};

impl Engine {
    /// The records whose files have yet to be written, moved or removed, and where these lie or are to.
    pub fn waiting_files(&self) -> Result<BTreeMap<EntityId, VaultPath>> {
        let mut waiting = BTreeMap::new();
        if self.vault.is_none() {
            return Ok(waiting);
        }
        for id in self.store.pending()? {
            let record = self.store.record(&id)?;
            if let Some(path) = record.and_then(|record| behind(&record, &self.rules)) {
                waiting.insert(id, path);
            }
        }
        Ok(waiting)
    }
}

/// The place of a file that is not what its record says, which need not be so of each that is to be
/// looked at.
fn behind(record: &Record, rules: &Rules) -> Option<VaultPath> {
    let shown = view(&record.state, rules);
    match &record.file {
        Some(file) => (shown.is_deleted || record.shown.is_some()).then(|| file.clone()),
        None if shown.is_deleted => None,
        None => VaultPath::new(shown.path()?).ok(),
    }
}
