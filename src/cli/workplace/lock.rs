//! One larder at a time changes a vault.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use anyhow::Context;

use crate::{cli::error::CliError, model::path::CONTROL_DIR};

const LOCK: &str = "lock";

/// Whether another larder works on the vault right now.
pub(in crate::cli) fn is_busy(root: &Path) -> bool {
    let lock = File::open(root.join(CONTROL_DIR).join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

pub(super) fn take_lock(control: &Path, root: &Path) -> Result<File, CliError> {
    let path = control.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.with_context(|| path.display().to_string())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(CliError::Locked(format!(
            "another larder is using {}; if it is the daemon, it syncs by itself",
            root.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::from(error).context(path.display().to_string()).into())
        }
    }
}
