//! Requests: building them, the access token, time-outs, and what they cost.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::{
    DropboxConfig,
    auth::{self, Access, Auth, Granted},
    fault::Fault,
    json,
};
use crate::{Clock, Error, ErrorKind, Password, RemotePath, Result, Traffic, http::Transport};

/// Jitter that Dropbox adds to the time a wait for changes takes.
const WATCH_JITTER: Duration = Duration::from_secs(90);

/// The way to Dropbox.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) transport: Transport,
    pub(super) config: DropboxConfig,
    auth: Auth,
    /// As errors name who was asked.
    pub(super) host: String,
}

/// One request to be made, again with another token if the first is refused.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) operation: &'static str,
    pub(super) path: &'a RemotePath,
    pub(super) style: Style,
    /// What comes after `/2/`.
    pub(super) route: &'static str,
    pub(super) arg: Value,
    pub(super) body: Bytes,
    pub(super) headers: Vec<(HeaderName, String)>,
}

/// How an endpoint takes its argument and gives its result.
/// <https://www.dropbox.com/developers/documentation/http/documentation#formats>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// JSON in the body, both ways.
    Rpc,
    /// JSON in a header field, the content in the body of the request.
    Upload,
    /// JSON in header fields, the content in the body of the answer. `GET`, as only that knows
    /// `If-None-Match` and ranges.
    Download,
    /// Like `Rpc`, at a host of its own and without an account; the answer takes its time.
    Watch,
}

impl<'a> Call<'a> {
    pub(super) fn rpc(
        operation: &'static str,
        path: &'a RemotePath,
        route: &'static str,
        arg: Value,
    ) -> Self {
        let (body, headers) = (Bytes::new(), Vec::new());
        Self { operation, path, style: Style::Rpc, route, arg, body, headers }
    }

    pub(super) fn error(&self, kind: ErrorKind, detail: &str) -> Error {
        Error::new(kind, self.operation, self.path, detail)
    }
}

impl Wire {
    pub(super) fn new(config: DropboxConfig, traffic: Traffic) -> Result<Self> {
        let config = config.checked()?;
        let transport = Transport::new(&config.http, traffic)?;
        let host = config.hosts.name();
        let auth = Auth { clock: Clock::default(), ..Auth::default() };
        Ok(Self { transport, config, auth, host })
    }

    /// Makes `call`; the outer error is one of the way, the inner one is what Dropbox refused.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Result<Response, Fault>> {
        let mut is_first = true;
        loop {
            let token = match call.style {
                Style::Watch => None,
                _ => Some(self.token(call).await?),
            };
            let response = self.send_once(call, token.as_ref()).await?;
            let status = response.status();
            if status.is_success()
                || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::RANGE_NOT_SATISFIABLE)
            {
                return Ok(Ok(response));
            }
            let fault = self.fault(response).await;
            let Some(token) = token.filter(|_| fault.is_token() && is_first) else {
                return Ok(Err(fault));
            };
            self.forget(&token).await;
            is_first = false;
        }
    }

    /// [`send`](Self::send) for callers to whom every refusal is an error.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T> {
        let sent = self.send(call).await?;
        let response = sent.map_err(|fault| self.refused(call, &fault))?;
        self.read(call, response).await
    }

    /// The error that a refusal stands for.
    pub(super) fn refused(&self, call: &Call<'_>, fault: &Fault) -> Error {
        fault.error(&self.host, call.operation, call.path)
    }

    /// The JSON that `response` holds.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        response: Response,
    ) -> Result<T> {
        let read = self.transport.read(call.operation, call.path, response).await?;
        // What serde says may repeat what stands there.
        serde_json::from_slice(&read).map_err(|_| {
            let detail = format!("the answer of {} is not the JSON that it should be", self.host);
            call.error(ErrorKind::Protocol, &detail)
        })
    }

    /// Reads an answer that nobody wants, so that its connection can be used again.
    pub(super) async fn finish(&self, response: Response) {
        self.transport.finish(response).await;
    }

    async fn fault(&self, response: Response) -> Fault {
        let (status, headers) = (response.status(), response.headers().clone());
        let story = self.transport.story(response).await;
        let fault = Fault::read(status, &headers, &story);
        tracing::debug!(tags = fault.tags.join("/"), "fault");
        fault
    }

    async fn send_once(&self, call: &Call<'_>, token: Option<&Password>) -> Result<Response> {
        let hosts = &self.config.hosts;
        let base = match call.style {
            Style::Rpc => &hosts.api,
            Style::Upload | Style::Download => &hosts.content,
            Style::Watch => &hosts.notify,
        };
        let url = base.join(&format!("2/{}", call.route));
        let url = url.map_err(|_| call.error(ErrorKind::Config, "no address"))?;
        let is_get = call.style == Style::Download;
        let method = if is_get { Method::GET } else { Method::POST };
        let mut request = reqwest::Request::new(method, url);
        let mut put = |name: HeaderName, value: &str| -> Result<()> {
            let value = HeaderValue::from_str(value)
                .map_err(|_| call.error(ErrorKind::Config, "no header field can hold this"))?;
            request.headers_mut().insert(name, value);
            Ok(())
        };
        let body = match call.style {
            Style::Rpc | Style::Watch => {
                put(CONTENT_TYPE, "application/json")?;
                Bytes::from(call.arg.to_string())
            }
            Style::Upload => {
                put(CONTENT_TYPE, "application/octet-stream")?;
                put(HeaderName::from_static("dropbox-api-arg"), &json::in_header(&call.arg))?;
                call.body.clone()
            }
            Style::Download => {
                put(HeaderName::from_static("dropbox-api-arg"), &json::in_header(&call.arg))?;
                Bytes::new()
            }
        };
        for (name, value) in &call.headers {
            put(name.clone(), value)?;
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| call.error(ErrorKind::Config, "the access token makes no sense"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let is_watch = call.style == Style::Watch;
        let pause = if is_watch { self.config.watch + WATCH_JITTER } else { Duration::ZERO };
        self.execute(call.operation, call.path, request, body, pause).await
    }

    /// Sends a request that is made. Dropbox may take its time for `pause` before it answers.
    async fn execute(
        &self,
        operation: &'static str,
        path: &RemotePath,
        mut request: reqwest::Request,
        body: Bytes,
        pause: Duration,
    ) -> Result<Response> {
        let body_bytes = body.len() as u64;
        if *request.method() != Method::GET {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body_bytes));
            *request.body_mut() = Some(body.into());
        }
        let wait = self.transport.wait_for(body_bytes) + pause;
        self.transport.send(operation, path, request, body_bytes, wait).await
    }

    /// An access token that is good for a while yet.
    async fn token(&self, call: &Call<'_>) -> Result<Password> {
        let mut access = self.auth.access.lock().await;
        let kept = || {
            let file = self.config.access_file.as_deref()?;
            auth::load(file, &self.origin())
        };
        let known = access.take().or_else(kept).filter(|known| self.auth.is_fresh(known));
        let fresh = match known {
            Some(known) => known,
            None => self.refresh(call.operation, call.path).await?,
        };
        let token = fresh.token.clone();
        *access = Some(fresh);
        Ok(token)
    }

    /// Has a token that was refused not used again, here and by the next process.
    async fn forget(&self, token: &Password) {
        let mut access = self.auth.access.lock().await;
        access.take_if(|known| known.token == *token);
        if let Some(file) = &self.config.access_file
            && auth::load(file, &self.origin()).is_some_and(|kept| kept.token == *token)
        {
            // What stays there would be refused once more, and replaced then.
            let _ = std::fs::remove_file(file);
        }
    }

    fn origin(&self) -> String {
        auth::origin(&self.config.app_key, &self.config.refresh_token)
    }

    /// <https://www.dropbox.com/developers/documentation/http/documentation#oauth2-token>: a refresh
    /// token of a login with PKCE needs the key of the app, and no secret.
    async fn refresh(&self, operation: &'static str, path: &RemotePath) -> Result<Access> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", self.config.refresh_token.expose()),
            ("client_id", &self.config.app_key),
        ];
        let granted = self.grant(operation, path, &form).await?;
        let access = granted.access(&self.auth.clock);
        if let Some(file) = &self.config.access_file {
            auth::keep(file, &self.origin(), &access);
        }
        Ok(access)
    }

    /// Asks for tokens. What the answer says of a refusal is one word; the story beside it is left out.
    pub(super) async fn grant(
        &self,
        operation: &'static str,
        path: &RemotePath,
        form: &[(&str, &str)],
    ) -> Result<Granted> {
        let error = |kind, detail: &str| Error::new(kind, operation, path, detail);
        let url = self.config.hosts.api.join("oauth2/token");
        let url: Url = url.map_err(|_| error(ErrorKind::Config, "no address"))?;
        let mut request = reqwest::Request::new(Method::POST, url);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let body = Bytes::from(body);
        let response = self.execute(operation, path, request, body, Duration::ZERO).await?;
        let status = response.status();
        if status.is_success() {
            let root = RemotePath::root();
            let call = Call::rpc(operation, &root, "oauth2/token", Value::Null);
            return self.read(&call, response).await;
        }
        let fault = self.fault(response).await;
        let host = &self.host;
        Err(match fault.tags.first().map(String::as_str) {
            Some("invalid_grant") if operation == "login" => error(
                ErrorKind::Unauthorized,
                &format!("{host} does not take this code: it is good once, and for a few minutes"),
            ),
            Some("invalid_grant") => error(
                ErrorKind::LoggedOut,
                &format!(
                    "the login at {host} has ended: it was revoked there, or is of another app"
                ),
            ),
            Some("invalid_client" | "unauthorized_client") => {
                error(ErrorKind::LoggedOut, &format!("{host} does not know the key of this app"))
            }
            _ if matches!(status.as_u16(), 400 | 401 | 403) => error(
                ErrorKind::Unauthorized,
                &format!("{host} refuses the login (status {})", status.as_u16()),
            ),
            _ => fault.error(host, operation, path),
        })
    }
}
