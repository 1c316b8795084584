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

use std::{fmt, path::PathBuf};

use anyhow::Context;
use larder_providers::Password;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{
    error::{CliError, option},
    redact::redacted,
    remote_url::RemoteUrl,
    secrets::named,
    ui::quoted,
};
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

#[derive(Serialize)]
#[serde(untagged)]
enum Remotes {
    One(String),
    Named(Vec<NamedRemote>),
}

/// Not derived, so that what is wrong within is told with its place.
impl<'de> Deserialize<'de> for Remotes {
    fn deserialize<D: Deserializer<'de>>(written: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Remotes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address in quotes, or tables [[remote]]")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<Remotes, E> {
                Ok(Remotes::One(url.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<Remotes, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(tables)).map(Remotes::Named)
            }
        }

        written.deserialize_any(Either)
    }
}

impl Config {
    /// Reads settings, which may have been written by hand: what is wrong is told without what may be
    /// a password.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        let written: Written = toml::from_str(text).map_err(|error| unreadable(text, &error))?;
        let default = written.default.clone();
        let config = Self::new(written);
        for remote in &config.remotes {
            check_name(&remote.name)?;
            remote.refuse_relative()?;
        }
        config.refuse_twins()?;
        match default {
            Some(name) if !config.remotes.is_empty() => {
                let found = config.remote(Some(&name)).map(drop);
                found.map_err(|error| CliError::Usage(format!("default: {}", error.message())))?;
            }
            _ => {}
        }
        Ok(config)
    }

    fn new(written: Written) -> Self {
        let mut remotes = match written.remote {
            None => Vec::new(),
            Some(Remotes::One(url)) => vec![NamedRemote { name: kind_of(&url), url, id: None }],
            Some(Remotes::Named(named)) => named,
        };
        let is_default = |remote: &NamedRemote| written.default.as_ref() != Some(&remote.name);
        remotes.sort_by_key(is_default);
        Self { device: written.device, remotes, ca_file: written.ca_file }
    }

    /// Refuses two remotes that nobody could tell apart, or that are one.
    fn refuse_twins(&self) -> Result<(), CliError> {
        for (nth, one) in self.remotes.iter().enumerate() {
            for other in self.remotes.iter().skip(nth + 1) {
                let name = &one.name;
                let both = format!("the remotes {name} and {}", other.name);
                if *name == other.name {
                    let text = format!("two remotes are called {name}; call one of them otherwise");
                    return Err(CliError::Usage(text));
                }
                if one.place() == other.place() {
                    let url = one.shown();
                    return Err(CliError::Usage(format!(
                        "{both} have the same address, {url}; correct one of them, or remove its [[remote]]"
                    )));
                }
                if one.id.is_some() && one.id == other.id {
                    return Err(CliError::Usage(format!(
                        "{both} have the same id; remove the [[remote]] of one of them"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The settings as they are written. What could not be read again is no text to be kept.
    pub(super) fn to_text(&self) -> Result<String, CliError> {
        let text = self.written().context("the settings")?;
        Self::parse(&text)?;
        Ok(text)
    }

    fn written(&self) -> Result<String, toml::ser::Error> {
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
            if check_name(name).is_err() {
                // It is not told: there may be a password in it.
                let why = if is_address(name) {
                    "a remote is chosen by its name, not by its address"
                } else {
                    "no remote is called so"
                };
                return CliError::Usage(format!("{why}; this vault has {names}"));
            }
            CliError::Usage(format!("this vault has no remote {name}; it has {names}"))
        })
    }

    /// Reads an address that a person gives: that of one of the remotes as it is kept, or another.
    pub(super) fn given(&self, text: &str) -> Result<(RemoteUrl, Option<Password>), CliError> {
        let (url, password) = RemoteUrl::parse(text)?;
        let mut known = self.remotes.iter();
        if known.any(|remote| remote.address().is_ok_and(|address| address == url)) {
            return Ok((url, password));
        }
        RemoteUrl::given(text)
    }

    /// Makes sure that no remote lies at an address but the one that is to lie there.
    pub(super) fn check_new_address(
        &self,
        url: &RemoteUrl,
        own: Option<&str>,
    ) -> Result<(), CliError> {
        let place = place_of(url);
        let mut others = self.remotes.iter().filter(|remote| Some(&*remote.name) != own);
        match others.find(|remote| remote.place() == place) {
            Some(NamedRemote { name, .. }) => {
                Err(CliError::Usage(format!("{url} is the address of the remote {name} already")))
            }
            None => Ok(()),
        }
    }

    /// Makes sure that an address is that of the vault's default remote.
    pub(super) fn check_default_address(&self, url: &RemoteUrl) -> Result<(), CliError> {
        let default = self.remote(None)?;
        let own = default.address()?;
        if own == *url {
            return Ok(());
        }
        let is_it = |remote: &&NamedRemote| remote.address().is_ok_and(|own| own == *url);
        if let Some(NamedRemote { name, .. }) = self.remotes.iter().find(is_it) {
            return Err(CliError::Usage(format!(
                "{url} is the remote {name} of this vault already: `larder sync{}`",
                option("--only", Some(name))
            )));
        }
        let of = option("--remote", Some(&*default.name).filter(|_| self.remotes.len() > 1));
        Err(CliError::Usage(format!(
            "this vault is connected to {own} already; to point it at a new address of the same \
             remote: `larder remote set {url}{of}`; to one more remote: `larder remote add NAME {url}`",
            url = quoted(&url.to_string())
        )))
    }

    /// Makes sure that a remote may be called so.
    pub(super) fn check_new_name(&self, name: &str) -> Result<(), CliError> {
        check_name(name)?;
        match self.remotes.iter().find(|remote| remote.name == name) {
            Some(remote) => Err(CliError::Usage(format!(
                "this vault has a remote {name} already: {}",
                remote.shown()
            ))),
            None => match self.sharing_variables(name) {
                Some(other) => Err(CliError::Usage(format!(
                    "a remote {name} would share its variables, such as {}, with the remote {}; call it otherwise",
                    named("LARDER_PASSWORD", name),
                    other.name
                ))),
                None => Ok(()),
            },
        }
    }

    /// Another remote whose variables are those of this name too.
    pub(super) fn sharing_variables(&self, name: &str) -> Option<&NamedRemote> {
        let mut others = self.remotes.iter().filter(|remote| remote.name != name);
        others.find(|other| named("", &other.name) == named("", name))
    }
}

fn check_name(name: &str) -> Result<(), CliError> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fine) {
        return Ok(());
    }
    // An address in its place may hold a password.
    let found = if is_address(name) { "an address".to_owned() } else { format!("{name:?}") };
    Err(CliError::Usage(format!(
        "a remote's name is 1 to {NAME_BYTES_MAX} letters, digits, - and _, not {found}"
    )))
}

fn is_address(name: &str) -> bool {
    name.contains(['/', ':', '@'])
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

    /// Its address as it is shown. Who writes settings by hand may have put a password into it.
    pub(super) fn shown(&self) -> String {
        match RemoteUrl::parse(&self.url) {
            Ok((_, None)) => self.url.clone(),
            Ok((url, Some(_))) => url.to_string(),
            Err(_) => redacted(&self.url),
        }
    }

    /// Whether a password stands in its address, where none is looked for.
    pub(super) fn holds_password(&self) -> bool {
        matches!(RemoteUrl::parse(&self.url), Ok((_, Some(_))))
    }

    /// What the address leads to is not to hang on where a command is run.
    fn refuse_relative(&self) -> Result<(), CliError> {
        if !RemoteUrl::is_relative(&self.url) {
            return Ok(());
        }
        let Self { name, url, .. } = self;
        Err(CliError::Usage(format!(
            "the address of the remote {name}, {}, is relative; write the whole path of the folder",
            redacted(url)
        )))
    }

    /// What its address leads to, however it is written.
    fn place(&self) -> String {
        let url = RemoteUrl::parse(&self.url);
        url.map_or_else(|_| self.url.trim_end_matches('/').to_owned(), |(url, _)| place_of(&url))
    }
}

/// What an address leads to.
fn place_of(url: &RemoteUrl) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

/// Why settings cannot be read, and where. The line itself is not told, nor what stands in quotes: it
/// may be a password.
fn unreadable(text: &str, error: &toml::de::Error) -> CliError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map_or_else(String::new, |before| {
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: ")
    });
    let told = error.message().lines().collect::<Vec<_>>().join(", ");
    CliError::Usage(format!("{place}{}", redacted(&without_texts(&told))))
}

/// A message of the parser without the texts of the file that it repeats.
fn without_texts(told: &str) -> String {
    match (told.find("string \""), told.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => {
            let (before, after) = (told.get(..from), told.get(to + 1..));
            format!("{}a text{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ => told.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(name: &str, url: &str) -> NamedRemote {
        let id = RemoteId::new("0190f6a1-7c00-7000-8000-000000000001").unwrap();
        NamedRemote { name: name.to_owned(), url: url.to_owned(), id: Some(id) }
    }

    #[test]
    fn one_remote_is_an_address_and_several_have_names() {
        let old = "device = \"laptop\"\nremote = \"webdavs://ada@example.org/notes\"\n";
        let mut config = Config::parse(old).unwrap();
        assert_eq!(config.remotes[0].name, "webdav");
        assert_eq!(config.to_text().unwrap(), old);
        config.remotes.insert(0, remote("home", "/srv/notes"));
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
        let told = config.remote(Some("webdavs://ann:s3cret@host/x")).unwrap_err().message();
        assert_eq!(told, "a remote is chosen by its name, not by its address; this vault has none");
        let told = config.remote(Some("my home")).unwrap_err().message();
        assert_eq!(told, "no remote is called so; this vault has none");
        assert!(Config::parse("device = \"laptop\"\nsecret = \"x\"\n").is_err());
    }

    #[test]
    fn names_are_short_and_used_once() {
        let config = Config { remotes: vec![remote("home", "/a")], ..Config::default() };
        for wrong in ["", "home", "Home", "my home", "ä", "../x", &"x".repeat(33)] {
            assert!(config.check_new_name(wrong).is_err(), "{wrong:?}");
        }
        assert!(config.check_new_name("Back-up_2").is_ok());
        assert_eq!(kind_of("C:\\notes"), "folder");
        assert_eq!(kind_of("/srv/a:b"), "folder");
        assert_eq!(kind_of("s3://bucket/notes"), "s3");
    }

    #[test]
    fn what_was_written_by_hand_is_refused_with_its_place_and_without_its_passwords() {
        let of = |rest: &str| Config::parse(&format!("device = \"laptop\"\n{rest}"));
        let table = |name: &str, url: &str| format!("[[remote]]\nname = {name:?}\nurl = {url:?}\n");
        let url = "webdavs://ann:s3cret@host/x";
        for (text, told) in [
            (
                "remote = 3\n".to_owned(),
                "line 2, column 10: invalid type: integer `3`, expected an address in quotes",
            ),
            ("ca_file = 3\n".to_owned(), "line 2, column 11: invalid type"),
            (format!("remote = {{ url = {url:?} }}\n"), "line 2, column 10: invalid type: map"),
            (
                format!("remote = [{url:?}]\n"),
                "line 2, column 11: invalid type: a text, expected struct",
            ),
            (format!("remote = {url}\n"), "line 2, column "),
            (format!("remote = \"{url}\n"), "line 2, column "),
            (format!("{url:?} = 1\n"), "unknown field `webdavs://ann:[REDACTED]@host/x`"),
            (
                table("a", url) + "password = \"s3cret\"\n",
                "line 5, column 1: unknown field `password`",
            ),
            (format!("[[remote]]\nurl = {url:?}\n"), "missing field `name`"),
            ("device = \"x\"\n".to_owned(), "line 2, column 1: duplicate key"),
            (
                "default = \"b\"\n".to_owned() + &table("a", "/a"),
                "default: this vault has no remote b; it has a",
            ),
            (table("", "/a"), "a remote's name is 1 to 32 letters, digits, - and _, not \"\""),
            (table("a", "../a"), "the address of the remote a, ../a, is relative;"),
            (
                "remote = \"notes\"\n".to_owned(),
                "the address of the remote folder, notes, is relative;",
            ),
            (table("a", "/a") + &table("a", "/b"), "two remotes are called a;"),
            (
                table("a", url) + &table("b", "https://ann@host/x/"),
                "the remotes a and b have the same address, webdavs://ann@host/x;",
            ),
            (
                table("a", "ftp://ann:s3cret@h") + &table("b", "ftp://ann:s3cret@h"),
                "the same address, ftp://ann:[REDACTED]@h;",
            ),
        ] {
            let error = of(&text).unwrap_err();
            let message = error.message();
            assert!(message.contains(told) && !message.contains("s3cret"), "{text}: {message}");
            assert_eq!(error.code(), 2);
        }
        let mut twins = vec![remote("a", "/a"), remote("b", "/b")];
        let config = Config { remotes: twins.clone(), ..Config::default() };
        let error = config.to_text().unwrap_err();
        assert!(error.message().contains("a and b have the same id"), "{}", error.message());
        twins[0].url = url.to_owned();
        assert_eq!(twins[0].shown(), "webdavs://ann@host/x");
        twins[0].url = "ftp://ann:s3cret@host".to_owned();
        assert_eq!(twins[0].shown(), "ftp://ann:[REDACTED]@host");
        twins[0].url = "webdavs://ann@host:8443/x".to_owned();
        assert_eq!(twins[0].shown(), twins[0].url);
    }
}
