//! Addresses of remotes, as people give them and as they are kept.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder_providers::{
    HttpConfig, Local, Password, SharedStorage, Traffic, WebDav, WebDavConfig,
    layer::{Retry, RetryPolicy},
};
use url::{Host, Url};

#[cfg(feature = "object-stores")]
use super::bucket_url::BucketUrl;
use super::{dropbox_url::DropboxUrl, env, error::CliError};

/// An address of a remote, without any password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RemoteUrl {
    /// A folder of this machine, absolute.
    Folder(PathBuf),
    /// A folder on a WebDAV server.
    WebDav(Url),
    /// A folder in Dropbox.
    Dropbox(DropboxUrl),
    /// A prefix in a bucket of an object store.
    #[cfg(feature = "object-stores")]
    Bucket(BucketUrl),
}

/// How addresses of servers begin that lack their `:`.
const MISTYPED: [&str; 4] = ["http//", "https//", "webdav//", "webdavs//"];

/// How long a command waits for a server that does not answer, in seconds.
const WAITS_S: [u64; 3] = [2, 4, 8];

impl RemoteUrl {
    /// Reads an address; a password that stands in it comes back beside it. It is the same however it is
    /// written, as it is kept as it is shown: one that would not lead to the same place again is refused.
    pub(super) fn parse(text: &str) -> Result<(Self, Option<Password>), CliError> {
        let (url, password) = Self::read(text)?;
        let kept = url.to_string();
        let again = match Self::read(&kept) {
            Ok((again, None)) if again.to_string() == kept => Some(again),
            _ => None,
        };
        // A folder whose name is no text would become another one.
        let again = again.filter(|again| *again == url || !matches!(again, Self::Folder(_)));
        let refused = "the remote's address is written in a way that larder cannot keep";
        let again = again.ok_or_else(|| CliError::Usage(refused.to_owned()))?;
        Ok((again, password))
    }

    /// Reads an address that a person gives. What the environment says of where it lies is of it from then
    /// on: the same address is kept for every later command, whatever surrounds that.
    pub(super) fn given(text: &str) -> Result<(Self, Option<Password>), CliError> {
        let (url, password) = Self::parse(text)?;
        #[cfg(feature = "object-stores")]
        if let Self::Bucket(bucket) = url {
            let whole = Self::Bucket(bucket.completed(&env::var)?);
            return Ok((Self::parse(&whole.to_string())?.0, password));
        }
        Ok((url, password))
    }

    /// Whether an address is that of a folder as seen from the current one.
    pub(super) fn is_relative(text: &str) -> bool {
        let path = match text.trim_start().split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                rest.strip_prefix("//").unwrap_or(rest)
            }
            _ => text,
        };
        let is_folder = matches!(Self::parse(text), Ok((Self::Folder(_), _)));
        is_folder && !path.starts_with("~/") && !Path::new(path).is_absolute()
    }

    fn read(text: &str) -> Result<(Self, Option<Password>), CliError> {
        let Some((scheme, rest)) =
            text.trim_start().split_once(':').filter(|(scheme, _)| scheme.len() > 1)
        else {
            return Ok((Self::bare_folder(text)?, None));
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "file" => Ok((Self::file(rest)?, None)),
            "webdav" | "http" => Self::web("http", rest.trim_end(), &scheme),
            "webdavs" | "https" => Self::web("https", rest.trim_end(), &scheme),
            #[cfg(feature = "object-stores")]
            "s3" | "gs" | "az" => {
                let (bucket, secret) = BucketUrl::parse(&scheme, rest.trim_end())?;
                Ok((Self::Bucket(bucket), secret))
            }
            #[cfg(not(feature = "object-stores"))]
            "s3" | "gs" | "az" => Err(CliError::Usage(format!(
                "{scheme}: is not in this build of larder (feature object-stores)"
            ))),
            "dropbox" => Ok((Self::Dropbox(DropboxUrl::parse(rest.trim_end())?), None)),
            _ if scheme.contains(['/', '.', ' ']) => Ok((Self::bare_folder(text)?, None)),
            _ => Err(CliError::Usage(format!(
                "{scheme}: is no kind of remote that larder knows; use a folder, webdav://, \
                 webdavs://, http://, https://, dropbox:/, s3://, gs:// or az://"
            ))),
        }
    }

    /// A folder that was given without `file:`. What looks like the mistyped address of a server is
    /// none: it may have a password in it, which would become the name of a folder.
    fn bare_folder(text: &str) -> Result<Self, CliError> {
        if !text.starts_with('/') && (text.contains("://") || is_mistyped(text)) {
            return Err(CliError::Usage(
                "this looks like the address of a server, but its beginning is none: webdavs://, https://, s3:// \
                 and so on; a folder of such a name is given as file:NAME"
                    .to_owned(),
            ));
        }
        Self::folder(text)
    }

    fn file(rest: &str) -> Result<Self, CliError> {
        match rest.strip_prefix("//") {
            Some(path) if !path.starts_with(['/', '~']) => Err(CliError::Usage(
                "a file: address names no server: write file:///srv/notes, or the folder alone"
                    .to_owned(),
            )),
            Some(path) => Self::folder(path),
            None => Self::folder(rest),
        }
    }

    fn folder(text: &str) -> Result<Self, CliError> {
        if text.is_empty() {
            return Err(CliError::Usage("the remote's address is empty".to_owned()));
        }
        if text.contains('\0') {
            return Err(CliError::Usage("the remote's address has a NUL in it".to_owned()));
        }
        let path = match (text.strip_prefix("~/"), env::home()) {
            (Some(below), Some(home)) => home.join(below),
            (Some(_), None) => {
                let text = "the remote's address begins with ~/, and there is no HOME folder";
                return Err(CliError::Usage(text.to_owned()));
            }
            (None, _) => PathBuf::from(text),
        };
        Ok(Self::Folder(env::absolute(&path)?))
    }

    fn web(scheme: &str, rest: &str, given: &str) -> Result<(Self, Option<Password>), CliError> {
        // What is wrong is told without the address: a password may stand anywhere in it.
        let wrong = |why: &dyn fmt::Display| {
            CliError::Usage(format!("this {given}: address cannot be used: {why}"))
        };
        // More slashes or fewer would be taken for two.
        if rest.strip_prefix("//").is_none_or(|place| place.starts_with(['/', '\\'])) {
            return Err(wrong(&"two slashes and the name of a server have to follow"));
        }
        let text = &format!("{scheme}:{rest}");
        if has_split_password(text) {
            return Err(wrong(
                &"its password has a / or another character that ends it; write / as %2F, ? as %3F, # as %23 and \\ as \
                  %5C (and an @ in a path as %40), or leave the password out, and larder asks for it",
            ));
        }
        let url = Url::parse(text).map_err(|error| wrong(&error))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(&"it has a ? or a # in it"));
        }
        let config = WebDavConfig::new(url);
        let mut url = config.url;
        if let Some(user) = &config.user {
            // What else needs an escape gets one there.
            let user = user.replace('%', "%25");
            url.set_username(&user).map_err(|()| wrong(&"it has no place for a user"))?;
        }
        Ok((Self::WebDav(url), config.password))
    }

    /// The account that a password is asked and kept for; nothing where none is needed.
    pub(super) fn account(&self) -> Option<String> {
        match self {
            // The login at Dropbox is no password, and has a command of its own.
            Self::Folder(_) | Self::Dropbox(_) => None,
            Self::WebDav(url) if url.username().is_empty() => None,
            Self::WebDav(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let host = url.host_str().unwrap_or_default();
                // What is kept for an encrypted way never travels in the open.
                let way = if is_open(url) { "http://" } else { "" };
                Some(format!("{way}{}@{host}{port}", url.username()))
            }
            #[cfg(feature = "object-stores")]
            Self::Bucket(bucket) => bucket.account(&env::var),
        }
    }

    /// Whether what is sent would travel in the open.
    pub(super) fn is_exposed(&self) -> bool {
        match self {
            Self::Folder(_) | Self::Dropbox(_) => false,
            Self::WebDav(url) => is_open(url),
            #[cfg(feature = "object-stores")]
            Self::Bucket(bucket) => bucket.is_exposed(),
        }
    }

    /// How an address begins that is encrypted on its way.
    pub(super) fn encrypted(&self) -> &'static str {
        if matches!(self, Self::WebDav(_)) { "webdavs://" } else { "an https:// endpoint" }
    }

    /// The address of a folder below this one.
    pub(super) fn below(&self, name: &str) -> String {
        if let Self::Dropbox(url) = self {
            return url.below(name).to_string();
        }
        #[cfg(feature = "object-stores")]
        if let Self::Bucket(bucket) = self {
            return bucket.below(name).to_string();
        }
        format!("{}/{name}", self.to_string().trim_end_matches('/'))
    }

    /// The storage at this address.
    pub(super) fn open(
        &self,
        password: Option<Password>,
        http: &HttpConfig,
        traffic: &Traffic,
    ) -> Result<SharedStorage, CliError> {
        match self {
            Self::Folder(path) => {
                refuse_file(path)?;
                Ok(Arc::new(Local::new(path).with_traffic(traffic.clone())))
            }
            Self::WebDav(url) => {
                let mut config = WebDavConfig::new(url.clone());
                config.password = password;
                config.http = http.clone();
                let storage = WebDav::new(config)?.with_traffic(traffic.clone());
                Ok(Arc::new(Retry::with_policy(storage, patience())))
            }
            Self::Dropbox(url) => {
                let storage = url.open(http, traffic)?;
                Ok(Arc::new(Retry::with_policy(storage, patience())))
            }
            #[cfg(feature = "object-stores")]
            Self::Bucket(bucket) => {
                let storage = bucket.open(password, &env::var, http, traffic)?;
                Ok(Arc::new(Retry::with_policy(storage, patience())))
            }
        }
    }
}

/// Whether a text begins like the address of a server whose `:` was left out.
pub(super) fn is_mistyped(text: &str) -> bool {
    MISTYPED.iter().any(|kind| {
        let begins = text.trim_start().get(..kind.len());
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case(kind))
    })
}

/// Whether an address has a password that a character ends too early, as the `/` does in
/// `http://ada:a/b@host`: what would be a host and its port has no number for a port, and the `@`
/// comes later.
fn has_split_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("//") else { return false };
    let Some(end) = rest.find(['/', '?', '#', '\\']) else { return false };
    let (place, after) = rest.split_at(end);
    let host_and_port = place.rsplit_once(':').filter(|_| !place.contains(['@', '[']));
    let Some((host, port)) = host_and_port else { return false };
    if port.parse::<u16>().is_err() {
        return after.contains('@');
    }
    // A password of digits may look like a port, but a host rarely like the name of a user.
    let next = after.get(1..).and_then(|after| after.split(['/', '?', '#', '\\']).next());
    !host.contains('.') && host != "localhost" && next.is_some_and(|next| next.contains('@'))
}

/// Whether what goes to `url` can be read on its way.
pub(super) fn is_open(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_here
}

/// Waits as long as a person would; `LARDER_RETRIES` sets how often.
fn patience() -> RetryPolicy {
    let tries = env::var("LARDER_RETRIES").and_then(|text| text.parse().ok());
    let waits = WAITS_S.into_iter().chain(std::iter::repeat(16));
    let waits = waits.take(tries.unwrap_or(WAITS_S.len())).map(Duration::from_secs);
    RetryPolicy { waits: waits.collect(), ..RetryPolicy::default() }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::WebDav(url) => {
                let text = url.as_str();
                let rest = text.split_once(':').map_or("", |(_, rest)| rest);
                let scheme = if url.scheme() == "https" { "webdavs" } else { "webdav" };
                write!(f, "{scheme}:{}", rest.trim_end_matches('/'))
            }
            Self::Dropbox(url) => write!(f, "{url}"),
            #[cfg(feature = "object-stores")]
            Self::Bucket(bucket) => write!(f, "{bucket}"),
        }
    }
}

/// Refuses an address where a file lies, or one in the way to it.
fn refuse_file(path: &Path) -> Result<(), CliError> {
    let there = path.ancestors().find_map(|up| Some((up, up.metadata().ok()?)));
    match there.filter(|(_, found)| !found.is_dir()) {
        Some((file, _)) if file == path => Err(CliError::Usage(format!(
            "{} is a file, not a folder; a remote is a folder of its own",
            path.display()
        ))),
        Some((file, _)) => Err(CliError::Usage(format!(
            "{} cannot be a folder: {} is a file",
            path.display(),
            file.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_without_its_password() {
        let (url, password) =
            RemoteUrl::parse("webdavs://ada:s3cret@example.org:8443/notes/").unwrap();
        assert_eq!(url.to_string(), "webdavs://ada@example.org:8443/notes");
        assert_eq!(url.account().as_deref(), Some("ada@example.org:8443"));
        assert_eq!(password.unwrap().expose(), "s3cret");
        let (again, none) = RemoteUrl::parse(&url.to_string()).unwrap();
        assert_eq!(again, url);
        assert!(none.is_none());
    }

    #[test]
    fn a_percent_sign_in_the_name_of_a_user_stays_one() {
        let (url, _) = RemoteUrl::parse("https://a%2541%40b@example.org/x").unwrap();
        assert_eq!(url.to_string(), "webdavs://a%2541%40b@example.org/x");
        let (again, _) = RemoteUrl::parse(&url.to_string()).unwrap();
        assert_eq!(again, url);
    }

    #[test]
    fn a_path_is_a_folder() {
        for text in ["/srv/notes", "file:///srv/notes", "file:/srv/notes"] {
            let (url, _) = RemoteUrl::parse(text).unwrap();
            assert_eq!(url, RemoteUrl::Folder("/srv/notes".into()));
        }
        let (url, _) = RemoteUrl::parse("../no such folder//notes/").unwrap();
        let (again, _) = RemoteUrl::parse(&url.to_string()).unwrap();
        assert_eq!(again.to_string(), url.to_string());
        assert!(RemoteUrl::parse("/srv/\0").is_err());
        for text in ["/srv/a://b", "file:///srv/a://b", " /srv/a", "/srv/a ", "a/b:c", "https/x"] {
            let (url, _) = RemoteUrl::parse(text).unwrap();
            assert!(matches!(url, RemoteUrl::Folder(_)), "{text}");
        }
    }

    #[test]
    fn a_folder_is_relative_or_not() {
        for text in ["notes", "../notes", "./n", "file:notes", " /srv/notes"] {
            assert!(RemoteUrl::is_relative(text), "{text}");
        }
        for text in
            ["/srv/notes", "~/notes", "file:///srv/notes", "FILE:/srv", "s3://a/b", "ftp://x"]
        {
            assert!(!RemoteUrl::is_relative(text), "{text}");
        }
    }

    #[test]
    fn blanks_around_an_address_are_not_of_it() {
        let (url, _) = RemoteUrl::parse(" webdavs://ada@example.org/notes ").unwrap();
        assert_eq!(url.to_string(), "webdavs://ada@example.org/notes");
    }

    #[test]
    fn says_what_is_wrong_without_the_password() {
        let error = |text| RemoteUrl::parse(text).unwrap_err().message();
        assert!(error("ftp://x/y").contains("ftp: is no kind of remote"));
        assert!(error("dropbox:notes").contains("needs one / and a folder"));
        for text in [
            "webdavs:///ada:s3cret@host",
            "webdavs:/ada:s3cret@host",
            "webdavs:ada:s3cret@host",
            "webdavs:////ada:23/ada:s3cret@exama^a:ere",
            "https//ada:s3cret@host",
            " HTTPS//ada:s3cret@host",
            "https ://ada:s3cret@host",
            "https.://ada:s3cret@host",
            "file://ada:s3cret@host/srv",
        ] {
            let told = error(text);
            assert!(!told.contains("s3cret"), "{told}");
        }
        let told = error("https://ada:s3cret@exa mple.org/");
        assert!(!told.contains("s3cret"), "{told}");
        let told = error("https://ada:s3cret@example.org/?x");
        assert!(!told.contains("s3cret") && told.contains("it has a ?"), "{told}");
    }

    #[test]
    fn a_password_with_a_slash_is_asked_for_in_another_way() {
        for text in [
            "webdavs://ada:s3/cret@host/x",
            "webdavs://ada:s3?cret@host/x",
            "webdavs://ada:s3#cret@host",
            "webdavs://ada:s3\\cret@host/x",
            "https://ada:/s3cret@host/x",
            "https://ada:12/s3cret@host/x",
        ] {
            let told = RemoteUrl::parse(text).unwrap_err().message();
            assert!(told.contains("write / as %2F") && !told.contains("cret"), "{told}");
        }
        let (_, password) = RemoteUrl::parse("webdavs://ada:s3%2Fcret@host/x").unwrap();
        assert_eq!(password.unwrap().expose(), "s3/cret");
        for text in [
            "https://cloud.example:8443/dav/files/ada@example.org/",
            "https://nas:8443/dav/files/ada@example.org/",
            "https://cloud.example/dav/files/ada@example.org/",
            "https://ada:pw@host:8443/ada@example.org",
            "https://ada:p@w@host/x",
            "https://[::1]/ada@example.org",
        ] {
            RemoteUrl::parse(text).unwrap();
        }
    }

    #[test]
    fn http_to_another_machine_is_exposed() {
        let exposed = |text: &str| RemoteUrl::parse(text).unwrap().0.is_exposed();
        assert!(exposed("webdav://ada@example.org/x"));
        assert!(exposed("webdav://ada@127.0.0.1.example.org/x"));
        assert!(exposed("webdav://ada@192.168.1.2/x"));
        for here in ["127.0.0.1:8080", "127.1.2.3", "[::1]", "localhost:80", "dav.localhost"] {
            assert!(!exposed(&format!("webdav://ada@{here}/x")), "{here}");
        }
        assert!(!exposed("webdavs://ada@example.org/x"));
    }

    #[test]
    fn a_password_for_an_encrypted_way_is_not_that_for_an_open_one() {
        let account = |text: &str| RemoteUrl::parse(text).unwrap().0.account().unwrap();
        assert_eq!(account("webdavs://ada@example.org/x"), "ada@example.org");
        assert_eq!(account("webdav://ada@example.org/x"), "http://ada@example.org");
        assert_eq!(account("https://ada@example.org:81/x"), "ada@example.org:81");
        assert_eq!(account("http://ada@example.org:81/x"), "http://ada@example.org:81");
        // What is not sent over a network is seen by nobody.
        assert_eq!(account("webdav://ada@127.0.0.1:81/x"), "ada@127.0.0.1:81");
    }
}
