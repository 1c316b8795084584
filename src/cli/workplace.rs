//! A vault as a command finds it: its folder, its settings, its lock, its engine.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use larder_providers::{SharedStorage, Traffic};
use serde::{Deserialize, Serialize};

use super::{
    args::Args, env, error::CliError, rebuild, remote_url::RemoteUrl, secrets, ui::Ui, unlock,
};
use crate::{
    clock::Clock, engine::Engine, model::path::CONTROL_DIR, remote::layout::META, store::Store,
    vault::Vault,
};

const CONFIG: &str = "config.toml";
pub(super) const REPLICA: &str = "replica.db";
const LOCK: &str = "lock";

/// What a vault remembers of how it was set up. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// What this device is called.
    pub(super) device: String,
    /// Where the remote lies.
    pub(super) remote: Option<String>,
    /// Certificates to trust beside those of the system: a file in the PEM format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca_file: Option<PathBuf>,
}

impl Config {
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    pub(super) fn to_text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// A vault and everything a command needs to work on it.
#[derive(Debug)]
pub(super) struct Workplace {
    /// The vault's folder.
    pub(super) root: PathBuf,
    /// Its settings.
    pub(super) config: Config,
    /// Its engine.
    pub(super) engine: Engine,
    /// Whether this command made the folder a vault.
    is_new: bool,

    /// Held as long as the command works on the vault; commands that only look hold none.
    _lock: Option<File>,
}

/// Whether a command changes the vault or the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It only looks.
    Look,
    /// It changes something, alone.
    Change,
}

impl Workplace {
    /// Finds the vault that `--vault` names or that the current folder lies in, and opens it.
    pub(super) fn find(args: &Args, access: Access) -> Result<Self, CliError> {
        let here = env::current_dir()?;
        let root = match &args.vault {
            Some(path) => Some(env::folder(path)?),
            None => Vault::discover(&here),
        };
        let Some(root) = root else {
            return Err(CliError::Usage(format!(
                "{} lies in no vault; go into one, name it with --vault, or make one with \
                 `larder sync DIR --remote URL`",
                here.display()
            )));
        };
        Self::open(&root, access)
    }

    /// Opens the vault at `root`.
    pub(super) fn open(root: &Path, access: Access) -> Result<Self, CliError> {
        if !is_vault(root) && is_remote(root) {
            let text = format!("{} holds a remote, not a vault with notes", root.display());
            return Err(CliError::Usage(text));
        }
        if !is_vault(root) {
            return Err(CliError::Usage(format!(
                "{} is not a vault; make it one with `larder sync {} --remote URL`",
                root.display(),
                root.display()
            )));
        }
        let config = read_config(root)?;
        let control = root.join(CONTROL_DIR);
        let lock = match access {
            Access::Look => None,
            Access::Change => Some(take_lock(&control, root)?),
        };
        let store = match access {
            Access::Look => Store::open(&control.join(REPLICA))?,
            Access::Change => {
                unlock::clear_scratch(&control);
                rebuild::open(&control)?
            }
        };
        let vault = Vault::open(root).map_err(crate::engine::EngineError::from)?;
        let engine =
            Engine::new(store, Some(vault), Clock::system(), fastrand::Rng::new(), &config.device)?;
        Ok(Self { root: root.to_owned(), config, engine, is_new: false, _lock: lock })
    }

    /// Makes `root` a vault, if it is none yet, and opens it.
    pub(super) fn make(root: &Path, device: Option<&str>) -> Result<Self, CliError> {
        if !root.is_dir() {
            return Err(CliError::Usage(format!(
                "{} is not a folder; make it first, or check the spelling",
                root.display()
            )));
        }
        if let Some(outer) = root.parent().and_then(Vault::discover) {
            return Err(CliError::Usage(format!(
                "{} lies inside the vault {}; a vault cannot hold another",
                root.display(),
                outer.display()
            )));
        }
        if is_remote(root) {
            return Err(CliError::Usage(format!(
                "{} holds a remote; a vault is another folder, with your notes in it",
                root.display()
            )));
        }
        let control = root.join(CONTROL_DIR);
        let is_new = !control.exists();
        fs::create_dir_all(&control).with_context(|| control.display().to_string())?;
        if !is_vault(root) {
            let device = device.map_or_else(env::host_name, str::to_owned);
            write_config(root, &Config { device, remote: None, ca_file: None })?;
        }
        Ok(Self { is_new, ..Self::open(root, Access::Change)? })
    }

    /// Takes back what `make` did, unless the folder was a vault before.
    pub(super) fn unmake(&self) -> Result<(), CliError> {
        if self.is_new {
            let control = self.root.join(CONTROL_DIR);
            fs::remove_dir_all(&control).with_context(|| control.display().to_string())?;
        }
        Ok(())
    }

    /// Remembers where the remote lies.
    pub(super) fn set_remote(&mut self, url: &RemoteUrl) -> Result<(), CliError> {
        self.config.remote = Some(url.to_string());
        write_config(&self.root, &self.config)
    }

    /// The certificates that the settings name; as seen from the vault.
    pub(super) fn ca_file(&self) -> Option<PathBuf> {
        self.config.ca_file.as_ref().map(|file| self.root.join(file))
    }

    /// Remembers the certificates that a command was given.
    pub(super) fn set_ca_file(&mut self, given: Option<&Path>) -> Result<(), CliError> {
        let Some(given) = given else { return Ok(()) };
        self.config.ca_file = Some(env::absolute(given)?);
        write_config(&self.root, &self.config)
    }

    /// Remembers what this device is called.
    pub(super) fn set_device(&mut self, name: &str) -> Result<(), CliError> {
        name.clone_into(&mut self.config.device);
        write_config(&self.root, &self.config)
    }

    /// The address of the vault's remote.
    pub(super) fn remote_url(&self) -> Result<RemoteUrl, CliError> {
        let Some(remote) = &self.config.remote else {
            return Err(crate::engine::EngineError::NotConnected.into());
        };
        Ok(RemoteUrl::parse(remote)?.0)
    }

    /// The storage that the vault's remote lies on. A replica that knows no remote although the vault
    /// has one was lost, and is bound to it again.
    pub(super) async fn storage(
        &mut self,
        ui: &Ui,
        traffic: &Traffic,
    ) -> Result<SharedStorage, CliError> {
        let raw = self.raw_storage(ui, traffic).await?;
        unlock::open(self, &raw, ui).await
    }

    /// The storage of the vault's remote as others see it: what is encrypted stays so.
    pub(super) async fn raw_storage(
        &self,
        ui: &Ui,
        traffic: &Traffic,
    ) -> Result<SharedStorage, CliError> {
        let ca_file = self.ca_file();
        secrets::open(&self.remote_url()?, None, ca_file.as_deref(), ui, traffic).await
    }

    /// Whether this process may change the vault.
    pub(super) fn may_change(&self) -> bool {
        self._lock.is_some()
    }
}

/// Whether a folder was made a vault.
pub(super) fn is_vault(root: &Path) -> bool {
    root.join(CONTROL_DIR).join(CONFIG).is_file()
}

/// Whether a folder is where a remote lies.
fn is_remote(root: &Path) -> bool {
    let meta = fs::read_to_string(root.join(META)).unwrap_or_default();
    meta.contains("\"remoteId\"") && meta.contains("\"minReader\"")
}

/// Whether another larder works on the vault right now.
pub(super) fn is_busy(root: &Path) -> bool {
    let lock = File::open(root.join(CONTROL_DIR).join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn take_lock(control: &Path, root: &Path) -> Result<File, CliError> {
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

fn read_config(root: &Path) -> Result<Config, CliError> {
    let path = root.join(CONTROL_DIR).join(CONFIG);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(Config::parse(&text).with_context(|| path.display().to_string())?)
}

fn write_config(root: &Path, config: &Config) -> Result<(), CliError> {
    let control = root.join(CONTROL_DIR);
    let text = config.to_text().context("the settings")?;
    let mut temp = tempfile::NamedTempFile::new_in(&control)?;
    temp.write_all(text.as_bytes())?;
    temp.as_file().sync_all()?;
    temp.persist(control.join(CONFIG)).map_err(|error| error.error)?;
    Ok(())
}
