//! Whether a key is that of a remote. A wrong one makes all of it look damaged.

use larder_providers::{RemotePath, SharedStorage, Storage as _, StorageExt as _};

use super::{
    Envelope, Result, SEALED_FOLDERS, SealError, Sealer,
    envelope::{ENVELOPE_BYTES_MAX, META},
};

/// What is known of a key and a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The key opens something that lies there.
    Opens,
    /// Things lie there that the key should open and does not.
    Refused,
    /// Nothing lies there that would tell.
    Unknown,
}

/// Finds out whether the key of a sealer is that of the remote on a storage: by its `meta.json`, and by
/// its names where that may be damaged itself.
pub async fn fit(storage: &SharedStorage, sealer: &Sealer) -> Result<Fit> {
    let meta = RemotePath::new(META).map_err(|error| SealError::damaged(META, error))?;
    let envelope = match storage.read(&meta, ENVELOPE_BYTES_MAX).await {
        Ok((bytes, _)) => Envelope::decode(&bytes),
        Err(error) if error.is_not_found() => Err(SealError::damaged(META, "it is gone")),
        Err(error) => return Err(error.into()),
    };
    let otherwise = match envelope {
        // What else it may be is for others to say.
        Ok(None) => return Ok(Fit::Unknown),
        Ok(Some(envelope)) if envelope.check(sealer).is_err() => return Ok(Fit::Unknown),
        Ok(Some(envelope)) if envelope.open(sealer).is_ok() => return Ok(Fit::Opens),
        Ok(Some(_)) => Fit::Refused,
        Err(SealError::Damaged { .. }) => Fit::Unknown,
        Err(error) => return Err(error),
    };
    Ok(fit_of_names(storage, sealer).await?.unwrap_or(otherwise))
}

/// What the names of data files tell; nothing if there are none.
async fn fit_of_names(storage: &SharedStorage, sealer: &Sealer) -> Result<Option<Fit>> {
    let mut found = None;
    for folder in SEALED_FOLDERS {
        let path = RemotePath::new(folder).map_err(|error| SealError::damaged(folder, error))?;
        let listing = match storage.list_names(&path).await {
            Ok(listing) => listing,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        let mut names = listing.entries.iter().map(|entry| entry.path.name());
        if names.clone().any(|name| sealer.open_name(folder, name).is_some()) {
            return Ok(Some(Fit::Opens));
        }
        if names.any(Sealer::may_be_name) {
            found = Some(Fit::Refused);
        }
    }
    Ok(found)
}
