//! With what remotes were opened, for whoever is told that it was refused.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::cli::{remote_url::RemoteUrl, ui::Ui};

/// With what a remote was opened.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Entry {
    /// Without an account, as its address has none.
    Nameless(String),
    /// With what this variable gives.
    Variable(String),
    /// With what is kept, or was typed.
    Other,
}

impl Entry {
    /// With what one is opened at an address for which the environment gives nothing.
    pub(super) fn of(url: &RemoteUrl) -> Self {
        match url {
            RemoteUrl::WebDav(_) if url.account().is_none() => Self::Nameless(url.to_string()),
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
            Self::Other => None,
        }
    }
}

/// With what the remotes were opened, each by its name if there are several.
#[derive(Debug, Default)]
pub(in crate::cli) struct Entries(Mutex<BTreeMap<Option<String>, Entry>>);

impl Entries {
    pub(super) fn note(&self, ui: &Ui, entry: Entry) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ui.about(), entry);
    }

    /// What to do where a remote refused what it was opened with.
    pub(in crate::cli) fn hint(&self, remote: Option<&str>) -> Option<String> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&remote.map(str::to_owned))?.hint()
    }
}
