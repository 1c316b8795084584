//! What is needed to reach a folder in Dropbox.

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::{
    HttpConfig, Password, Result,
    http::{server_of, wrong},
};

/// How much of a file goes in one request, and the largest file that goes in one piece. A multiple
/// of the 4 MiB that content hashes are made of; Dropbox takes up to 150 MiB.
const PIECE_BYTES: usize = 8 * 1024 * 1024;

/// The most entries of one batch.
/// <https://www.dropbox.com/developers/documentation/http/documentation#files-upload_session-finish_batch>
const BATCH_MAX: usize = 1_000;

/// Where a remote lies in Dropbox, and what shows Dropbox who asks.
#[derive(Debug, Clone)]
pub struct DropboxConfig {
    /// The folder, `/notes/ada`; empty for the app's own folder itself.
    pub folder: String,
    /// The key of the app that the user has let in. It is no secret.
    pub app_key: String,
    /// What access tokens are made from.
    pub refresh_token: Password,
    /// Where the access token is kept between two processes, if it is to be kept: it lives for some
    /// hours, and each new one costs a request.
    pub access_file: Option<PathBuf>,
    /// The hosts that are asked.
    pub hosts: Hosts,
    /// How they are spoken to.
    pub http: HttpConfig,
    /// How much of a file goes in one request, in bytes. What is longer goes in pieces.
    pub piece_bytes: usize,
    /// The most files that take their places in one request; Dropbox takes 1,000.
    pub batch_max: usize,
    /// How long a wait for changes takes before it is begun anew.
    pub watch: Duration,
}

/// The hosts of Dropbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Calls with JSON both ways, and tokens.
    pub api: Url,
    /// Contents of files.
    pub content: Url,
    /// Waiting for changes.
    pub notify: Url,
    /// Where a person lets an app in.
    pub www: Url,
}

impl DropboxConfig {
    /// The usual settings for a folder.
    pub fn new(
        folder: impl Into<String>,
        app_key: impl Into<String>,
        refresh_token: Password,
    ) -> Self {
        Self {
            folder: folder.into(),
            app_key: app_key.into(),
            refresh_token,
            access_file: None,
            hosts: Hosts::default(),
            http: HttpConfig::default(),
            piece_bytes: PIECE_BYTES,
            batch_max: BATCH_MAX,
            watch: Duration::from_mins(4),
        }
    }

    /// Refuses a folder that Dropbox could not take.
    pub(super) fn checked(self) -> Result<Self> {
        let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
        let below = self.folder.strip_prefix('/').unwrap_or(&self.folder);
        let is_path = below.split('/').all(is_part) && self.folder.starts_with('/');
        if !self.folder.is_empty() && !is_path {
            return Err(wrong(&format!("{:?} cannot be a folder in Dropbox", self.folder)));
        }
        if self.app_key.is_empty() || !self.app_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(wrong("the key of the Dropbox app is not made of letters and digits"));
        }
        Ok(self)
    }
}

impl Default for Hosts {
    fn default() -> Self {
        let host = |name: &str| Url::parse(&format!("https://{name}/")).expect("a good address");
        Self {
            api: host("api.dropboxapi.com"),
            content: host("content.dropboxapi.com"),
            notify: host("notify.dropboxapi.com"),
            www: host("www.dropbox.com"),
        }
    }
}

impl Hosts {
    /// All of them in one server on this machine, each below its name: `http://127.0.0.1:1/api/`.
    /// Any other address is refused, as the secrets of an account go there.
    pub fn at(base: &Url) -> Result<Self> {
        let is_here = matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if base.scheme() != "http" || !is_here {
            return Err(wrong("only a server on this machine can stand in for Dropbox"));
        }
        let host = |name: &str| base.join(name).map_err(|error| wrong(&error.to_string()));
        Ok(Self {
            api: host("api/")?,
            content: host("content/")?,
            notify: host("notify/")?,
            www: host("www/")?,
        })
    }

    /// As errors name what is asked.
    pub(super) fn name(&self) -> String {
        if *self == Self::default() { "Dropbox".to_owned() } else { server_of(&self.api) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_can_stand_in_for_dropbox() {
        let at = |text: &str| Hosts::at(&Url::parse(text).unwrap());
        assert_eq!(at("http://127.0.0.1:7/").unwrap().api.as_str(), "http://127.0.0.1:7/api/");
        for text in ["http://example.org/", "https://127.0.0.1/", "http://127.0.0.1.example.org/"] {
            assert!(at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn folders_and_keys_are_checked_and_tokens_never_shown() {
        let checked = |folder: &str, key: &str| {
            let config = DropboxConfig::new(folder, key, Password::new("s3cret"));
            assert!(!format!("{config:?}").contains("s3cret"));
            config.checked().is_ok()
        };
        assert!(checked("", "key1") && checked("/notes", "key1") && checked("/Ä b/c", "key1"));
        for folder in ["notes", "/", "/a//b", "/a/", "/..", "/a/./b"] {
            assert!(!checked(folder, "key1"), "{folder}");
        }
        assert!(!checked("/notes", "") && !checked("/notes", "a&b=c"));
    }
}
