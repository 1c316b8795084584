//! Placing a finished file that lies elsewhere.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::batch::{keep_mode, put, temp_in};
use super::durable::sync_folder;
use super::{Expect, Written, holds, lstat};
use crate::model::VaultPath;
use crate::vault::stat::file_stat;
use crate::vault::{Vault, VaultError};

impl Vault {
    /// Moves a durable file of larder's own into the vault, in one step and with the folders that
    /// are missing.
    ///
    /// A file that is replaced gives its mode.
    ///
    /// # Errors
    /// See [`VaultError`]; the file that stood there is untouched.
    pub fn adopt(
        &self,
        source: &Path,
        path: &VaultPath,
        expect: Expect,
    ) -> Result<Written, VaultError> {
        let target = path.under(self.root());
        let before = lstat(&target)?;
        if !holds(&target, before.as_ref(), expect)? {
            return Ok(Written::Moved);
        }
        let mut changed = BTreeSet::new();
        let folder = self.make_parents(path, &mut changed)?;
        let failed = |error| VaultError::write(&target, error);
        if let Some(mode) = before.as_ref().map(Metadata::permissions) {
            File::open(source).and_then(|file| keep_mode(&file, mode)).map_err(failed)?;
        }
        let ours = fs::symlink_metadata(source).map_err(failed)?;
        // Once more, as late as can be: the user may have written while we did.
        if !holds(&target, lstat(&target)?.as_ref(), expect)? {
            return Ok(Written::Moved);
        }
        let is_named = match put(source, &target, expect) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                put_copy(source, &folder, &target, expect)
            }
            named => named,
        };
        if !is_named.map_err(failed)? {
            return Ok(Written::Moved);
        }
        changed.insert(folder);
        for folder in &changed {
            sync_folder(folder).map_err(|error| VaultError::write(folder, error))?;
        }
        let ours = file_stat(&ours);
        let now = lstat(&target)?.as_ref().map(file_stat);
        // A copy on another disk has another number; its length tells as much here.
        Ok(Written::Done(now.filter(|now| now.size == ours.size).unwrap_or(ours)))
    }
}

/// By way of a temporary file, where the vault is made of several disks.
fn put_copy(source: &Path, folder: &Path, target: &Path, expect: Expect) -> io::Result<bool> {
    let mut temp = temp_in(folder)?;
    let mut from = File::open(source)?;
    keep_mode(temp.as_file(), from.metadata()?.permissions())?;
    io::copy(&mut from, temp.as_file_mut())?;
    temp.as_file().sync_all()?;
    let mut temp = temp.into_temp_path();
    let is_named = put(&temp, target, expect)?;
    if is_named {
        temp.disable_cleanup(true);
        fs::remove_file(source)?;
    }
    Ok(is_named)
}
