//! One larder at a time changes a vault.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::Context;

use crate::{cli::error::CliError, model::path::CONTROL_DIR};

const LOCK: &str = "lock";

/// How often a lock that somebody holds is tried again, and after how long each time.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether another larder works on the vault right now.
pub(in crate::cli) fn is_busy(root: &Path) -> bool {
    let lock = File::open(root.join(CONTROL_DIR).join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

pub(super) fn take_lock(control: &Path, root: &Path) -> Result<File, CliError> {
    let path = control.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.with_context(|| path.display().to_string())?;
    // Who looks whether somebody is at work holds it for a moment.
    let mut tried = lock.try_lock();
    for _ in 0..TRIES {
        if !matches!(tried, Err(TryLockError::WouldBlock)) {
            break;
        }
        thread::sleep(PAUSE);
        tried = lock.try_lock();
    }
    match tried {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(CliError::Locked(format!(
            "another larder is using {}: stop it for this command (it may be the daemon, which syncs by itself)",
            root.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::from(error).context(path.display().to_string()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let own = take_lock(dir.path(), dir.path()).unwrap();
        assert!(matches!(take_lock(dir.path(), dir.path()), Err(CliError::Locked(_))));
        drop(own);
        let looks = File::open(dir.path().join(LOCK)).unwrap();
        looks.try_lock_shared().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(PAUSE * 2);
                drop(looks);
            });
            take_lock(dir.path(), dir.path()).unwrap();
        });
    }
}
