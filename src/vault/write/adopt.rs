//! Placing a finished content.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use super::temp::{Temp, keep_mode, put};
use super::{Expect, Written, holds};
use crate::model::{ContentHash, VaultPath};
use crate::vault::dir::{Dir, Dirs, Kind};
use crate::vault::{Vault, VaultError};

impl Vault {
    /// Moves a content that is whole into the vault, in one step and with the folders that are
    /// missing.
    ///
    /// A file that is replaced gives its mode.
    ///
    /// # Errors
    /// See [`VaultError`]; the file that stood there is untouched.
    pub fn adopt(
        &self,
        sha256: ContentHash,
        path: &VaultPath,
        expect: Expect,
    ) -> Result<Written, VaultError> {
        let target = path.under(self.root());
        let failed = |error| VaultError::write(&target, error);
        let dirs = self.dirs();
        let (contents, content) = (self.contents(&dirs)?, sha256.to_string());
        let mut changed = BTreeSet::new();
        let folder = path.parent().unwrap_or_default();
        let dir = dirs.make(folder, &mut changed)?;
        let before = dir.look(path.file_name()).map_err(failed)?;
        if !holds(&target, before.as_ref(), expect)? {
            return Ok(Written::Moved);
        }
        if let Some(mode) = before.map(|before| before.permissions) {
            let file = contents.open_file(&content);
            file.and_then(|file| keep_mode(&file, mode)).map_err(failed)?;
        }
        let ours = contents.look(&content).map_err(failed)?;
        let ours = ours.filter(|ours| ours.kind == Kind::File).map(|ours| ours.stat);
        let ours = ours.ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
        // Once more, as late as can be: the user may have written while we did.
        if !holds(&target, dir.look(path.file_name()).map_err(failed)?.as_ref(), expect)? {
            return Ok(Written::Moved);
        }
        let is_named = match put(&contents, &content, &dir, path.file_name(), expect) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                put_copy(&dirs, (&contents, &content), (folder, &dir), path.file_name(), expect)
            }
            named => named,
        };
        if !is_named.map_err(failed)? {
            return Ok(Written::Moved);
        }
        changed.insert(folder.to_owned());
        changed.iter().try_for_each(|folder| self.sync_names(&dirs, folder))?;
        let now = dir.look(path.file_name()).map_err(failed)?.map(|now| now.stat);
        // A copy on another disk has another number; its length tells as much here.
        Ok(Written::Done(now.filter(|now| now.size == ours.size).unwrap_or(ours)))
    }
}

/// By way of a temporary file, where the vault is made of several disks.
fn put_copy(
    dirs: &Dirs<'_>,
    (contents, content): (&Dir, &str),
    (folder, dir): (&str, &Dir),
    name: &str,
    expect: Expect,
) -> io::Result<bool> {
    let mut from = contents.open_file(content)?;
    let (mut temp, mut file) = Temp::new(dirs, folder, dir)?;
    keep_mode(&file, from.metadata()?.permissions())?;
    io::copy(&mut from, &mut file)?;
    file.sync_all()?;
    let is_named = temp.put(dir, name, expect)?;
    if is_named {
        contents.remove_file(content)?;
    }
    Ok(is_named)
}
