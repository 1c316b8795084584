//! The mark on a vault that tells which of its remotes are encrypted: it outlives the replica.

use std::{collections::BTreeSet, fs, io::Write as _, path::Path};

use anyhow::Context;

use crate::{cli::error::CliError, model::path::CONTROL_DIR};

/// The file that tells which remotes of a vault are encrypted.
const REMEMBERED: &str = "encrypted";

/// The ids of the remotes of a vault that are encrypted.
pub(super) fn remembered(root: &Path) -> Result<BTreeSet<String>, CliError> {
    let file = root.join(CONTROL_DIR).join(REMEMBERED);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(anyhow::Error::from(error).context(file.display().to_string()).into()),
    }
}

pub(super) fn remember(root: &Path, ids: &BTreeSet<String>) -> Result<(), CliError> {
    let control = root.join(CONTROL_DIR);
    if remembered(root)? == *ids {
        return Ok(());
    }
    let mut temp = tempfile::NamedTempFile::new_in(&control)?;
    for id in ids {
        writeln!(temp, "{id}")?;
    }
    temp.as_file().sync_all()?;
    let file = control.join(REMEMBERED);
    temp.persist(&file).map_err(|error| error.error).with_context(|| file.display().to_string())?;
    Ok(())
}
