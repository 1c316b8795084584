//! Files on their way to their names.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};

use crate::model::path::TEMP_PREFIX;
use crate::vault::dir::{Dir, Dirs};

use super::Expect;

/// How many letters make a name that nothing has.
const LETTERS: usize = 8;
/// How many such names are tried.
const TRIES: usize = 16;

/// A temporary file in a folder of the vault. It is removed unless it was given a name.
pub(super) struct Temp<'d> {
    dirs: &'d Dirs<'d>,
    folder: &'d str,
    name: String,
}

impl<'d> Temp<'d> {
    /// Makes an empty one.
    pub(super) fn new(dirs: &'d Dirs<'d>, folder: &'d str, dir: &Dir) -> io::Result<(Self, File)> {
        let mut tries = 0;
        loop {
            let letters = (0..LETTERS).map(|_| fastrand::alphanumeric());
            let name: String = TEMP_PREFIX.chars().chain(letters).collect();
            match dir.create(&name) {
                Ok(file) => return Ok((Self { dirs, folder, name }, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the file its name in the folder that it lies in, `dir`; false if something stands there
    /// that should not.
    pub(super) fn put(&mut self, dir: &Dir, name: &str, expect: Expect) -> io::Result<bool> {
        let is_named = put(dir, &self.name, dir, name, expect)?;
        if is_named {
            self.name.clear();
        }
        Ok(is_named)
    }

    /// What the file is called for now.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the file was not given its name.
    pub(super) fn waits(&self) -> bool {
        !self.name.is_empty()
    }

    /// Has the file stay where it is.
    pub(super) fn leave(&mut self) {
        self.name.clear();
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is found by `clean_temps`.
        if self.waits()
            && let Ok(Some(dir)) = self.dirs.get(self.folder)
        {
            dir.remove_file(&self.name).ok();
        }
    }
}

/// Renames a finished file into its place; false if something stands there that should not.
pub(super) fn put(
    from: &Dir,
    temp: &str,
    folder: &Dir,
    name: &str,
    expect: Expect,
) -> io::Result<bool> {
    match expect {
        Expect::Is(_) => from.rename(temp, folder, name).map(|()| true),
        Expect::Absent => from.rename_new(temp, folder, name),
    }
}

#[cfg(unix)]
pub(super) fn keep_mode(file: &File, permissions: Permissions) -> io::Result<()> {
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
pub(super) fn keep_mode(_: &File, _: Permissions) -> io::Result<()> {
    Ok(())
}
