//! Passwords: where they come from, and where they are kept.

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal, Write},
    path::PathBuf,
};

use anyhow::Context;
use larder_providers::Password;

use super::{env, error::CliError, remote_url::RemoteUrl, ui::Ui};

/// The variable that beats everything else.
const VARIABLE: &str = "LARDER_PASSWORD";

/// Finds the password of a remote: in the environment, in the file of kept passwords, or by asking.
pub(super) fn find(url: &RemoteUrl, ui: &Ui) -> Result<Option<Password>, CliError> {
    let Some(account) = url.account() else { return Ok(None) };
    if let Some(password) = env::var(VARIABLE) {
        return Ok(Some(Password::new(password)));
    }
    if let Some(password) = load()?.remove(&account) {
        return Ok(Some(Password::new(password)));
    }
    ask(url, &account, ui)
}

/// Asks for the password anew and keeps it, if somebody is there to be asked.
pub(super) fn renew(url: &RemoteUrl, ui: &Ui) -> Result<(), CliError> {
    match url.account().filter(|_| env::var(VARIABLE).is_none()) {
        Some(account) if std::io::stdin().is_terminal() => ask(url, &account, ui).map(drop),
        _ => Ok(()),
    }
}

/// Keeps a password that was given in an address, and says where.
pub(super) fn keep(url: &RemoteUrl, password: &Password, ui: &Ui) -> Result<(), CliError> {
    let Some(account) = url.account() else { return Ok(()) };
    let mut kept = load()?;
    if kept.get(&account).map(String::as_str) == Some(password.expose()) {
        return Ok(());
    }
    kept.insert(account.clone(), password.expose().to_owned());
    let file = store(&kept)?;
    ui.note(format!(
        "The password of {account} is kept in {}, readable by you alone.",
        file.display()
    ));
    Ok(())
}

fn ask(url: &RemoteUrl, account: &str, ui: &Ui) -> Result<Option<Password>, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Usage(format!(
            "no password is known for {account}; set {VARIABLE}, or run the command in a terminal once"
        )));
    }
    let typed = rpassword::prompt_password(format!("Password of {account}: "))?;
    let password = Password::new(typed);
    keep(url, &password, ui)?;
    Ok(Some(password))
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
