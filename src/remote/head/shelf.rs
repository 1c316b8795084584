//! Which of the files that a manifest names are there.

use std::collections::BTreeMap;

use larder_providers::{RemotePath, SharedStorage, StorageExt};

use super::{Manifest, Result};

/// The data files that are there, by folders that were looked into.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    folders: BTreeMap<RemotePath, BTreeMap<RemotePath, Option<u64>>>,
}

impl Shelf {
    /// The first file that a manifest names and that is not there in its full length.
    pub(super) async fn first_missing(
        &mut self,
        storage: &SharedStorage,
        manifest: &Manifest,
    ) -> Result<Option<RemotePath>> {
        for data in manifest.data() {
            let Some(folder) = data.file.parent() else { continue };
            if !self.folders.contains_key(&folder) {
                let listing = storage.list_if_there(&folder).await?;
                let files = listing.entries.into_iter().map(|e| (e.path, e.bytes)).collect();
                self.folders.insert(folder.clone(), files);
            }
            let there = self.folders.get(&folder).and_then(|files| files.get(&data.file));
            if there.is_none_or(|bytes| bytes.is_some_and(|bytes| bytes != data.bytes)) {
                return Ok(Some(data.file.clone()));
            }
        }
        Ok(None)
    }
}
