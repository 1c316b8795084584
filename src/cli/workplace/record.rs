//! Records as people name them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Workplace;
use crate::{
    cli::{env, error::CliError},
    engine::EngineError,
    model::EntityId,
};

impl Workplace {
    /// The record that is meant by a path as seen from the current folder, by one as seen from the vault's, or
    /// by an id. What lies in the current folder is never passed over for something else.
    pub(in crate::cli) fn record(&self, text: &str) -> Result<EntityId, CliError> {
        let seen = seen_from_here(&self.root, Path::new(text));
        if let Some((file, path)) = seen.filter(|(_, path)| path != text) {
            let is_there = fs::symlink_metadata(file).is_ok_and(|found| !found.is_dir());
            match self.engine.find(&path) {
                Err(EngineError::NoRecord { .. }) if !is_there => {}
                found => return Ok(found?),
            }
        }
        Ok(self.engine.find(text)?)
    }
}

/// Where a path leads from the current folder, and where that lies in the vault, if it does.
fn seen_from_here(root: &Path, path: &Path) -> Option<(PathBuf, String)> {
    let whole = env::current_dir().ok()?.join(path);
    // A file that is a link is meant itself.
    let file = env::real(whole.parent()?).join(whole.file_name()?);
    let within = file.strip_prefix(env::real(root)).ok()?;
    let parts: Option<Vec<&str>> = within.iter().map(|part| part.to_str()).collect();
    let path = parts?.join("/");
    Some((file, path))
}
