//! The keychain of macOS and the Credential Manager of Windows.

use keyring_core::{Entry, Error, api::CredentialStoreApi as _};

use super::Trouble;

pub(super) fn recall(service: &str, account: &str) -> Result<Option<String>, Trouble> {
    match entry(service, account)?.get_password() {
        Ok(secret) => Ok(Some(secret)),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(trouble(&error)),
    }
}

pub(super) fn keep(service: &str, account: &str, secret: &str) -> Result<(), Trouble> {
    entry(service, account)?.set_password(secret).map_err(|error| trouble(&error))
}

pub(super) fn forget(service: &str, account: &str) -> Result<bool, Trouble> {
    match entry(service, account)?.delete_credential() {
        Ok(()) => Ok(true),
        Err(Error::NoEntry) => Ok(false),
        Err(error) => Err(trouble(&error)),
    }
}

fn entry(service: &str, account: &str) -> Result<Entry, Trouble> {
    #[cfg(target_os = "macos")]
    let store = apple_native_keyring_store::keychain::Store::new();
    #[cfg(windows)]
    let store = windows_native_keyring_store::Store::new();
    store.and_then(|store| store.build(service, account, None)).map_err(|error| trouble(&error))
}

/// What the system says of an error is not passed on: some of it carries the data.
fn trouble(error: &Error) -> Trouble {
    match error {
        Error::NoStorageAccess(_) => Trouble::Locked,
        Error::BadEncoding(_) | Error::BadDataFormat(..) => Trouble::Failed("no text".to_owned()),
        Error::TooLong(..) => Trouble::Failed("too long".to_owned()),
        Error::Ambiguous(_) => Trouble::Failed("more than one entry".to_owned()),
        _ => Trouble::Failed("no access".to_owned()),
    }
}
