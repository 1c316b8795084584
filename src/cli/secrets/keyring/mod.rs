//! The keyring of the system, asked with a limit of time and without ever making it ask the user.

use std::{fmt, sync::mpsc, thread, time::Duration};

use larder_providers::Password;

use crate::cli::env;

#[cfg(all(feature = "keyring", any(target_os = "macos", windows)))]
mod native;
#[cfg(not(all(feature = "keyring", any(unix, windows))))]
mod none;
#[cfg(all(feature = "keyring", unix, not(target_os = "macos")))]
mod secret_service;

#[cfg(all(feature = "keyring", any(target_os = "macos", windows)))]
use native as backend;
#[cfg(not(all(feature = "keyring", any(unix, windows))))]
use none as backend;
#[cfg(all(feature = "keyring", unix, not(target_os = "macos")))]
use secret_service as backend;

/// What people call it here.
pub(super) const NAME: &str = if cfg!(target_os = "macos") {
    "your login keychain"
} else if cfg!(windows) {
    "the Windows Credential Manager"
} else {
    "your keyring"
};

/// What larder's entries are found by, beside the account.
const SERVICE: &str = "larder";

/// How long the keyring may take: it may have to be started first.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The variable that keeps larder from looking for a keyring.
const VARIABLE: &str = "LARDER_KEYRING";

/// Why the keyring does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "keyring"),
    allow(dead_code, reason = "without a keyring there is none that could be locked")
)]
pub(super) enum Trouble {
    /// It is not to be used.
    Off,
    /// There is none that can be reached from here.
    Absent,
    /// It would have to ask the user first.
    Locked,
    /// It does not answer.
    Silent,
    /// Anything else, in a word that holds no secret.
    Failed(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => write!(f, "{VARIABLE} is off"),
            Self::Absent => f.write_str("no keyring can be reached"),
            Self::Locked => f.write_str("the keyring is locked"),
            Self::Silent => f.write_str("the keyring does not answer"),
            Self::Failed(word) => write!(f, "the keyring failed ({word})"),
        }
    }
}

/// The secret of an account.
pub(super) fn recall(account: &str) -> Result<Option<Password>, Trouble> {
    let account = account.to_owned();
    asked(move || backend::recall(SERVICE, &account)).map(|found| found.map(Password::new))
}

/// Keeps the secret of an account, in place of the one before.
pub(super) fn keep(account: &str, secret: &Password) -> Result<(), Trouble> {
    let (account, secret) = (account.to_owned(), secret.clone());
    asked(move || backend::keep(SERVICE, &account, secret.expose()))
}

/// Forgets the secret of an account; whether there was one.
pub(super) fn forget(account: &str) -> Result<bool, Trouble> {
    let account = account.to_owned();
    asked(move || backend::forget(SERVICE, &account))
}

/// Asks on a thread of its own, which is left behind if no answer comes.
fn asked<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    if env::var(VARIABLE).is_some_and(|value| matches!(value.as_str(), "off" | "0" | "no")) {
        return Err(Trouble::Off);
    }
    let (tell, told) = mpsc::channel();
    let asking = thread::Builder::new().spawn(move || tell.send(question()));
    asking.map_err(|error| Trouble::Failed(error.kind().to_string()))?;
    told.recv_timeout(WAIT_MAX).unwrap_or(Err(Trouble::Silent))
}
