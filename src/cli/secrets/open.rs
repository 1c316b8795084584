//! Opening a storage with the password that goes with it, and asking for that.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use larder_providers::{ErrorKind, HttpConfig, Password, RemotePath, SharedStorage, Traffic};

use super::{
    entry::Entry,
    recall,
    surroundings::{surrounding, variable},
    try_keep,
};
use crate::cli::{error::CliError, prompt::secret, remote_url::RemoteUrl, ui::Ui};

/// How often a mistyped password can be typed again.
const TRIES: usize = 3;

/// What became of the passwords that were kept from before.
#[derive(Debug, Default)]
pub(in crate::cli) struct Doubt {
    /// One was used.
    used: AtomicBool,
    /// One was refused: none is used before the server was asked.
    refused: AtomicBool,
}

impl Doubt {
    /// Whether a command that failed so is worth running once more, because a kept password may have
    /// been refused and somebody is there to type the new one.
    pub(in crate::cli) fn arises(&self, error: &CliError, ui: &Ui) -> bool {
        let arises = self.would_arise(error, ui);
        self.refused.fetch_or(arises, Ordering::Relaxed);
        arises
    }

    /// Whether it would arise if a command failed so.
    pub(in crate::cli) fn would_arise(&self, error: &CliError, ui: &Ui) -> bool {
        let is_first = self.used.load(Ordering::Relaxed) && !self.refused.load(Ordering::Relaxed);
        is_first && !ui.json() && ui.may_ask() && error.is_unauthorized()
    }
}

/// The storage at an address, with the password that goes with it: the one that was `given`, or
/// from the environment, from where it is kept, or by asking. A new one is kept as soon as the
/// server has taken it. `ca_file` is the vault's setting; what the command was given goes before.
pub(in crate::cli) async fn open(
    url: &RemoteUrl,
    given: Option<Password>,
    ca_file: Option<&Path>,
    ui: &Ui,
    traffic: &Traffic,
) -> Result<SharedStorage, CliError> {
    let door = Door::new(url, ca_file, ui, traffic);
    ui.entries.note(ui, Entry::of(url, ui));
    let Some(account) = url.account() else { return door.open(None) };
    if let Some(given) = given {
        let is_kept = recall(&account)?.is_some_and(|kept| kept.expose() == given.expose());
        let storage = door.open(Some(given.clone()))?;
        if !is_kept {
            try_out(&storage).await?;
            keep(&account, &given, ui);
        }
        return Ok(storage);
    }
    if let Some((password, variable)) = surrounding(ui)? {
        ui.entries.note(ui, Entry::Variable(variable));
        return door.open(Some(password));
    }
    if let Some(password) = recall(&account)?.or_else(|| ui.entries.held(&account)) {
        let storage = door.open(Some(password))?;
        ui.doubt.used.store(true, Ordering::Relaxed);
        if !ui.doubt.refused.load(Ordering::Relaxed) {
            return Ok(storage);
        }
        match try_out(&storage).await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                ui.note(format!(
                    "The password that is kept for {account} is not accepted any more."
                ));
            }
            _ => return Ok(storage),
        }
    }
    door.ask(&account).await
}

/// Like [`open`], but asks for the password anew if somebody is there to be asked.
pub(in crate::cli) async fn open_anew(
    url: &RemoteUrl,
    given: Option<Password>,
    ca_file: Option<&Path>,
    ui: &Ui,
    traffic: &Traffic,
) -> Result<SharedStorage, CliError> {
    let is_given = given.is_some() || surrounding(ui)?.is_some();
    match url.account().filter(|_| !is_given && ui.may_ask()) {
        Some(account) => Door::new(url, ca_file, ui, traffic).ask(&account).await,
        None => open(url, given, ca_file, ui, traffic).await,
    }
}

fn keep(account: &str, password: &Password, ui: &Ui) {
    try_keep(account, password, (&format!("password of {account}"), "it"), ui);
}

/// Finds out whether the server takes the password.
async fn try_out(storage: &SharedStorage) -> Result<(), larder_providers::Error> {
    match storage.list(&RemotePath::root()).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// An address and how to get there, but for the password.
struct Door<'a> {
    url: &'a RemoteUrl,
    http: HttpConfig,
    ui: &'a Ui,
    traffic: &'a Traffic,
}

impl<'a> Door<'a> {
    fn new(url: &'a RemoteUrl, ca_file: Option<&Path>, ui: &'a Ui, traffic: &'a Traffic) -> Self {
        let ca_file = ui.ca_file().or(ca_file).map(Path::to_owned);
        Self { url, http: HttpConfig { ca_file, ..HttpConfig::default() }, ui, traffic }
    }

    fn open(&self, password: Option<Password>) -> Result<SharedStorage, CliError> {
        self.url.open(password, &self.http, self.traffic)
    }

    async fn ask(&self, account: &str) -> Result<SharedStorage, CliError> {
        if !self.ui.may_ask() {
            return Err(CliError::Usage(format!(
                "no password is known for {account}; set {}, or run the command in a terminal once",
                variable(self.ui)
            )));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let of =
                self.ui.about().map_or_else(String::new, |name| format!(" for the remote {name}"));
            let typed = secret(&format!("Password of {account}{of}: "))?;
            let password = Password::new(typed.as_str());
            let storage = self.open(Some(password.clone()))?;
            match try_out(&storage).await {
                Ok(()) => {
                    keep(account, &password, self.ui);
                    return Ok(storage);
                }
                Err(error) if error.kind() == ErrorKind::Unauthorized && tries < TRIES => {
                    self.ui.note("That was not accepted; please try again.");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
