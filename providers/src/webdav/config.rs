//! What is needed to reach a WebDAV server.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::{HttpConfig, Password, Result, http::wrong};

/// Where a WebDAV remote lies and how to get at it.
#[derive(Debug, Clone)]
pub struct WebDavConfig {
    /// The folder that is the remote's root, `http` or `https`.
    pub url: Url,
    /// The account.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// How it is spoken to.
    pub http: HttpConfig,
}

impl WebDavConfig {
    /// The usual settings for the folder at `url`; an account in it is taken out of it.
    pub fn new(mut url: Url) -> Self {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (!url.username().is_empty()).then(|| decoded(url.username()));
        let password = url.password().map(|password| Password::new(decoded(password)));
        forget_account(&mut url);
        Self { url, user, password, http: HttpConfig::default() }
    }

    /// The same settings with an account.
    #[must_use]
    pub fn with_account(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self.password = Some(Password::new(password));
        self
    }

    /// The address without an account, a query and a fragment, as requests are built on it.
    pub(super) fn checked_url(&self) -> Result<Url> {
        let mut url = self.url.clone();
        forget_account(&mut url);
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong(&format!("{url} is not the address of a WebDAV folder")));
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(url)
    }
}

/// Removes account and password from `url`; only addresses that cannot have them refuse.
pub(super) fn forget_account(url: &mut Url) {
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn an_account_in_the_address_is_taken_out_and_never_printed() {
        let url = Url::parse("https://ann:s%40cret@dav.example/notes?x#y").unwrap();
        let config = WebDavConfig::new(url);
        assert_eq!(config.user.as_deref(), Some("ann"));
        assert_eq!(config.password.as_ref().unwrap().expose(), "s@cret");
        let shown = format!("{config:?} {}", config.checked_url().unwrap());
        assert!(!shown.contains("cret"), "{shown}");
        assert!(shown.ends_with("https://dav.example/notes"), "{shown}");
    }

    #[test]
    fn other_schemes_are_refused() {
        let config = WebDavConfig::new(Url::parse("ftp://ann:secret@host/x").unwrap());
        let error = config.checked_url().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
