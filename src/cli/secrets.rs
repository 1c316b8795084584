//! Passwords: where they come from, and where they are kept.

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal, Write},
    path::PathBuf,
};

use anyhow::Context;
use larder_providers::{ErrorKind, Password, RemotePath, SharedStorage, Traffic};

use super::{env, error::CliError, remote_url::RemoteUrl, ui::Ui};

/// The variable that beats everything else.
const VARIABLE: &str = "LARDER_PASSWORD";

/// How often a mistyped password can be typed again.
const TRIES: usize = 3;

/// The storage at an address, with the password that goes with it: the one that was `given`, or
/// from the environment, from the file of kept passwords, or by asking. A new one is kept as soon
/// as the server has taken it.
pub(super) async fn open(
    url: &RemoteUrl,
    given: Option<Password>,
    ui: &Ui,
    traffic: &Traffic,
) -> Result<SharedStorage, CliError> {
    let Some(account) = url.account() else { return url.open(None, traffic) };
    if let Some(given) = given {
        let is_kept = recall(&account)?.is_some_and(|kept| kept.expose() == given.expose());
        let storage = url.open(Some(given.clone()), traffic)?;
        if !is_kept {
            try_out(&storage).await?;
            keep(&account, &given, &format!("password of {account}"), ui)?;
        }
        return Ok(storage);
    }
    if let Some(password) = env::var(VARIABLE) {
        return url.open(Some(Password::new(password)), traffic);
    }
    if let Some(password) = recall(&account)? {
        return url.open(Some(password), traffic);
    }
    ask(url, &account, ui, traffic).await
}

/// Like [`open`], but asks for the password anew if somebody is there to be asked.
pub(super) async fn open_anew(
    url: &RemoteUrl,
    given: Option<Password>,
    ui: &Ui,
    traffic: &Traffic,
) -> Result<SharedStorage, CliError> {
    match url.account().filter(|_| given.is_none() && env::var(VARIABLE).is_none()) {
        Some(account) if std::io::stdin().is_terminal() => ask(url, &account, ui, traffic).await,
        _ => open(url, given, ui, traffic).await,
    }
}

/// Finds out whether the server takes the password.
async fn try_out(storage: &SharedStorage) -> Result<(), larder_providers::Error> {
    match storage.list(&RemotePath::root()).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The secret that is kept for an account.
pub(super) fn recall(account: &str) -> Result<Option<Password>, CliError> {
    Ok(load()?.remove(account).map(Password::new))
}

/// Keeps the secret of an account and says where; `what` is what it is called.
pub(super) fn keep(account: &str, secret: &Password, what: &str, ui: &Ui) -> Result<(), CliError> {
    let mut kept = load()?;
    kept.insert(account.to_owned(), secret.expose().to_owned());
    let file = store(&kept)?;
    ui.note(format!("The {what} is kept in {}, readable by you alone.", file.display()));
    Ok(())
}

async fn ask(
    url: &RemoteUrl,
    account: &str,
    ui: &Ui,
    traffic: &Traffic,
) -> Result<SharedStorage, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Usage(format!(
            "no password is known for {account}; set {VARIABLE}, or run the command in a terminal once"
        )));
    }
    let mut tries = 0;
    loop {
        tries += 1;
        let typed = rpassword::prompt_password(format!("Password of {account}: "))?;
        let password = Password::new(typed);
        let storage = url.open(Some(password.clone()), traffic)?;
        match try_out(&storage).await {
            Ok(()) => {
                keep(account, &password, &format!("password of {account}"), ui)?;
                return Ok(storage);
            }
            Err(error) if error.kind() == ErrorKind::Unauthorized && tries < TRIES => {
                ui.note("That was not accepted; please try again.");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn file() -> Result<PathBuf, CliError> {
    let dir = env::state_dir();
    let dir = dir.context("there is no HOME folder to keep passwords in; set LARDER_PASSWORD")?;
    Ok(dir.join("passwords.json"))
}

fn load() -> Result<BTreeMap<String, String>, CliError> {
    let Ok(file) = file() else { return Ok(BTreeMap::new()) };
    match fs::read(&file) {
        Ok(bytes) => {
            let what =
                || format!("{} does not read as JSON; delete it to start over", file.display());
            Ok(serde_json::from_slice(&bytes).with_context(what)?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(anyhow::Error::from(error).context(file.display().to_string()).into()),
    }
}

/// Written beside and renamed, so that no other larder reads half of it; made for the user alone
/// from the first byte on.
fn store(kept: &BTreeMap<String, String>) -> Result<PathBuf, CliError> {
    let file = file()?;
    let dir = file.parent().context("no folder for passwords")?;
    fs::create_dir_all(dir)?;
    let mut temp = tempfile::NamedTempFile::new_in(dir)?;
    let text = serde_json::to_string_pretty(kept).context("passwords")?;
    temp.write_all(text.as_bytes())?;
    temp.as_file().sync_all()?;
    temp.persist(&file).map_err(|error| error.error)?;
    Ok(file)
}
