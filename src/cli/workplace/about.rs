//! Which of several remotes is spoken of.

use super::Workplace;
use crate::cli::{
    remote_url::RemoteUrl,
    ui::{About, Ui},
};

impl Workplace {
    /// Says of which remote everything is that is told from now on, if there are several, and whose
    /// password it is that is looked for: that of the remote of this name at this address, if it has one.
    pub(in crate::cli) fn speak_of(&self, name: &str, url: Option<&RemoteUrl>, ui: &Ui) {
        let is_only = self.config.remotes.iter().all(|remote| remote.name == name);
        let about = || About {
            name: name.to_owned(),
            takes_plain: self.takes_plain(name, url),
            shares_variables: self.config.sharing_variables(name).is_some(),
        };
        ui.set_about((!is_only).then(about));
    }

    /// Whether a password that is given without the name of a remote is for this one: it is for the
    /// default one, for the first that has an account, and for others with that account.
    fn takes_plain(&self, name: &str, url: Option<&RemoteUrl>) -> bool {
        let Some(default) = self.config.remotes.first() else { return true };
        let mut remotes = self.config.remotes.iter();
        let first = remotes.find_map(|it| Some((&it.name, it.address().ok()?.account()?)));
        let own = url.and_then(RemoteUrl::account);
        let is_first = |own| first.is_none_or(|(first, account)| first == name || account == own);
        default.name == name || own.is_some_and(is_first)
    }
}
