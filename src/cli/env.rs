//! The one place where the process's surroundings come in.

use std::path::PathBuf;

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

/// The user's own folder.
pub(super) fn home() -> Option<PathBuf> {
    var("HOME").map(PathBuf::from)
}

/// Where programs keep what they remember of a user.
pub(super) fn state_dir() -> Option<PathBuf> {
    let own = var("XDG_STATE_HOME").map(PathBuf::from);
    own.or_else(|| Some(home()?.join(".local/state"))).map(|dir| dir.join("larder"))
}

/// What this machine is called.
pub(super) fn host_name() -> String {
    let own = var("HOSTNAME").or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let name = own.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "this device".to_owned())
}
