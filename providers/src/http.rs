//! HTTP, for every provider that speaks it: the client, with TLS by rustls and the roots of the system,
//! and no redirect that it follows by itself; how requests and answers are counted, waited for and read;
//! what header fields say; what a failure is called.

mod error;
pub(crate) mod fields;
mod transport;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Certificate, ClientBuilder, redirect::Policy};
use url::Url;

#[cfg(feature = "object-stores")]
pub(crate) use self::error::causes;
use self::error::told;
pub(crate) use self::{
    error::{server_of, wrong},
    transport::{ANSWER_BYTES_MAX, STORY_BYTES_MAX, Transport},
};
use crate::{Entry, Result};

/// The most names that are listed in one folder: a hostile server could go on for ever.
const NAMES_MAX: usize = 200_000;

/// The most memory that they may take, in bytes.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// How long a connection is kept for the next request. Servers close theirs after five seconds and more
/// (Apache, lighttpd): a request that goes out in that very moment is lost, and none knows how far it came.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// The most pages of them.
pub(crate) const PAGES_MAX: usize = 10_000;

/// The longest file of certificates that is read; the system's own has about 220 kB.
const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How a server is spoken to, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// What the client calls itself.
    pub user_agent: String,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long the server may be silent. An upload is given more, as its size asks for.
    pub read_timeout: Duration,
    /// Certificates that are trusted beside those of the system: a file in the PEM format.
    pub ca_file: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("larder/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            ca_file: None,
        }
    }
}

/// A client as `config` wants it. Redirects come back as answers: who may learn the account and
/// what is sent is decided by those who know what was asked.
///
/// The program must have installed a rustls provider before.
pub(crate) fn client(config: &HttpConfig) -> Result<reqwest::Client> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(wrong("this program has not chosen its cryptography (rustls provider)"));
    }
    let builder = || {
        reqwest::Client::builder()
            .redirect(Policy::none())
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent(config.user_agent.as_str())
    };
    let built = match &config.ca_file {
        Some(file) => builder().tls_certs_merge(authorities(file)?).build(),
        None => builder().build().or_else(|error| without_roots(builder(), error)),
    };
    built.map_err(|error| wrong("the HTTP client cannot be set up").with_source(error))
}

/// A system without any root, such as a small container, can still do without TLS; with it, every
/// certificate is refused, and the message says what to do.
fn without_roots(
    builder: ClientBuilder,
    error: reqwest::Error,
) -> reqwest::Result<reqwest::Client> {
    tracing::debug!(error = %told(&error), "the system has no roots");
    builder.tls_certs_only([]).build().map_err(|_| error)
}

/// What a listing that comes page by page has taken so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    count: usize,
    bytes: usize,
}

impl Names {
    /// Counts a name whose texts have so many bytes.
    pub(crate) fn add(&mut self, text_bytes: usize) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size_of::<Entry>() + text_bytes);
    }

    /// Whether these are more than are taken.
    pub(crate) fn are_too_many(&self) -> bool {
        self.count > NAMES_MAX || self.bytes > NAMES_BYTES_MAX
    }

    /// What to say of who lists so many, or page after page without names.
    pub(crate) fn refusal(&self, who: &str) -> String {
        let most = NAMES_BYTES_MAX >> 20;
        format!("{who} lists more than {NAMES_MAX} names or {most} MiB of them, or without end")
    }
}

/// Scheme, host and port of an address: what may be told of one that a server made up.
pub(crate) fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The certificates in a file.
fn authorities(file: &Path) -> Result<Vec<Certificate>> {
    let refused = |why: &str| wrong(&format!("ca_file {}: {why}", file.display()));
    let unread = |error: io::Error| refused("cannot be read").with_source(error);
    let metadata = fs::metadata(file).map_err(unread)?;
    if metadata.is_dir() {
        return Err(refused("is a folder; give a file in the PEM format"));
    }
    if metadata.len() > CA_FILE_BYTES_MAX {
        return Err(refused("is too long for a file of certificates"));
    }
    let text = fs::read(file).map_err(unread)?;
    let broken = || refused("is not in the PEM format, or a certificate in it is broken");
    let found = Certificate::from_pem_bundle(&text).map_err(|_| broken())?;
    if found.is_empty() {
        return Err(refused("has no certificate in it (PEM: -----BEGIN CERTIFICATE-----)"));
    }
    // What is no certificate would be found out here, and told without the name of the file.
    let is_whole = reqwest::Client::builder().tls_certs_only(found.clone()).build().is_ok();
    if is_whole { Ok(found) } else { Err(broken()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, testing::install_crypto};

    #[test]
    fn names_are_taken_up_to_their_number_and_what_they_take() {
        let listed = |count: usize, text_bytes: usize| {
            let mut names = Names::default();
            (0..count).for_each(|_| names.add(text_bytes));
            names
        };
        assert!(!listed(NAMES_MAX, 150).are_too_many(), "what honest folders hold");
        assert!(listed(NAMES_MAX + 1, 1).are_too_many());
        assert!(listed(1024, 64 << 10).are_too_many());
        let told = listed(1, 1).refusal("Dropbox");
        assert_eq!(told, "Dropbox lists more than 200000 names or 64 MiB of them, or without end");
    }

    fn refusal(text: &[u8]) -> String {
        install_crypto();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, text).unwrap();
        let path = file.path().to_owned();
        let error = client(&HttpConfig { ca_file: Some(path.clone()), ..HttpConfig::default() })
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        error.detail().to_owned()
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        assert!(refusal(b"").contains("has no certificate in it"));
        assert!(refusal(b"hello").contains("has no certificate in it"));
        let nothing = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refusal(nothing).contains("is broken"));
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(refusal(cut).contains("is broken"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        install_crypto();
        for (path, words) in [("/nowhere/ca.pem", "cannot be read"), ("/", "is a folder")] {
            let config = HttpConfig { ca_file: Some(path.into()), ..HttpConfig::default() };
            let error = client(&config).unwrap_err();
            assert!(error.detail().contains(&format!("ca_file {path}: {words}")), "{error}");
        }
    }

    #[test]
    fn a_system_without_roots_can_do_without_tls() {
        install_crypto();
        let error = client(&HttpConfig::default()).map(|_| ());
        assert!(error.is_ok(), "{error:?}");
        let builder = reqwest::Client::builder().redirect(Policy::none());
        assert!(builder.tls_certs_only([]).build().is_ok());
    }
}
