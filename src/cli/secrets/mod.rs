//! Secrets: where they are kept, how they are asked for, and how a storage is opened with them.
//!
//! A secret lies in the keyring of the system, or in a file for the user alone where there is no
//! keyring. What lies in the file stays there and goes before the keyring: a job that runs without
//! a session of the desktop may count on it.

mod entry;
mod file;
mod keyring;
mod open;
mod surroundings;

use larder_providers::Password;

pub(super) use entry::Entries;
pub(super) use open::{Doubt, open, open_anew};
pub(super) use surroundings::{named, own_variable};

use self::keyring::Trouble;
use super::{
    error::CliError,
    ui::{Ui, say},
};

/// The secret that is kept for an account.
pub(super) fn recall(account: &str) -> Result<Option<Password>, CliError> {
    if let Some(secret) = file::recall(account)? {
        return Ok(Some(secret));
    }
    Ok(keyring::recall(account).unwrap_or_else(|trouble| {
        if !matches!(trouble, Trouble::Off | Trouble::Absent) {
            tracing::warn!("{trouble}: what it keeps for {account} cannot be had");
        }
        None
    }))
}

/// Keeps the secret of an account and says where; `what` is what it is called.
pub(super) fn keep(account: &str, secret: &Password, what: &str, ui: &Ui) -> Result<(), CliError> {
    let why = if file::recall(account)?.is_some() {
        String::new()
    } else {
        match keyring::keep(account, secret) {
            Ok(()) => {
                ui.note(format!("The {what} is kept in {}.", keyring::NAME));
                return Ok(());
            }
            Err(trouble) => format!(": {trouble}"),
        }
    };
    let file = file::path()?;
    file::keep(account, secret)?;
    ui.note(format!("The {what} is kept in {}, readable by you alone{why}.", file.display()));
    Ok(())
}

/// Keeps the secret of an account if that can be done. If it cannot it serves as long as the process runs, and
/// what is needed each time is said, also to who wants to hear little.
pub(super) fn try_keep(account: &str, secret: &Password, (what, needed): (&str, &str), ui: &Ui) {
    if let Err(error) = keep(account, secret, what, ui) {
        let why = error.message();
        ui.entries.hold(account, secret);
        say(&format!("The {what} is not kept, so {needed} is needed each time: {why}"));
    }
}

/// Forgets the secret of an account wherever it is kept; whether there was one.
pub(super) fn forget(account: &str) -> Result<bool, CliError> {
    let was_in_file = file::forget(account)?;
    match keyring::forget(account) {
        Ok(was_in_keyring) => Ok(was_in_file || was_in_keyring),
        Err(Trouble::Off | Trouble::Absent) => Ok(was_in_file),
        Err(trouble) => Err(anyhow::anyhow!(
            "{trouble}: whether it keeps a secret for {account} cannot be told, and it is not forgotten there"
        )
        .into()),
    }
}
