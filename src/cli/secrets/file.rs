//! The file of secrets, where there is no keyring.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use larder_providers::Password;

use crate::cli::{env, error::CliError};

type Kept = BTreeMap<String, String>;

/// Where the file lies.
pub(super) fn path() -> Result<PathBuf, CliError> {
    let dir = env::state_dir();
    let dir = dir.context("there is no HOME folder to keep passwords in; set LARDER_PASSWORD")?;
    Ok(dir.join("passwords.json"))
}

/// The secret of an account.
pub(super) fn recall(account: &str) -> Result<Option<Password>, CliError> {
    let Ok(file) = path() else { return Ok(None) };
    Ok(load(&file)?.remove(account).map(Password::new))
}

/// Keeps the secret of an account.
pub(super) fn keep(account: &str, secret: &Password) -> Result<(), CliError> {
    let file = path()?;
    let _alone = lock(&file)?;
    let mut kept = load(&file)?;
    kept.insert(account.to_owned(), secret.expose().to_owned());
    store(&file, &kept)
}

/// Forgets the secret of an account; whether there was one.
pub(super) fn forget(account: &str) -> Result<bool, CliError> {
    let Ok(file) = path() else { return Ok(false) };
    if !load(&file)?.contains_key(account) {
        return Ok(false);
    }
    let _alone = lock(&file)?;
    let mut kept = load(&file)?;
    kept.remove(account);
    store(&file, &kept)?;
    Ok(true)
}

fn load(file: &Path) -> Result<Kept, CliError> {
    let read = close_to_others(file).and_then(|()| fs::read(file));
    match read {
        Ok(bytes) => {
            // Where it is broken is not told: the words around it may be a secret.
            let broken = |_| {
                anyhow::anyhow!("{} does not read as JSON; delete it to start over", file.display())
            };
            Ok(serde_json::from_slice(&bytes).map_err(broken)?)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::new()),
        Err(error) => Err(anyhow::Error::from(error).context(file.display().to_string()).into()),
    }
}

/// Takes from others the right to read the file, if something gave it to them.
#[cfg(unix)]
fn close_to_others(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        tracing::warn!(
            "{} was open to others (mode {:03o}) and is no more; if somebody may have read it, change the \
             passwords in it",
            file.display(),
            mode & 0o777
        );
    }
    Ok(())
}

/// The folder of the user's programs is the user's own.
#[cfg(not(unix))]
fn close_to_others(file: &Path) -> std::io::Result<()> {
    fs::metadata(file).map(drop)
}

/// Keeps other larders from writing meanwhile, as long as what comes back lives.
fn lock(file: &Path) -> Result<File, CliError> {
    let dir = file.parent().context("no folder for passwords")?;
    make_folder(dir).with_context(|| dir.display().to_string())?;
    let path = file.with_extension("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.with_context(|| path.display().to_string())?;
    lock.lock().with_context(|| path.display().to_string())?;
    Ok(lock)
}

fn make_folder(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

/// Written beside and renamed, so that no other larder reads half of it; made for the user alone
/// from the first byte on.
fn store(file: &Path, kept: &Kept) -> Result<(), CliError> {
    let dir = file.parent().context("no folder for passwords")?;
    let mut temp = tempfile::NamedTempFile::new_in(dir)?;
    let text = serde_json::to_string_pretty(kept).context("passwords")?;
    temp.write_all(text.as_bytes())?;
    temp.as_file().sync_all()?;
    temp.persist(file).map_err(|error| error.error)?;
    Ok(())
}
