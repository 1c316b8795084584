//! What a vault remembers of how it was set up, as it lies in `.larder/config.toml`. No secrets.
//!
//! A vault with one remote keeps its address alone; where there are several each has a name:
//!
//! ```toml
//! device = "laptop"
//! default = "home"
//!
//! [[remote]]
//! name = "home"
//! url = "/srv/notes"
//! id = "0190f6a1-…"
//! ```

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{error::CliError, remote_url::RemoteUrl};
use crate::model::RemoteId;

/// How long the name of a remote may be.
const NAME_BYTES_MAX: usize = 32;

/// What a vault remembers of how it was set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// What this device is called.
    pub(super) device: String,
    /// Its remotes, that first which commands are about that name none.
    pub(super) remotes: Vec<NamedRemote>,
    /// Certificates to trust beside those of the system: a file in the PEM format.
    pub(super) ca_file: Option<PathBuf>,
}

/// A remote by the name that it has in this vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedRemote {
    /// What it is called here.
    pub(super) name: String,
    /// Where it lies.
    pub(super) url: String,
    /// Which remote it is. Of an only one the replica knows it, unless another was ever encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<RemoteId>,
}

/// The settings as they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Remotes>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Remotes {
    One(String),
    Named(Vec<NamedRemote>),
}

impl Config {
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let written: Written = toml::from_str(text)?;
        let mut remotes = match written.remote {
            None => Vec::new(),
            Some(Remotes::One(url)) => vec![NamedRemote { name: kind_of(&url), url, id: None }],
            Some(Remotes::Named(named)) => named,
        };
        let is_default = |remote: &NamedRemote| written.default.as_ref() != Some(&remote.name);
        remotes.sort_by_key(is_default);
        Ok(Self { device: written.device, remotes, ca_file: written.ca_file })
    }

    pub(super) fn to_text(&self) -> Result<String, toml::ser::Error> {
        let remotes = self.remotes.as_slice();
        let (default, remote) = match remotes {
            [] => (None, None),
            [one] if one.id.is_none() && one.name == kind_of(&one.url) => {
                (None, Some(Remotes::One(one.url.clone())))
            }
            [default, ..] => {
                (Some(default.name.clone()), Some(Remotes::Named(self.remotes.clone())))
            }
        };
        let (device, ca_file) = (self.device.clone(), self.ca_file.clone());
        toml::to_string(&Written { device, ca_file, default, remote })
    }

    /// The remote of this name, or the default one.
    pub(super) fn remote(&self, name: Option<&str>) -> Result<&NamedRemote, CliError> {
        let Some(name) = name else {
            let default = self.remotes.first();
            return default.ok_or_else(|| crate::engine::EngineError::NotConnected.into());
        };
        self.remotes.iter().find(|remote| remote.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.remotes.iter().map(|remote| &*remote.name).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            CliError::Usage(format!("this vault has no remote {name}; it has {names}"))
        })
    }

    /// Makes sure that a remote may be called so.
    pub(super) fn check_new_name(&self, name: &str) -> Result<(), CliError> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_fine) {
            return Err(CliError::Usage(format!(
                "a remote's name is 1 to {NAME_BYTES_MAX} letters, digits, - and _, not {name:?}"
            )));
        }
        match self.remotes.iter().find(|remote| remote.name == name) {
            Some(remote) => Err(CliError::Usage(format!(
                "this vault has a remote {name} already: {}",
                remote.url
            ))),
            None => Ok(()),
        }
    }
}

/// What an only remote is called: by the kind of storage that it lies on.
pub(super) fn kind_of(url: &str) -> String {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match scheme {
        "webdavs" => "webdav".to_owned(),
        scheme if is_scheme && scheme.len() <= NAME_BYTES_MAX => scheme.to_ascii_lowercase(),
        _ => "folder".to_owned(),
    }
}

impl NamedRemote {
    /// Its address.
    pub(super) fn address(&self) -> Result<RemoteUrl, CliError> {
        Ok(RemoteUrl::parse(&self.url)?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, url: &str) -> NamedRemote {
        let id = RemoteId::new("0190f6a1-7c00-7000-8000-000000000001").unwrap();
        NamedRemote { name: name.to_owned(), url: url.to_owned(), id: Some(id) }
    }

    #[test]
    fn one_remote_is_an_address_and_several_have_names() {
        let old = "device = \"laptop\"\nremote = \"webdavs://ada@example.org/notes\"\n";
        let mut config = Config::parse(old).unwrap();
        assert_eq!(config.remotes[0].name, "webdav");
        assert_eq!(config.to_text().unwrap(), old);
        config.remotes.insert(0, named("home", "/srv/notes"));
        let text = config.to_text().unwrap();
        assert!(
            text.starts_with("device = \"laptop\"\ndefault = \"home\"\n\n[[remote]]\n"),
            "{text}"
        );
        assert_eq!(Config::parse(&text).unwrap(), config);
        let turned = text.replace("default = \"home\"", "default = \"webdav\"");
        assert_eq!(Config::parse(&turned).unwrap().remote(None).unwrap().name, "webdav");
        config.ca_file = Some("ca.pem".into());
        assert_eq!(Config::parse(&config.to_text().unwrap()).unwrap(), config);
        config.remotes.pop();
        let text = config.to_text().unwrap();
        assert_eq!(Config::parse(&text).unwrap(), config, "it keeps its name: {text}");
    }

    #[test]
    fn a_vault_without_a_remote_has_none() {
        let config = Config::parse("device = \"laptop\"\n").unwrap();
        assert_eq!(config.to_text().unwrap(), "device = \"laptop\"\n");
        assert!(config.remote(None).is_err());
        let told = config.remote(Some("home")).unwrap_err().message();
        assert_eq!(told, "this vault has no remote home; it has none");
        assert!(Config::parse("device = \"laptop\"\nsecret = \"x\"\n").is_err());
    }

    #[test]
    fn names_are_short_and_used_once() {
        let config = Config { remotes: vec![named("home", "/a")], ..Config::default() };
        for wrong in ["", "home", "my home", "ä", "../x", &"x".repeat(33)] {
            assert!(config.check_new_name(wrong).is_err(), "{wrong:?}");
        }
        assert!(config.check_new_name("Back-up_2").is_ok());
        assert_eq!(kind_of("C:\\notes"), "folder");
        assert_eq!(kind_of("/srv/a:b"), "folder");
        assert_eq!(kind_of("s3://bucket/notes"), "s3");
    }
}
