//! A server that speaks like Dropbox, in the test's own process.
//!
//! It is written after what Dropbox publishes, statuses and bodies of faults included; each place names
//! its source. The sources, and what they are called here:
//!
//! * *spec*: the routes, arguments and faults, <https://github.com/dropbox/dropbox-api-spec>, `files.stone`,
//!   `auth.stone` and `async.stone` of 5 August 2026;
//! * *http*: <https://www.dropbox.com/developers/documentation/http/documentation>, its sections by name;
//! * *ingress*: <https://www.dropbox.com/developers/reference/data-ingress-guide>;
//! * *oauth*: <https://developers.dropbox.com/oauth-guide>;
//! * *encoding*: <https://www.dropbox.com/developers/reference/json-encoding>;
//! * *hash*: <https://www.dropbox.com/developers/reference/content-hash>.
//!
//! What none of them says is marked as *inferred*. So what is shown here is that our side asks and
//! understands as is written there; what Dropbox really does, only a real account shows.

#![allow(
    clippy::result_large_err,
    reason = "an answer is what a test server gives, refusals included"
)]

mod answer;
mod asked;
mod files;
mod login;
mod routes;
mod tree;
mod uploads;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, body::Incoming};
use tokio::sync::{Notify, oneshot};
use url::Url;

use self::{login::Tokens, tree::Tree, uploads::Session};
use super::serve::{Answer, range, serve, set};
use crate::{Dropbox, DropboxConfig, Hosts, Password, Traffic, sync::lock};

/// The key of the app that the server knows.
pub const DROPBOX_APP_KEY: &str = "larderapp12345";

/// A login that the server knows from the beginning.
pub const DROPBOX_TOKEN: &str = "refresh-token-of-ann";

/// A server like Dropbox, which runs until it is dropped.
#[derive(Debug, Clone)]
pub struct DropboxLike {
    port: u16,
    shared: Arc<Shared>,
    _stop: Arc<oneshot::Sender<()>>,
}

/// What goes wrong with a call, so that a test sees what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// 429 with JSON, and this `Retry-After`.
    TooManyRequests(u64),
    /// 429 with plain text, and this `Retry-After`.
    TooManyRequestsInPlainText(u64),
    /// 429: others write.
    TooManyWrites,
    /// 401: the token has expired.
    ExpiredToken,
    /// A fault of the server.
    Status(u16),
    /// The call is done, and the answer to it is lost.
    AnswerLost,
    /// A byte of the content is another one when it arrives.
    Damaged,
    /// Of a batch, one after the other is called off for others who write.
    BatchBusy,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Rung after every change, for those who wait for one.
    changed: Notify,
    /// The lock that Dropbox takes for each write (ingress, "Namespace lock contention").
    writing: tokio::sync::Mutex<()>,
    /// Finishing batches: one at a time (spec, `upload_session/finish_batch`).
    batching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    tree: Tree,
    sessions: HashMap<String, Session>,
    tokens: Tokens,
    knobs: Knobs,
    /// Routes that were called, in order.
    log: Vec<String>,
    /// How many entries each batch had.
    batches: Vec<usize>,
    /// Of whatever has to have another name each time.
    count: u64,
}

/// What tests turn.
#[derive(Debug)]
struct Knobs {
    troubles: VecDeque<(String, Trouble)>,
    /// How long a write holds the lock.
    write_time: Duration,
    /// How long who wants the lock is kept waiting before he is turned away. Inferred.
    lock_patience: Duration,
    /// The largest request (spec, `payload_too_large`: 150 MiB).
    payload_max: u64,
    /// How much the account holds.
    quota: u64,
    /// How many names a page has (spec, `ListFolderArg.limit`: "an approximate number").
    page: usize,
    /// The longest wait for changes, however long was asked for.
    wait_max: Duration,
    /// What is told to who waited.
    backoff: Option<u64>,
    /// Scopes that the app lacks.
    taken_scopes: BTreeSet<String>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            troubles: VecDeque::new(),
            write_time: Duration::from_millis(2),
            lock_patience: Duration::from_millis(50),
            payload_max: 150 << 20,
            quota: 1 << 40,
            page: 20,
            wait_max: Duration::from_secs(480),
            backoff: None,
            taken_scopes: BTreeSet::new(),
        }
    }
}

impl DropboxLike {
    /// Starts a server over an empty account.
    pub fn start() -> io::Result<Self> {
        super::install_crypto();
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        let stop = serve(listener, move |request| {
            let shared = Arc::clone(&serving);
            async move { answered(&shared, request).await }
        })?;
        Ok(Self { port, shared, _stop: Arc::new(stop) })
    }

    /// Where it listens.
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}/", self.port)).expect("a good address")
    }

    /// Settings to reach a folder of it.
    pub fn config(&self, folder: &str) -> DropboxConfig {
        let token = Password::new(DROPBOX_TOKEN);
        let mut config = DropboxConfig::new(folder, DROPBOX_APP_KEY, token);
        config.hosts = Hosts::at(&self.url()).expect("it is here");
        config
    }

    /// A storage in a folder of it.
    pub fn storage(&self, folder: &str) -> Dropbox {
        Dropbox::new(self.config(folder), Traffic::new()).expect("good settings")
    }

    /// Has the next call whose route ends so go wrong; after an earlier trouble of the same route.
    pub fn trouble(&self, route: &str, trouble: Trouble) {
        self.turn(|state| state.knobs.troubles.push_back((route.to_owned(), trouble)));
    }

    /// Has every access token expire now.
    pub fn expire_tokens(&self) {
        self.turn(|state| state.tokens.expire());
    }

    /// Takes every login back, as the user can on Dropbox's page.
    pub fn revoke(&self) {
        self.turn(|state| state.tokens.revoke());
    }

    /// Takes a permission from the app.
    pub fn take_scope(&self, scope: &str) {
        self.turn(|state| state.knobs.taken_scopes.insert(scope.to_owned()));
    }

    /// How many bytes fit in the account.
    pub fn set_quota(&self, bytes: u64) {
        self.turn(|state| state.knobs.quota = bytes);
    }

    /// How many bytes fit in one request.
    pub fn set_payload_max(&self, bytes: u64) {
        self.turn(|state| state.knobs.payload_max = bytes);
    }

    /// How long a write takes, and how long the next one is kept waiting before it is turned away.
    pub fn set_write_time(&self, time: Duration, patience: Duration) {
        self.turn(|state| (state.knobs.write_time, state.knobs.lock_patience) = (time, patience));
    }

    /// How long a wait for changes takes at most, and what is told then.
    pub fn set_wait(&self, longest: Duration, backoff: Option<u64>) {
        self.turn(|state| (state.knobs.wait_max, state.knobs.backoff) = (longest, backoff));
    }

    /// Puts a file there, as somebody else does.
    pub fn put(&self, path: &str, bytes: &'static [u8]) {
        self.turn(|state| state.tree.write(path, Bytes::from_static(bytes)));
        self.shared.changed.notify_waiters();
    }

    /// The routes that were called since the last look.
    pub fn log(&self) -> Vec<String> {
        self.turn(|state| std::mem::take(&mut state.log))
    }

    /// How many entries each batch had that was finished since the last look.
    pub fn batches(&self) -> Vec<usize> {
        self.turn(|state| std::mem::take(&mut state.batches))
    }

    fn turn<T>(&self, turn: impl FnOnce(&mut State) -> T) -> T {
        turn(&mut lock(&self.shared.state))
    }
}

impl State {
    /// A name that nothing else has.
    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{:06}", self.count)
    }
}

/// The lost answer is an error here, upon which the connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct Lost;

async fn answered(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Lost> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(Lost) };
    routes::answer(shared, parts, body.to_bytes()).await
}

#[cfg(test)]
mod tests;
