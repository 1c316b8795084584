//! Which folders are vaults, and which may become one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{CONFIG, Workplace};
use crate::{
    cli::{env, error::CliError, remote_url::RemoteUrl, ui::quoted},
    model::path::CONTROL_DIR,
    remote::layout::META,
    vault::Vault,
};

/// Whether a folder was made a vault.
pub(in crate::cli) fn is_vault(root: &Path) -> bool {
    config_of(root).is_file()
}

/// Where the settings of a vault lie.
pub(super) fn config_of(root: &Path) -> PathBuf {
    root.join(CONTROL_DIR).join(CONFIG)
}

/// Whether a folder is where a remote lies.
fn is_remote(root: &Path) -> bool {
    let meta = fs::read_to_string(root.join(META)).unwrap_or_default();
    meta.contains("\"remoteId\"") && meta.contains("\"minReader\"")
}

/// Why a folder is no vault, and what to do about it.
pub(super) fn no_vault(root: &Path) -> CliError {
    let shown = root.display();
    let read = fs::read_dir(root).and_then(|_| match fs::metadata(config_of(root)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    let control = root.join(CONTROL_DIR);
    let text = match read.map_err(|error| (error.kind(), error)) {
        Err((io::ErrorKind::NotFound, _)) => {
            format!("{shown} is not there; check the spelling, or is a disk not connected?")
        }
        Err((io::ErrorKind::NotADirectory, _)) if control.is_file() => format!(
            "{} is a file, and a vault has a folder of that name; move it away first",
            control.display()
        ),
        Err((io::ErrorKind::NotADirectory, _)) => {
            format!("{shown} is a file; a vault is a folder")
        }
        Err((_, error)) => {
            return anyhow::Error::from(error).context(shown.to_string()).into();
        }
        Ok(()) if is_remote(root) => format!("{shown} holds a remote, not a vault with notes"),
        Ok(()) => match outer_vault(root) {
            Some(outer) => {
                format!("{shown} is a folder of the vault {}; name that one", outer.display())
            }
            None => format!(
                "{shown} is not a vault; make it one with `larder sync {} --remote URL`",
                quoted(&shown.to_string())
            ),
        },
    };
    CliError::Usage(text)
}

/// Refuses a folder that must not become a vault.
pub(super) fn refuse_as_vault(root: &Path) -> Result<(), CliError> {
    let shown = root.display();
    let refused = |text| Err(CliError::Usage(text));
    if !root.is_dir() {
        return refused(format!("{shown} is not a folder; make it first, or check the spelling"));
    }
    if let Some(outer) = outer_vault(root) {
        return refused(format!(
            "{shown} lies inside the vault {}; a vault cannot hold another",
            outer.display()
        ));
    }
    if is_remote(root) {
        return refused(format!(
            "{shown} holds a remote; a vault is another folder, with your notes in it"
        ));
    }
    refuse_secrets(root)
}

/// The vault that a folder really lies in.
fn outer_vault(root: &Path) -> Option<PathBuf> {
    env::real(root).parent().and_then(Vault::discover)
}

/// Refuses a vault in which this device's passwords and keys lie: they would be synced.
pub(super) fn refuse_secrets(root: &Path) -> Result<(), CliError> {
    match env::state_dir() {
        Some(secrets) if env::real(&secrets).starts_with(env::real(root)) => {
            Err(CliError::Usage(format!(
                "{} holds larder's own passwords ({}), which would be synced; make a folder with your notes the vault, \
                 or set XDG_STATE_HOME to a folder elsewhere",
                root.display(),
                secrets.display()
            )))
        }
        _ => Ok(()),
    }
}

impl Workplace {
    /// A remote inside the vault would sync itself, and a vault inside the remote litters it.
    pub(in crate::cli) fn refuse_inside(&self, url: &RemoteUrl) -> Result<(), CliError> {
        let RemoteUrl::Folder(folder) = url else { return Ok(()) };
        let (remote, vault) = (env::real(folder), env::real(&self.root));
        let (inner, outer) = match () {
            () if remote == vault => ("the remote", "the vault itself"),
            () if remote.starts_with(&vault) => ("the remote", "inside the vault"),
            () if vault.starts_with(&remote) => ("the vault", "inside the remote"),
            () => return Ok(()),
        };
        Err(CliError::Usage(format!(
            "{inner} would be {outer} (remote {}, vault {}); choose a folder apart from it",
            folder.display(),
            self.root.display()
        )))
    }
}
