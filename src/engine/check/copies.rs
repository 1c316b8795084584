//! Copies of `meta.json` that programs make which mirror folders, where it says what the remote is and
//! is no head: nobody joins them, so they would stay for ever.

use larder_providers::{RemotePath, Storage as _, StorageExt as _};

use crate::{
    engine::Result,
    model::limits::{MANIFEST_BYTES_MAX, TOKENS_MAX},
    remote::{CommitMode, Meta, Remote, layout},
};

/// The copies that lie on a remote.
#[derive(Debug, Default)]
pub(in crate::engine) struct Copies {
    /// Those that say the same as `meta.json`.
    pub(super) alike: Vec<RemotePath>,
    /// Those that do not, and what is with them.
    pub(super) others: Vec<(RemotePath, String)>,
}

impl Copies {
    /// Looks for copies. They cannot be told from the head's own where that is `meta.json`.
    pub(super) async fn find(remote: &Remote) -> Result<Self> {
        let mut copies = Self::default();
        if remote.head.mode() == CommitMode::IfMatch {
            return Ok(copies);
        }
        let root = RemotePath::root();
        let listing = remote.storage.list_names(&root).await?;
        let files = listing.entries.iter().filter(|entry| !entry.is_folder);
        let names =
            files.map(|entry| entry.path.name()).chain(listing.foreign.iter().map(String::as_str));
        for name in names.filter(|name| layout::is_copy_of_meta(name)).take(TOKENS_MAX) {
            let Ok(file) = RemotePath::found(&root, name) else { continue };
            match remote.storage.read(&file, MANIFEST_BYTES_MAX).await {
                Ok((bytes, _)) => copies.sort_in(remote, file, &bytes),
                Err(error) if error.is_temporary() => return Err(error.into()),
                Err(error) => copies.others.push((file, format!("cannot be read: {error}"))),
            }
        }
        Ok(copies)
    }

    fn sort_in(&mut self, remote: &Remote, file: RemotePath, bytes: &[u8]) {
        let other = match Meta::decode(bytes) {
            Ok(meta) if meta.remote_id != remote.id => {
                format!("is of another remote, {}: it is left alone", meta.remote_id)
            }
            Ok(meta) if meta.commit_mode != remote.head.mode() => {
                format!("speaks of commit mode {}: it is left alone", meta.commit_mode.name())
            }
            Ok(_) => return self.alike.push(file),
            Err(error) => format!("cannot be read: {error}"),
        };
        self.others.push((file, other));
    }

    /// Takes away the copies of `meta.json` that say the same; says which they were. Without one that
    /// can be read they are the only ones left that say what the remote is.
    pub(in crate::engine) async fn remove(remote: &Remote) -> Result<Vec<RemotePath>> {
        let copies = Self::find(remote).await?;
        if copies.alike.is_empty() || super::rebuild::wrong_meta(remote).await?.is_some() {
            return Ok(Vec::new());
        }
        for file in &copies.alike {
            remote.storage.delete(file).await?;
        }
        Ok(copies.alike)
    }
}
