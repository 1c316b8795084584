//! The one place where the process's surroundings come in.

use std::path::{Component, Path, PathBuf};

use super::{error::CliError, remote_url::is_mistyped};

/// A variable of the environment that is set and not empty.
#[allow(clippy::disallowed_methods, reason = "this is where the environment comes in")]
pub(super) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The current folder.
#[allow(clippy::disallowed_methods, reason = "this is where the current folder comes in")]
pub(super) fn current_dir() -> std::io::Result<PathBuf> {
    std::env::current_dir()
}

/// The folder that an argument names. An address in its place is not repeated: it may hold a
/// password.
pub(super) fn folder(named: &Path) -> Result<PathBuf, CliError> {
    let text = named.to_string_lossy();
    if text.contains("://") || is_mistyped(&text) {
        let text = "an address stands where a folder belongs; give it with --remote";
        return Err(CliError::Usage(text.to_owned()));
    }
    Ok(absolute(named)?)
}

/// The vault that a command names, by its own argument or by `--vault`.
pub(super) fn vault_of(
    dir: Option<&Path>,
    vault: Option<&Path>,
) -> Result<Option<PathBuf>, CliError> {
    let dir = dir.map(folder).transpose()?;
    let vault = vault.map(folder).transpose()?;
    match (&dir, &vault) {
        (Some(one), Some(other)) if real(one) != real(other) => Err(CliError::Usage(format!(
            "{} and --vault {} name two vaults; name one",
            one.display(),
            other.display()
        ))),
        _ => Ok(dir.or(vault)),
    }
}

/// `path` as seen from the current folder, without `.` and `..` where these can be resolved.
pub(super) fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let path = current_dir()?.join(path);
    if path.components().any(|part| part == Component::ParentDir) {
        return Ok(real(&path));
    }
    // Collecting leaves out each `.` and a slash at the end.
    Ok(path.components().collect())
}

/// Where `path` really lies. What is not there yet lies where its nearest parent lies.
pub(super) fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|up| Some((up, up.canonicalize().ok()?)));
    let real = there.map_or_else(
        || path.to_owned(),
        |(up, real)| path.strip_prefix(up).map_or(real.clone(), |rest| real.join(rest)),
    );
    real.components().collect()
}

/// The user's own folder.
pub(super) fn home() -> Option<PathBuf> {
    var(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from)
}

/// Where programs keep what they remember of a user.
pub(super) fn state_dir() -> Option<PathBuf> {
    let variable = if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_STATE_HOME" };
    let own = var(variable).map(PathBuf::from);
    own.or_else(|| Some(home()?.join(".local/state"))).map(|dir| dir.join("larder"))
}

/// What this machine is called.
pub(super) fn host_name() -> String {
    let own = var("HOSTNAME").or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let name = own.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "this device".to_owned())
}
