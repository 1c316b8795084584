//! A vault as a command finds it: its folder, its settings, its lock, its engine.

mod about;
mod fit;
mod lock;
mod record;
mod trouble;

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use larder_providers::{SharedStorage, Traffic};

pub(super) use self::{fit::is_vault, lock::is_busy};
use self::{
    fit::{config_of, no_vault, refuse_as_vault, refuse_secrets},
    lock::take_lock,
};
use super::{
    args::Args,
    config::{Config, NamedRemote, kind_of},
    devices::checked_name,
    env,
    error::CliError,
    rebuild,
    remote_url::RemoteUrl,
    secrets,
    ui::{Ui, quoted},
    unlock::{self, Goal, Which},
};
use crate::{
    clock::Clock,
    engine::{Connected, Engine, EngineError, Way},
    model::{RemoteId, path::CONTROL_DIR},
    store::Store,
    vault::Vault,
};

pub(super) const CONFIG: &str = "config.toml";
pub(super) const REPLICA: &str = "replica.db";

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
    /// Whether this command made the replica anew, as it was damaged, and said so.
    is_rebuilt: bool,

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
        if !is_vault(root) {
            return Err(no_vault(root));
        }
        let config = read_config(root)?;
        let control = root.join(CONTROL_DIR);
        let lock = match access {
            Access::Look => None,
            Access::Change => {
                refuse_secrets(root)?;
                Some(take_lock(&control, root)?)
            }
        };
        let (store, is_rebuilt) = match access {
            Access::Look => (Store::open(&control.join(REPLICA))?, false),
            Access::Change => {
                unlock::clear_scratch(&control);
                rebuild::open(&control)?
            }
        };
        let vault = Vault::open(root).map_err(crate::engine::EngineError::from)?;
        let engine =
            Engine::new(store, Some(vault), Clock::system(), fastrand::Rng::new(), &config.device)?;
        let (root, is_new) = (root.to_owned(), false);
        Ok(Self { root, config, engine, is_new, is_rebuilt, _lock: lock })
    }

    /// Makes `root` a vault, if it is none yet, and opens it.
    pub(super) fn make(root: &Path, device: Option<&str>) -> Result<Self, CliError> {
        refuse_as_vault(root)?;
        let device = device.map(checked_name).transpose()?;
        let control = root.join(CONTROL_DIR);
        let is_new = match fs::create_dir(&control) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => {
                return Err(anyhow::Error::from(error)
                    .context(control.display().to_string())
                    .into());
            }
        };
        let opened = Self::open_new(root, device);
        // Who came between and uses it has it. Why it could not be opened says more than why this stays.
        if is_new && opened.as_ref().is_err_and(|error| !matches!(error, CliError::Locked(_))) {
            let _ = fs::remove_dir_all(&control);
        }
        Ok(Self { is_new, ..opened? })
    }

    /// Warns of another name for this device than the one that it has, which it keeps.
    pub(super) fn warn_of_renaming(&self, device: Option<&str>, ui: &Ui) -> Result<(), CliError> {
        let device = device.map(checked_name).transpose()?;
        if let Some(other) = device.filter(|device| *device != self.config.device) {
            ui.note(format!(
                "warning: this device is called {} and stays so; to call it otherwise: `larder devices rename {}`",
                self.config.device,
                quoted(other)
            ));
        }
        Ok(())
    }

    fn open_new(root: &Path, device: Option<&str>) -> Result<Self, CliError> {
        if !is_vault(root) {
            let host = env::host_name();
            let device = device.or_else(|| checked_name(&host).ok()).unwrap_or("this device");
            let device = device.to_owned();
            write_config(root, &Config { device, ..Config::default() })?;
        }
        Self::open(root, Access::Change)
    }

    /// Takes back what `make` did, unless the folder was a vault before.
    pub(super) fn unmake(&self) -> Result<(), CliError> {
        if self.is_new {
            let control = self.root.join(CONTROL_DIR);
            fs::remove_dir_all(&control).with_context(|| control.display().to_string())?;
        }
        Ok(())
    }

    /// Remembers where a remote lies: a new one under this name, or the default one if none is given.
    /// One that is there already is known by its name, and keeps its place.
    pub(super) fn set_remote(
        &mut self,
        name: Option<&str>,
        url: &RemoteUrl,
        id: &RemoteId,
    ) -> Result<(), CliError> {
        let url = url.to_string();
        let is_only = self.config.remotes.len() == 1;
        let known = self.config.remotes.iter_mut();
        let known = known.enumerate().find(|(at, known)| match name {
            Some(name) => known.name == name,
            None => *at == 0,
        });
        match known {
            Some((_, known)) => {
                // Of several one may be called so already.
                if is_only && known.name == kind_of(&known.url) {
                    known.name = kind_of(&url);
                }
                (known.url, known.id) = (url, Some(id.clone()));
            }
            None => {
                let name = name.map_or_else(|| kind_of(&url), str::to_owned);
                self.config.remotes.push(NamedRemote { name, url, id: Some(id.clone()) });
            }
        }
        self.shorten()?;
        write_config(&self.root, &self.config)
    }

    /// Writes down which remote each is, before there is one more: of an only one the replica alone
    /// may know it.
    pub(super) fn name_remotes(&mut self) -> Result<(), CliError> {
        let ids: Vec<_> = self
            .config
            .remotes
            .iter()
            .map(|remote| self.known_id(remote))
            .collect::<Result<_, _>>()?;
        for (remote, id) in self.config.remotes.iter_mut().zip(ids) {
            remote.id = Some(id);
        }
        write_config(&self.root, &self.config)?;
        self.tidy(&[])
    }

    /// Forgets the remotes that the settings do not name: they were taken out by hand, or were being
    /// added when the process was cut off. `known` are those of which it was found which they are.
    /// As long as one that is named is not known to the replica it may be any of them.
    pub(super) fn tidy(&mut self, known: &[(&str, &RemoteId)]) -> Result<(), CliError> {
        let bound = self.engine.store().bindings()?;
        if bound.len() <= self.config.remotes.len() {
            return Ok(());
        }
        let mut named = Vec::new();
        for remote in &self.config.remotes {
            let found = known.iter().find(|(name, _)| *name == remote.name).map(|(_, id)| *id);
            match remote.id.as_ref().or(found) {
                Some(id) if bound.iter().any(|bound| bound.id == *id) => named.push(id.clone()),
                _ => return Ok(()),
            }
        }
        for bound in bound.iter().filter(|bound| !named.contains(&bound.id)) {
            self.engine.remove_remote(&bound.id)?;
        }
        Ok(())
    }

    /// Of an only remote the address is enough. Where any was ever encrypted it has to be known without
    /// the replica whether it is that one.
    fn shorten(&mut self) -> Result<(), CliError> {
        if let [one] = self.config.remotes.as_mut_slice()
            && one.name == kind_of(&one.url)
            && !unlock::remembers_any(&self.root)?
        {
            one.id = None;
        }
        Ok(())
    }

    /// Forgets a remote, and everything that the replica knows of it.
    pub(super) fn remove_remote(&mut self, name: &str) -> Result<(), CliError> {
        if let Some(id) = self.id_of(&self.config.remote(Some(name))?.clone())? {
            match self.engine.remove_remote(&id) {
                Ok(()) | Err(EngineError::NotConnected) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.config.remotes.retain(|remote| remote.name != name);
        // What it was may have been unknown as long as it was there.
        self.tidy(&[])?;
        self.shorten()?;
        write_config(&self.root, &self.config)
    }

    /// Has commands that name no remote be about this one.
    pub(super) fn set_default(&mut self, name: &str) -> Result<(), CliError> {
        self.config.remote(Some(name))?;
        self.config.remotes.sort_by_key(|remote| remote.name != name);
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

    /// The address of the vault's default remote.
    pub(super) fn remote_url(&self) -> Result<RemoteUrl, CliError> {
        self.config.remote(None)?.address()
    }

    /// Which remote it is that the settings speak of, as far as that is known. Of several that were
    /// written by hand the replica does not know which it is bound to.
    pub(super) fn id_of(&self, remote: &NamedRemote) -> Result<Option<RemoteId>, CliError> {
        if let Some(id) = &remote.id {
            return Ok(Some(id.clone()));
        }
        Ok(match self.engine.store().bindings()?.as_slice() {
            [bound] if !self.has_several() => Some(bound.id.clone()),
            _ => None,
        })
    }

    /// Which remote it is that the settings speak of, for who cannot go on without knowing.
    pub(super) fn known_id(&self, remote: &NamedRemote) -> Result<RemoteId, CliError> {
        self.id_of(remote)?.map_or_else(|| Err(self.unknown(remote)?), Ok)
    }

    /// Which remote a new address of one has to lead to. Of several none may be taken for another.
    pub(super) fn expected_id(&self, remote: &NamedRemote) -> Result<Option<RemoteId>, CliError> {
        if self.has_several() { self.known_id(remote).map(Some) } else { self.id_of(remote) }
    }

    /// Says that nothing here tells which remote one of the settings is, which the next sync finds out.
    fn unknown(&self, remote: &NamedRemote) -> Result<CliError, CliError> {
        let name = &remote.name;
        let is_lost = self.engine.store().bindings()?.is_empty();
        Ok(CliError::Usage(if is_lost {
            format!("what this device knew of the remote {name} is lost; run `larder sync` first")
        } else {
            format!("this device does not know yet which remote {name} is; run `larder sync` first")
        }))
    }

    /// The storage that the remote of this name lies on, or the default one, and what comes after is
    /// about that remote.
    pub(super) async fn storage(
        &mut self,
        name: Option<&str>,
        ui: &Ui,
        traffic: &Traffic,
    ) -> Result<SharedStorage, CliError> {
        let remote = self.config.remote(name)?.clone();
        Ok(self.way(&remote, ui, traffic).await?.storage)
    }

    /// The way to a remote. A replica that does not know it although the vault has it was lost, and is
    /// bound to it again.
    pub(super) async fn way(
        &mut self,
        remote: &NamedRemote,
        ui: &Ui,
        traffic: &Traffic,
    ) -> Result<Way, CliError> {
        let raw = self.raw_storage(remote, ui, traffic).await?;
        let id = self.id_of(remote)?;
        let is_bound = id.as_ref().is_some_and(|id| self.engine.look_at(id).is_ok());
        if !is_bound && !self.may_change() {
            return Err(self.unknown(remote)?);
        }
        let is_lost = self.engine.store().bindings()?.is_empty() && !self.is_rebuilt;
        let (id, storage) = unlock::open(self, &raw, id.as_ref(), ui).await?;
        if is_lost {
            rebuild::tell_lost();
        }
        self.note_id(remote, &id)?;
        self.engine.look_at(&id)?;
        Ok(Way { id, storage })
    }

    /// Makes a new remote where one lay that is gone, of which the replica knows nothing any more.
    pub(super) async fn make_anew(
        &mut self,
        remote: &NamedRemote,
        ui: &Ui,
        traffic: &Traffic,
    ) -> Result<Way, CliError> {
        let raw = self.raw_storage(remote, ui, traffic).await?;
        let encrypt = self.is_encrypted(remote)?;
        let goal = Goal { which: Which::More, mode: None, encrypt };
        // Where the settings know which one it was it is that one again, and they stay as they are.
        if let Some(id) = &remote.id {
            self.engine.make_next(id);
        }
        let (storage, Connected { id, .. }) = unlock::connect(self, raw, &goal, ui).await?;
        self.note_id(remote, &id)?;
        Ok(Way { id, storage })
    }

    /// Keeps which of several remotes one is that was written into the settings without its id, once that
    /// was found.
    fn note_id(&mut self, remote: &NamedRemote, id: &RemoteId) -> Result<(), CliError> {
        if remote.id.is_some() || !self.has_several() {
            return Ok(());
        }
        let name = &remote.name;
        let mut others = self.config.remotes.iter().filter(|other| other.name != *name);
        if let Some(other) = others.find(|other| other.id.as_ref() == Some(id)) {
            return Err(CliError::Usage(format!(
                "the addresses of the remotes {name} and {} lead to the same remote; remove one of them: `larder \
                 remote remove {name}`",
                other.name
            )));
        }
        if let Some(known) = self.config.remotes.iter_mut().find(|known| known.name == *name) {
            known.id = Some(id.clone());
        }
        write_config(&self.root, &self.config)
    }

    /// The storage of a remote as others see it: what is encrypted stays so.
    pub(super) async fn raw_storage(
        &self,
        remote: &NamedRemote,
        ui: &Ui,
        traffic: &Traffic,
    ) -> Result<SharedStorage, CliError> {
        self.speak_of(&remote.name, remote.address().ok().as_ref(), ui);
        let (url, ca_file) = (remote.address()?, self.ca_file());
        // The settings may have been written by hand.
        self.refuse_inside(&url)?;
        secrets::open(&url, None, ca_file.as_deref(), ui, traffic).await
    }

    /// Whether the vault has more than one remote.
    pub(super) fn has_several(&self) -> bool {
        self.config.remotes.len() > 1
    }

    /// Whether a remote is encrypted.
    pub(super) fn is_encrypted(&self, remote: &NamedRemote) -> Result<bool, CliError> {
        unlock::is_encrypted(&self.root, self.id_of(remote)?.as_ref())
    }

    /// Whether this process may change the vault.
    pub(super) fn may_change(&self) -> bool {
        self._lock.is_some()
    }
}

fn read_config(root: &Path) -> Result<Config, CliError> {
    let path = config_of(root);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let path = path.display();
    let config = Config::parse(&text)
        .map_err(|error| CliError::Usage(format!("{path}: {}", error.message())))?;
    for remote in config.remotes.iter().filter(|remote| remote.holds_password()) {
        let name = &remote.name;
        tracing::warn!(
            "{path}: a password stands in the address of the remote {name}; it is not used: take it out, and change it \
             if others may have read it"
        );
    }
    Ok(config)
}

fn write_config(root: &Path, config: &Config) -> Result<(), CliError> {
    let control = root.join(CONTROL_DIR);
    let text = config.to_text()?;
    let mut temp = tempfile::NamedTempFile::new_in(&control)?;
    temp.write_all(text.as_bytes())?;
    temp.as_file().sync_all()?;
    temp.persist(config_of(root)).map_err(|error| error.error)?;
    Ok(())
}
