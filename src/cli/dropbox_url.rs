//! Addresses in Dropbox, `dropbox:/notes`, and the login that goes with them.

use std::{fmt, fs, path::PathBuf};

use larder_providers::{Dropbox, DropboxConfig, Hosts, HttpConfig, Password, Traffic};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{env, error::CliError, secrets};

/// Under which name the login is kept. There is one for all folders of an account.
pub(super) const ACCOUNT: &str = "dropbox";

/// A refresh token in the environment: it beats the login that is kept.
const TOKEN: &str = "LARDER_DROPBOX_TOKEN";

/// The key of the app, in the environment.
pub(super) const APP_KEY: &str = "LARDER_DROPBOX_APP_KEY";

/// A server on this machine that stands in for Dropbox, for tests.
const STAND_IN: &str = "LARDER_TEST_DROPBOX_URL";

/// A folder in Dropbox: below the app's own folder, or of all of Dropbox, as the app was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DropboxUrl {
    /// With a slash before it; empty for the folder of the app itself.
    folder: String,
}

/// What is kept of a login.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Login {
    /// The key of the app that was let in.
    pub(super) app_key: String,
    /// What access tokens are made from.
    refresh_token: String,
}

impl DropboxUrl {
    /// Reads what stands after `dropbox:`.
    pub(super) fn parse(rest: &str) -> Result<Self, CliError> {
        let wrong = |why: &str| CliError::Usage(format!("this dropbox: address {why}"));
        if !rest.starts_with('/') || rest.starts_with("//") {
            return Err(wrong("needs one / and a folder after it: dropbox:/notes"));
        }
        let folder = rest.trim_end_matches('/');
        let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
        let is_path = folder.is_empty() || folder.split('/').skip(1).all(is_part);
        if !is_path || folder.contains(['\\', '?', '#']) || folder.contains(char::is_control) {
            return Err(wrong(
                "has a folder that larder does not take (empty parts, .., \\, ? or #)",
            ));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The address of a folder below this one.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { folder: format!("{}/{name}", self.folder) }
    }

    /// The storage there, with the login from the environment or the one that was kept.
    pub(super) fn open(&self, http: &HttpConfig, traffic: &Traffic) -> Result<Dropbox, CliError> {
        let login = match env::var(TOKEN) {
            Some(refresh_token) => {
                let app_key = match env::var(APP_KEY) {
                    Some(app_key) => app_key,
                    None => kept()?.map(|login| login.app_key).ok_or_else(|| {
                        let text = format!("{TOKEN} needs the key of its app in {APP_KEY}");
                        CliError::Usage(text)
                    })?,
                };
                Login { app_key, refresh_token }
            }
            None => kept()?.ok_or_else(|| {
                CliError::Usage(format!(
                    "nobody is logged in to Dropbox here: run `larder remote login {}` once, or set \
                     {TOKEN} and {APP_KEY}",
                    super::ui::quoted(&self.to_string())
                ))
            })?,
        };
        self.open_with(&login, http, traffic)
    }

    /// The storage there, with this login.
    pub(super) fn open_with(
        &self,
        login: &Login,
        http: &HttpConfig,
        traffic: &Traffic,
    ) -> Result<Dropbox, CliError> {
        let token = Password::new(&login.refresh_token);
        let mut config = DropboxConfig::new(&self.folder, &login.app_key, token);
        config.hosts = hosts()?;
        config.http = http.clone();
        config.access_file = access_file();
        Ok(Dropbox::new(config, traffic.clone())?)
    }
}

impl Login {
    pub(super) fn new(app_key: &str, refresh_token: &Password) -> Self {
        let refresh_token = refresh_token.expose().to_owned();
        Self { app_key: app_key.to_owned(), refresh_token }
    }

    /// Keeps it where secrets are kept.
    pub(super) fn keep(&self, ui: &super::ui::Ui) -> Result<(), CliError> {
        let text = serde_json::to_string(self).map_err(anyhow::Error::from)?;
        secrets::keep(ACCOUNT, &Password::new(text), "login at Dropbox", ui)
    }
}

/// The login that was kept.
pub(super) fn kept() -> Result<Option<Login>, CliError> {
    let Some(secret) = secrets::recall(ACCOUNT)? else { return Ok(None) };
    // What serde says of it may repeat what stands there.
    serde_json::from_str(secret.expose()).map(Some).map_err(|_| {
        CliError::Usage("the login at Dropbox that is kept cannot be read: log in again".to_owned())
    })
}

/// Where the access token lies between two commands.
fn access_file() -> Option<PathBuf> {
    Some(env::state_dir()?.join("dropbox-access.json"))
}

/// Removes the access token that was made from a login.
pub(super) fn forget_access() -> std::io::Result<()> {
    match access_file().map(fs::remove_file) {
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Who is asked: Dropbox, unless a test has somebody stand in for it.
pub(super) fn hosts() -> Result<Hosts, CliError> {
    let Some(text) = env::var(STAND_IN) else { return Ok(Hosts::default()) };
    let url = Url::parse(&text)
        .map_err(|error| CliError::Usage(format!("{STAND_IN} is no address: {error}")))?;
    Ok(Hosts::at(&url)?)
}

impl fmt::Display for DropboxUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dropbox:{}", if self.folder.is_empty() { "/" } else { &self.folder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_folder() {
        for (given, kept) in [
            ("/", "dropbox:/"),
            ("/notes", "dropbox:/notes"),
            ("/My Notes/Käse/", "dropbox:/My Notes/Käse"),
        ] {
            let url = DropboxUrl::parse(given).unwrap();
            assert_eq!(url.to_string(), kept);
            let rest = kept.strip_prefix("dropbox:").unwrap();
            assert_eq!(DropboxUrl::parse(rest).unwrap(), url);
        }
        for wrong in ["", "notes", "//notes", "/a//b", "/../a", "/a?b", "/a\\b", "/a\nb"] {
            assert!(DropboxUrl::parse(wrong).is_err(), "{wrong}");
        }
        let below = DropboxUrl::parse("/").unwrap().below("torture");
        assert_eq!(below.to_string(), "dropbox:/torture");
    }

    #[test]
    fn a_login_is_kept_as_one_text() {
        let login = Login::new("key1", &Password::new("s3cret"));
        let text = serde_json::to_string(&login).unwrap();
        assert_eq!(text, r#"{"appKey":"key1","refreshToken":"s3cret"}"#);
        let again: Login = serde_json::from_str(&text).unwrap();
        assert_eq!(again.app_key, "key1");
    }
}
