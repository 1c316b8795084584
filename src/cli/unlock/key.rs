//! The key of an encrypted remote: kept among the secrets of this device, or opened by a passphrase.

use larder_providers::{Password, SharedStorage};

use super::mark;
use crate::{
    cli::{env, error::CliError, prompt::secret, secrets, ui::Ui, workplace::Workplace},
    model::RemoteId,
    seal::{Cost, DataKey, Fit, KeyFile, KeyFiles, Passphrase, SealError, Sealer, fit},
};

/// The environment variable that opens a remote without asking.
pub(super) const VARIABLE: &str = "LARDER_PASSPHRASE";
/// The environment variable that gives a remote another passphrase without asking.
pub(super) const NEW_VARIABLE: &str = "LARDER_NEW_PASSPHRASE";
/// How often a person may mistype a passphrase.
const TRIES: usize = 3;

/// The key of a remote: the one that is kept here, or what a passphrase opens. One that is kept was seen
/// to open the remote before it is used: what another one writes nobody else could read. Once that is
/// known it costs no request.
pub(super) async fn key_of(
    place: &Workplace,
    raw: &SharedStorage,
    id: &RemoteId,
    ui: &Ui,
) -> Result<DataKey, CliError> {
    let mut why = format!("{} is encrypted", ui.the_remote());
    let mut is_refused = false;
    if let Some(key) = kept(id)? {
        if fits(place, raw, id, &key).await? {
            return Ok(key);
        }
        let which =
            ui.about().map_or("this remote".to_owned(), |name| format!("the remote {name}"));
        why = format!("the key that is kept for {which} does not open it, and is not used");
        is_refused = true;
    }
    let typed = surrounding(VARIABLE, ui);
    let is_nobody_there = typed.is_none() && !ui.may_ask();
    if is_refused && !is_nobody_there {
        ui.note(format!("warning: {why}"));
    }
    let files = KeyFiles::read(raw, id).await?;
    let key = match typed {
        Some(typed) => open_with(&files, Passphrase::new(&typed)).await?,
        None if is_nobody_there => {
            return Err(CliError::Usage(format!(
                "{why}; set {VARIABLE}, or run the command in a terminal once"
            )));
        }
        None => ask(&files, ui).await?,
    };
    keep(id, &key, ui);
    trust(place, id, &key)?;
    Ok(key)
}

/// The passphrase that the environment gives: that for the remote that is spoken of, or that for all. It
/// is sent to no server.
fn surrounding(variable: &str, ui: &Ui) -> Option<String> {
    let own = secrets::own_variable(variable, ui).and_then(|own| env::var(&own));
    own.or_else(|| env::var(variable))
}

fn kept(id: &RemoteId) -> Result<Option<DataKey>, CliError> {
    let kept = secrets::recall(&account(id))?;
    Ok(kept.and_then(|kept| DataKey::from_text(kept.expose())))
}

/// Whether a key that is kept opens the remote, as far as that can be known.
async fn fits(
    place: &Workplace,
    raw: &SharedStorage,
    id: &RemoteId,
    key: &DataKey,
) -> Result<bool, CliError> {
    let trusted = mark::fingerprint(&place.root, id)?;
    if trusted.as_ref().is_some_and(|trusted| *trusted == key.fingerprint(id)) {
        return Ok(true);
    }
    let fits = match fit(raw, &Sealer::new(id.as_str(), key)).await {
        Ok(Fit::Opens) => true,
        Ok(Fit::Refused) => false,
        Ok(Fit::Unknown) => return Ok(trusted.is_none()),
        // Nothing can be written there now either, and a daemon begins before the network does.
        Err(SealError::Storage(error)) if error.is_temporary() => return Ok(trusted.is_none()),
        Err(error) => return Err(error.into()),
    };
    if fits {
        trust(place, id, key)?;
    }
    Ok(fits)
}

/// Remembers that a key opens a remote of the vault.
pub(super) fn trust(place: &Workplace, id: &RemoteId, key: &DataKey) -> Result<(), CliError> {
    // Who only looks would write over what another one is writing.
    if place.may_change() {
        mark::set_fingerprint(&place.root, id, &key.fingerprint(id))?;
    }
    Ok(())
}

/// Remembers the same of the key of a remote that was just made, which is kept if it can be.
pub(super) fn trust_new(place: &Workplace, id: &RemoteId) -> Result<(), CliError> {
    kept(id)?.map_or(Ok(()), |key| trust(place, id, &key))
}

async fn ask(files: &KeyFiles, ui: &Ui) -> Result<DataKey, CliError> {
    let text = format!("Passphrase of {}: ", ui.the_remote());
    for _ in 1..TRIES {
        match open_with(files, prompt(&text)?).await {
            Err(SealError::WrongPassphrase) => ui.note("That is not it; please try again."),
            opened => return Ok(opened?),
        }
    }
    Ok(open_with(files, prompt(&text)?).await?)
}

/// A passphrase that is to be remembered: typed twice, or from the environment.
pub(super) fn new_passphrase(variable: &str, ui: &Ui) -> Result<Passphrase, CliError> {
    let passphrase = match surrounding(variable, ui) {
        Some(typed) => Passphrase::new(&typed),
        None if !ui.may_ask() => {
            let of = ui.about().map_or_else(String::new, |name| format!(" for the remote {name}"));
            return Err(CliError::Usage(format!(
                "a passphrase is needed{of}; set {variable}, or run the command in a terminal"
            )));
        }
        None => {
            let first = prompt(&format!("New passphrase of {}: ", ui.the_remote()))?;
            first.check()?;
            if prompt("The same once more: ")? != first {
                return Err(CliError::Usage("the two passphrases differ".to_owned()));
            }
            first
        }
    };
    passphrase.check()?;
    Ok(passphrase)
}

fn prompt(text: &str) -> Result<Passphrase, CliError> {
    Ok(Passphrase::new(&secret(text)?))
}

async fn open_with(files: &KeyFiles, passphrase: Passphrase) -> Result<DataKey, SealError> {
    let files = files.clone();
    blocking(move || files.open(&passphrase)).await
}

pub(super) async fn wrap(
    id: &RemoteId,
    key: &DataKey,
    passphrase: Passphrase,
) -> Result<KeyFile, SealError> {
    let (id, key) = (id.clone(), key.clone());
    blocking(move || KeyFile::wrap(&id, &key, &passphrase, cost())).await
}

/// Making a key of a passphrase takes long on purpose.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SealError> + Send + 'static,
) -> Result<T, SealError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(SealError::NoKey { detail: error.to_string() }))
}

/// What a guess of a new passphrase costs; tests of many devices may have it cheap.
fn cost() -> Cost {
    let is_cheap = cfg!(debug_assertions) && env::var("LARDER_TEST_CHEAP_KEYS").is_some();
    if is_cheap {
        Cost { memory_kib: 8 << 10, iterations: 1, parallelism: 1 }
    } else {
        Cost::default()
    }
}

/// Whether this device has the key of a remote.
pub(super) fn is_kept(id: &RemoteId) -> Result<bool, CliError> {
    Ok(secrets::recall(&account(id))?.is_some())
}

/// Forgets the key of a remote; whether it was kept.
pub(in crate::cli) fn forget(id: &RemoteId) -> Result<bool, CliError> {
    secrets::forget(&account(id))
}

/// Under which name the key of a remote is kept among the secrets.
fn account(id: &RemoteId) -> String {
    format!("larder-key:{id}")
}

pub(super) fn keep(id: &RemoteId, key: &DataKey, ui: &Ui) {
    let secret = Password::new(key.to_text().to_string());
    let what = format!("key of {}", ui.the_remote());
    secrets::try_keep(&account(id), &secret, (&what, "the passphrase"), ui);
}
