//! With what remotes were opened, for whoever is told that it was refused.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use larder_providers::Password;

use super::surroundings::variable;
use crate::cli::{
    remote_url::RemoteUrl,
    ui::{Ui, quoted},
};

/// With what a remote was opened.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// Without an account, as its address has none.
    Nameless(String),
    /// With what this variable gives.
    Variable(String),
    /// With what is kept for its address, or was typed; and the variable that would go before.
    Kept { address: String, variable: String },
    /// Without a password of ours.
    Other,
}

impl Entry {
    /// With what one is opened at an address for which the environment gives nothing.
    pub(super) fn of(url: &RemoteUrl, ui: &Ui) -> Self {
        let address = url.to_string();
        match url {
            _ if url.account().is_some() => Self::Kept { address, variable: variable(ui) },
            RemoteUrl::WebDav(_) => Self::Nameless(address),
            _ => Self::Other,
        }
    }

    /// What to do where it was refused.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Nameless(address) => Some(format!(
                "an address without a user, {address}, has no password: write {}",
                address.replacen("://", "://YOU@", 1)
            )),
            Self::Variable(name) => Some(format!(
                "what {name} gives was refused: correct it, or unset it, and larder takes what is kept or asks in a \
                 terminal"
            )),
            Self::Kept { address, variable } => Some(format!(
                "run the command in a terminal, and larder asks for it anew; or set {variable}. `larder remote logout \
                 {}` forgets the one that is kept",
                quoted(address)
            )),
            Self::Other => None,
        }
    }
}

/// With what the remotes were opened.
#[derive(Debug, Default)]
pub(in crate::cli) struct Entries(Mutex<Opened>);

#[derive(Debug, Default)]
struct Opened {
    /// Each by its name if there are several.
    named: BTreeMap<String, Entry>,
    /// What could not be kept, by its account.
    unkept: BTreeMap<String, Password>,
    /// The last one: the only one, or one that was to be added and has no name.
    last: Option<Entry>,
}

impl Entries {
    pub(super) fn note(&self, ui: &Ui, entry: Entry) {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = ui.about() {
            opened.named.insert(name, entry.clone());
        }
        opened.last = Some(entry);
    }

    /// Has what could not be kept for an account serve as long as the process runs.
    pub(super) fn hold(&self, account: &str, secret: &Password) {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opened.unkept.insert(account.to_owned(), secret.clone());
    }

    /// What could not be kept for an account.
    pub(super) fn held(&self, account: &str) -> Option<Password> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unkept.get(account).cloned()
    }

    /// What to do where a remote refused what it was opened with.
    pub(in crate::cli) fn hint(&self, remote: Option<&str>) -> Option<String> {
        let opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match remote {
            Some(name) => opened.named.get(name),
            None => opened.last.as_ref(),
        };
        entry?.hint()
    }
}
