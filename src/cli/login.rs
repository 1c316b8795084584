//! `larder remote login`: a person lets larder into their Dropbox; and `logout`, from wherever it was.

use std::{path::Path, time::Duration};

use larder_providers::{
    DropboxLogin, Error, ErrorKind, HttpConfig, RemotePath, Storage as _, Traffic,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use url::Url;

use super::{
    Ended,
    args::Args,
    config::NamedRemote,
    dropbox_url::{self, APP_KEY, DropboxUrl, Login},
    env,
    error::CliError,
    remote_url::RemoteUrl,
    secrets,
    ui::{Ui, quoted},
    unlock,
    workplace::{Access, Workplace},
};
use crate::model::RemoteId;

/// How long a person may take on Dropbox's page.
const PATIENCE: Duration = Duration::from_mins(10);

/// How long a browser may take to say what it wants, and how much it may say.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_BYTES_MAX: u64 = 16 * 1024;

/// Runs the command.
pub(super) async fn run(
    ui: &Ui,
    address: &str,
    app_key: Option<&str>,
    port: Option<u16>,
) -> Result<Ended, CliError> {
    let RemoteUrl::Dropbox(url) = RemoteUrl::parse(address)?.0 else {
        let text =
            "only Dropbox is logged in to; other remotes ask for their password by themselves";
        return Err(CliError::Usage(text.to_owned()));
    };
    let app_key = key_of_app(app_key)?;
    let listener = match port {
        Some(port) => Some(TcpListener::bind(("127.0.0.1", port)).await?),
        None => None,
    };
    let redirect = match &listener {
        Some(listener) => Some(address_of(listener)?),
        None => None,
    };
    let login = DropboxLogin::new(&app_key, dropbox_url::hosts()?, redirect)?;
    tell(ui, &format!("Open this page, and let larder in:\n\n  {}\n", login.url()?));
    let code = match &listener {
        Some(listener) => {
            let code = timeout(PATIENCE, redirected(listener, &login)).await;
            code.map_err(|_| CliError::Usage("nobody came back from Dropbox's page".to_owned()))??
        }
        None => typed(ui)?,
    };
    let token = login.finish(&code, &http(ui)).await.map_err(refused)?;
    finish(ui, &url, &Login::new(&app_key, &token)).await
}

/// Forgets what is kept for an address, or for a remote of the vault: the login or the password, and the
/// key of an encrypted remote.
pub(super) fn log_out(
    args: &Args,
    ui: &Ui,
    address: Option<&str>,
    chosen: Option<&str>,
) -> Result<Ended, CliError> {
    let (url, id) = match address {
        Some(address) => {
            let place = Workplace::find(args, Access::Look).ok();
            let kept = place.as_ref().map(|place| place.config.given(address));
            let (url, _) = kept.unwrap_or_else(|| RemoteUrl::given(address))?;
            let id = place.and_then(|place| own_id(&place, &url));
            (url, id)
        }
        None => {
            let place = Workplace::find(args, Access::Look)?;
            let remote = place.config.remote(chosen)?;
            (remote.address()?, encrypted_id(&place, remote)?)
        }
    };
    let kept = Kept { account: account_of(&url), id };
    if kept.account.is_none() && kept.id.is_none() {
        let text = format!(
            "{url} has neither an account whose password would be kept nor a key: nothing is to be forgotten"
        );
        return Err(CliError::Usage(text));
    }
    let (secret, key) = kept.forget();
    for (what, forgotten) in [(kept.secret(), &secret), (kept.key(), &key)] {
        match (what, forgotten) {
            (Some(what), Ok(Some(true))) => ui.line(format!("The {what} is forgotten.")),
            (Some(what), Ok(Some(false))) => ui.line(format!("No {what} is kept.")),
            _ => {}
        }
    }
    ui.object(&serde_json::json!({
        "account": kept.account,
        "forgotten": secret?.unwrap_or(false),
        "keyForgotten": key?.unwrap_or(false),
    }));
    Ok(Ended::Done)
}

/// Whether something was kept that is forgotten now; nothing if there is nothing to be kept.
type Forgotten = Result<Option<bool>, CliError>;

/// What may be kept on this device for a remote.
#[derive(Debug)]
pub(super) struct Kept {
    /// Under which name its password or its login is.
    account: Option<String>,
    /// Which remote it is, if it is encrypted.
    id: Option<RemoteId>,
}

impl Kept {
    /// What may be kept for one of a vault's remotes and for no other of them.
    pub(super) fn of(place: &Workplace, remote: &NamedRemote) -> Result<Self, CliError> {
        // What has no address that can be read has no account either.
        let account = |remote: &NamedRemote| account_of(&remote.address().ok()?);
        let mut others = place.config.remotes.iter().filter(|other| other.name != remote.name);
        let own = account(remote);
        let is_shared = own.is_some() && others.any(|other| account(other) == own);
        let id = encrypted_id(place, remote)?;
        Ok(Self { account: own.filter(|_| !is_shared), id })
    }

    /// Forgets the password or the login, and the key. One that cannot be had does not keep the other
    /// from being forgotten.
    fn forget(&self) -> (Forgotten, Forgotten) {
        let secret = self.account.as_ref().map(|account| {
            if account == dropbox_url::ACCOUNT {
                dropbox_url::forget_access()?;
            }
            secrets::forget(account)
        });
        (secret.transpose(), self.forget_key())
    }

    /// Forgets the key alone: the password may open other vaults' remotes as well.
    pub(super) fn forget_key(&self) -> Forgotten {
        self.id.as_ref().map(unlock::forget_key).transpose()
    }

    /// What stays for the account, if something is kept for it.
    pub(super) fn rest(&self) -> Option<String> {
        let account = self.account.as_ref()?;
        // A keyring that does not answer is no reason to fail.
        secrets::recall(account).ok().flatten().and_then(|_| self.secret())
    }

    /// What is kept for the account is called so.
    fn secret(&self) -> Option<String> {
        let account = self.account.as_ref()?;
        let is_login = account == dropbox_url::ACCOUNT;
        Some(if is_login {
            "login at Dropbox".to_owned()
        } else {
            format!("password of {account}")
        })
    }

    /// The key is called so.
    fn key(&self) -> Option<String> {
        self.id.as_ref().map(|_| "key of the remote".to_owned())
    }
}

/// Under which name it is kept what opens an address.
fn account_of(url: &RemoteUrl) -> Option<String> {
    match url {
        RemoteUrl::Dropbox(_) => Some(dropbox_url::ACCOUNT.to_owned()),
        url => url.account(),
    }
}

/// The id of a remote, if it is encrypted.
fn encrypted_id(place: &Workplace, remote: &NamedRemote) -> Result<Option<RemoteId>, CliError> {
    Ok(if place.is_encrypted(remote)? { place.id_of(remote)? } else { None })
}

/// The id of the encrypted remote at an address, if the vault has it.
fn own_id(place: &Workplace, url: &RemoteUrl) -> Option<RemoteId> {
    let mut remotes = place.config.remotes.iter();
    let remote = remotes.find(|remote| remote.address().is_ok_and(|address| address == *url))?;
    encrypted_id(place, remote).ok().flatten()
}

/// Sees whether the login works, and keeps it.
async fn finish(ui: &Ui, url: &DropboxUrl, login: &Login) -> Result<Ended, CliError> {
    let storage = url.open_with(login, &http(ui), &Traffic::new())?;
    match storage.list(&RemotePath::root()).await {
        Err(error) if !error.is_not_found() => return Err(refused(error)),
        _ => {}
    }
    login.keep(ui)?;
    ui.object(&serde_json::json!({ "remote": url.to_string(), "loggedIn": true }));
    ui.line(format!("Logged in. Go on with: larder sync --remote {}", quoted(&url.to_string())));
    Ok(Ended::Done)
}

/// A login that Dropbox refuses has no password that could be asked for anew.
fn refused(error: Error) -> CliError {
    if error.kind() == ErrorKind::Unauthorized {
        let text =
            format!("{}; nothing was kept: run the command again for a new code", error.detail());
        return CliError::Other(anyhow::anyhow!(text));
    }
    error.into()
}

/// How Dropbox is spoken to.
fn http(ui: &Ui) -> HttpConfig {
    HttpConfig { ca_file: ui.ca_file().map(Path::to_owned), ..HttpConfig::default() }
}

/// The key of the app: as it was given, from the environment, or of the last login.
fn key_of_app(given: Option<&str>) -> Result<String, CliError> {
    if let Some(key) = given.map(str::to_owned).or_else(|| env::var(APP_KEY)) {
        return Ok(key);
    }
    dropbox_url::kept()?.map(|login| login.app_key).ok_or_else(|| {
        CliError::Usage(format!(
            "Dropbox wants to know which app asks: register one at https://www.dropbox.com/developers/apps (a \
             minute's work, see docs/dropbox.md) and give its key with --app-key, or in {APP_KEY}"
        ))
    })
}

/// To a person, whoever else listens.
fn tell(ui: &Ui, text: &str) {
    if ui.json() { ui.note(text) } else { ui.answer(text) }
}

/// The code that Dropbox shows on its page.
fn typed(ui: &Ui) -> Result<String, CliError> {
    tell(ui, "Then paste the code that is shown there, and press Enter:");
    let mut code = String::new();
    std::io::stdin().read_line(&mut code)?;
    let code = code.trim();
    if code.is_empty() {
        return Err(CliError::Usage("no code was given; nothing was changed".to_owned()));
    }
    Ok(code.to_owned())
}

/// Where Dropbox sends the browser back to. The app must have registered exactly this.
fn address_of(listener: &TcpListener) -> Result<Url, CliError> {
    let port = listener.local_addr()?.port();
    let address = format!("http://localhost:{port}/");
    Ok(Url::parse(&address).map_err(anyhow::Error::from)?)
}

/// The code that a browser brings. Whoever else comes by is sent away.
async fn redirected(listener: &TcpListener, login: &DropboxLogin) -> Result<String, CliError> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let Ok(Some(query)) = timeout(REQUEST_PATIENCE, asked(&mut stream)).await else { continue };
        let code = login.code_in(&query);
        let (status, page) = answer_to(code.as_ref());
        let fields = "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n";
        let answer =
            format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{page}", page.len());
        // The code is here, whether the browser shows that or not.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        if let Some(code) = code {
            return code.map_err(refused);
        }
    }
}

/// What a browser is told that has brought this. What is no answer to our question may be an icon that
/// it looks for, a page left open from an earlier login, or a curious neighbour.
fn answer_to(code: Option<&Result<String, Error>>) -> (&'static str, String) {
    match code {
        Some(Ok(_)) => ("200 OK", "larder is logged in. You can close this page.".to_owned()),
        Some(Err(error)) => ("200 OK", format!("It did not work: {}.", error.detail())),
        None => ("404 Not Found", "This belongs to no login that larder waits for.".to_owned()),
    }
}

/// The query of the address that a browser asks for.
async fn asked(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut limited = stream.take(REQUEST_BYTES_MAX);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = limited.read_buf(&mut head).await.ok()?;
        if read == 0 {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.lines().next()?.strip_prefix("GET ")?.split(' ').next()?.to_owned();
    Some(target.split_once('?').map_or_else(String::new, |(_, query)| query.to_owned()))
}
