//! Requests: building them, the account, redirects, time-outs, and what they cost.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures::TryStreamExt;
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderName, LOCATION},
};
use url::Url;

use super::{WebDavConfig, auth::Auth, redirect::follow, status};
use crate::{
    Body, Error, ErrorKind, RemotePath, Result, Traffic, body,
    http::{Transport, server_of, wrong},
    sync::lock,
};

/// How many redirects are followed.
const HOPS_MAX: usize = 3;

/// The way to one server.
#[derive(Debug)]
pub(super) struct Client {
    dav: reqwest_dav::Client,
    /// The folder of the remote, as the server calls it.
    base: Mutex<Url>,
    auth: Auth,
    /// Which of the forms of a move's target the server takes.
    destination_form: AtomicUsize,
    pub(super) transport: Transport,
}

/// One request to be made, as often as the account and redirects ask for.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) operation: &'static str,
    pub(super) path: &'a RemotePath,
    pub(super) method: &'static str,
    /// Whether the address ends in a slash.
    pub(super) folder: bool,
    pub(super) headers: Vec<(HeaderName, String)>,
    /// Where a file is to be moved.
    pub(super) destination: Option<&'a RemotePath>,
    pub(super) body: Option<Body>,
}

impl Client {
    pub(super) fn new(config: WebDavConfig, traffic: Traffic) -> Result<Self> {
        let base = config.checked_url()?;
        let transport = Transport::new(&config.http, traffic)?;
        let dav = reqwest_dav::ClientBuilder::new()
            .set_agent(transport.agent.clone())
            .set_host(base.origin().ascii_serialization())
            .build()
            .map_err(|error| wrong(&format!("the WebDAV client cannot be set up: {error}")))?;
        Ok(Self {
            dav,
            base: Mutex::new(base),
            auth: Auth::new(config.user, config.password),
            destination_form: AtomicUsize::new(0),
            transport,
        })
    }

    /// Makes `call`; any answer but a refused account, a redirect elsewhere, and silence comes back.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Response> {
        if self.auth.wants_priming(call.body.as_ref().map_or(0, Body::len)) {
            self.prime(call).await?;
        }
        self.exchange(call).await
    }

    /// Asks something harmless, so that the account is settled before a long body is sent.
    async fn prime(&self, call: &Call<'_>) -> Result<()> {
        let root = RemotePath::root();
        let harmless = Call {
            operation: call.operation,
            path: &root,
            method: "PROPFIND",
            folder: true,
            headers: vec![(HeaderName::from_static("depth"), "0".to_owned())],
            destination: None,
            body: None,
        };
        let response = self.exchange(&harmless).await?;
        self.finish(response).await;
        Ok(())
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Response> {
        let mut base = lock(&self.base).clone();
        let mut url = address(&base, call.path, call.folder);
        let (mut hops, mut challenged) = (0, false);
        loop {
            let response = self.send_once(call, &url, &base).await?;
            match response.status().as_u16() {
                401 if !challenged && self.auth.learn(response.headers()) => {
                    challenged = true;
                    self.finish(response).await;
                }
                401 => return Err(self.failure(call.operation, call.path, &response)),
                status @ (301 | 302 | 307 | 308) if response.headers().contains_key(LOCATION) => {
                    let hop = follow(call, &base, &url, &response)?;
                    hops += 1;
                    if hops > HOPS_MAX {
                        return Err(call.error(ErrorKind::Protocol, "redirects without end"));
                    }
                    self.finish(response).await;
                    (url, base) = (hop.url, hop.base);
                    // What moved for good is not asked at its old place again.
                    if matches!(status, 301 | 308) {
                        lock(&self.base).clone_from(&base);
                    }
                }
                _ => {
                    self.auth.taken();
                    return Ok(response);
                }
            }
        }
    }

    async fn send_once(&self, call: &Call<'_>, url: &Url, base: &Url) -> Result<Response> {
        let method = Method::from_bytes(call.method.as_bytes())
            .map_err(|error| call.error(ErrorKind::Config, "no method").with_source(error))?;
        let mut request = self
            .dav
            .start_request(method, url.path())
            .await
            .map_err(|error| call.error(ErrorKind::Config, &error.to_string()))?
            .header(ACCEPT_ENCODING, "identity");
        request = self.auth.apply(request, call.method, url.path());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(to) = call.destination {
            request = request.header("destination", self.destination(base, to));
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_LENGTH, body.len());
            request = request.body(self.outgoing(call.path, body).await?);
        }
        let request = request
            .build()
            .map_err(|error| call.error(ErrorKind::Config, "no request").with_source(error))?;
        let body_bytes = call.body.as_ref().map_or(0, Body::len);
        let wait = self.transport.wait_for(body_bytes);
        // A file counts itself on its way.
        let counted = if matches!(call.body, Some(Body::File { .. })) { 0 } else { body_bytes };
        self.transport.send(call.operation, call.path, request, counted, wait).await
    }

    fn destination(&self, base: &Url, to: &RemotePath) -> String {
        let mut url = address(base, to, false);
        let is_secure = url.scheme() == "https";
        match self.destination_form.load(Ordering::Relaxed) {
            0 => url.to_string(),
            1 if is_secure && url.set_scheme("http").is_ok() => url.to_string(),
            _ => url.path().to_owned(),
        }
    }

    /// Has the next move name its target in another form; nothing after the last one, and the next
    /// move begins with the first again.
    ///
    /// A server behind a proxy that ends TLS may take its own address for another server's. Apache
    /// wants a whole one, with the scheme under which the proxy asks it; others take a path.
    pub(super) fn try_another_destination(&self) -> bool {
        let last = if lock(&self.base).scheme() == "https" { 2 } else { 1 };
        let form = self.destination_form.load(Ordering::Relaxed);
        let next = if form < last { form + 1 } else { 0 };
        self.destination_form.store(next, Ordering::Relaxed);
        next > 0
    }

    async fn outgoing(&self, path: &RemotePath, body: &Body) -> Result<reqwest::Body> {
        match body {
            Body::Bytes(bytes) => Ok(bytes.clone().into()),
            Body::File { path: file, bytes, sha256 } => {
                let traffic = self.transport.traffic.clone();
                let (bytes, sha256) = (*bytes, sha256.as_deref());
                let stream = body::open(path, body::Outgoing { file, bytes, sha256 }).await?;
                let counted = stream.inspect_ok(move |chunk| traffic.sent(chunk.len() as u64));
                Ok(reqwest::Body::wrap_stream(counted))
            }
        }
    }

    /// Reads what is left of a short answer nobody wants, so that its connection can be used again.
    pub(super) async fn finish(&self, response: Response) {
        self.transport.finish(response).await;
    }

    /// The error that an answer other than success stands for.
    pub(super) fn failure(
        &self,
        operation: &'static str,
        path: &RemotePath,
        response: &Response,
    ) -> Error {
        let host = server_of(&lock(&self.base));
        let (kind, words) = match (response.status(), self.auth.user()) {
            (StatusCode::UNAUTHORIZED, Some(user)) => {
                let words = format!("{host} refused the account \"{user}\" or its password");
                (ErrorKind::Unauthorized, words)
            }
            (StatusCode::UNAUTHORIZED, None) => {
                (ErrorKind::Unauthorized, format!("{host} wants an account and a password"))
            }
            (StatusCode::FORBIDDEN, Some(user)) => {
                let words = format!("the account \"{user}\" may not do this at {host}");
                (ErrorKind::Forbidden, words)
            }
            // Nobody writes here, so there is no conflict: a folder above it is missing.
            (StatusCode::CONFLICT, _) if matches!(operation, "get" | "list") => {
                (ErrorKind::NotFound, "the folder above it is not there (status 409)".to_owned())
            }
            (status, _) => status::meaning(status, response.headers()),
        };
        Error::new(kind, operation, path, words)
    }
}

/// The address of `path` below `base`; every character of it stands for itself.
fn address(base: &Url, path: &RemotePath, folder: bool) -> Url {
    let mut url = base.clone();
    let above = base.path().trim_end_matches('/');
    let end = if folder && !path.is_root() { "/" } else { "" };
    url.set_path(&format!("{above}/{}{end}", path.as_str()));
    url
}

impl Call<'_> {
    pub(super) fn error(&self, kind: ErrorKind, detail: &str) -> Error {
        Error::new(kind, self.operation, self.path, detail)
    }
}
