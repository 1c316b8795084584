//! The way to a service: every request that is really made, what it costs and what came back.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use ::object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body::{Body, Frame, SizeHint};
use reqwest::{
    Method, Response, StatusCode,
    header::{HeaderMap, LOCATION},
};
use tokio::time::{Sleep, timeout};
use url::Url;

use super::{BucketConfig, status, wrong};
use crate::{
    Error, ErrorKind, RemotePath, Result, Traffic,
    sync::lock,
    webdav::{broken, forget_account, silent, status as fields},
};

/// The slowest upload that is waited for, in bytes a second.
const UPLOAD_RATE_MIN: u64 = 8 * 1024;

/// The longest answer that is no file: a page of a listing has a thousand names at most.
const ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The longest story of a fault that is read.
const FAULT_BYTES_MAX: usize = 64 * 1024;

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// One call of ours, however many requests it takes.
#[derive(Debug, Default)]
struct Call {
    /// Whether the answer is a file, which may be of any length.
    is_file: bool,
    seen: Mutex<Seen>,
}

/// What the last answer to a call told beside what `object_store` passes on.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub(super) status: Option<StatusCode>,
    pub(super) server_time: Option<DateTime<Utc>>,
    /// Whether it asked for patience, and for how much of it.
    pub(super) patience: Option<Option<Duration>>,
    /// The service's own word for a fault, such as `NoSuchBucket`.
    pub(super) code: Option<String>,
    /// The region in which the bucket lies, if it is another.
    pub(super) region: Option<String>,
    /// Where it sends us instead: an address without a query.
    pub(super) elsewhere: Option<String>,
}

/// What `work` comes to, and what the last answer to it told.
pub(super) async fn watched<T>(is_file: bool, work: impl Future<Output = T>) -> (T, Seen) {
    let call = Arc::new(Call { is_file, seen: Mutex::default() });
    let done = CALL.scope(Arc::clone(&call), work).await;
    let seen = lock(&call.seen).clone();
    (done, seen)
}

/// Makes requests for `object_store` and counts them.
#[derive(Debug, Clone)]
pub(super) struct Way {
    agent: reqwest::Client,
    traffic: Traffic,
    /// How many bytes of fields the HTTP client adds to every request.
    own_field_bytes: u64,
    read_timeout: Duration,
}

impl Way {
    pub(super) fn new(config: &BucketConfig, traffic: Traffic) -> Result<Self> {
        let agent = crate::http::client(&config.http)?;
        let own_fields = "User-Agent: \r\nAccept: */*\r\n".len() + config.http.user_agent.len();
        let own_field_bytes = own_fields as u64;
        Ok(Self { agent, traffic, own_field_bytes, read_timeout: config.http.read_timeout })
    }

    async fn send(&self, request: HttpRequest) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let root = RemotePath::root();
        let url = parts.uri.to_string().parse::<Url>();
        let url = url.map_err(|_| wrong("the address of the bucket makes no sense"))?;
        let body_bytes = body.content_length() as u64;
        let line = parts.method.as_str().len() + "  HTTP/1.1\r\n\r\n".len() + url.path().len();
        let line = line + url.query().map_or(0, |query| query.len() + 1);
        let host = if parts.headers.contains_key("host") { 0 } else { "Host: \r\n".len() };
        let head = (line + host + url.authority().len()) as u64
            + self.own_field_bytes
            + fields::header_bytes(&parts.headers);
        self.traffic.request(name(&parts.method), url.path(), head + body_bytes);
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        hide_secrets(request.headers_mut());
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => bytes.clone().into(),
            None => reqwest::Body::wrap(body),
        });
        let wait = self.read_timeout + Duration::from_secs(body_bytes / UPLOAD_RATE_MIN);
        match timeout(wait, self.agent.execute(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(broken("send", &root, error)),
            Err(_) => Err(silent("send", &root)),
        }
    }

    /// Takes down what the answer tells.
    fn note(&self, response: &Response) {
        let (status, headers) = (response.status(), response.headers());
        let reason = status.canonical_reason().unwrap_or_default();
        let line = "HTTP/1.1 200 \r\n\r\n".len() + reason.len();
        self.traffic.received(line as u64 + fields::header_bytes(headers));
        let patience = fields::patience(status, headers);
        if let Some(retry_after) = patience {
            self.traffic.put_off(retry_after);
        }
        tracing::debug!(%status, path = response.url().path(), "answer");
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let seen = Seen {
            status: Some(status),
            server_time: fields::server_time(headers),
            patience,
            code: text("x-ms-error-code"),
            region: text("x-amz-bucket-region"),
            elsewhere: response.status().is_redirection().then(|| elsewhere(response)).flatten(),
        };
        let _ = CALL.try_with(|call| *lock(&call.seen) = seen);
    }

    /// Reads what the service says of a fault. Its story stays here: it may repeat what was asked.
    async fn hear(&self, mut response: Response) {
        let mut story = Vec::new();
        while let Ok(Ok(Some(chunk))) = timeout(self.read_timeout, response.chunk()).await {
            self.traffic.received(chunk.len() as u64);
            story.extend_from_slice(&chunk);
            if story.len() > FAULT_BYTES_MAX {
                break;
            }
        }
        if let Some(code) = status::code(&String::from_utf8_lossy(&story)) {
            let _ = CALL.try_with(|call| lock(&call.seen).code = Some(code));
        }
    }
}

impl HttpConnector for Way {
    fn connect(&self, _: &ClientOptions) -> ::object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Way {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.send(request).await.map_err(ours)?;
        self.note(&response);
        let status = response.status();
        if !status.is_success() && status != StatusCode::NOT_MODIFIED {
            let mut answer = HttpResponse::new(Bytes::new().into());
            *answer.status_mut() = status;
            *answer.headers_mut() = response.headers().clone();
            self.hear(response).await;
            return Ok(answer);
        }
        let is_file = CALL.try_with(|call| call.is_file).unwrap_or_default();
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let incoming = Incoming {
            body,
            traffic: self.traffic.clone(),
            wait: self.read_timeout,
            until: Box::pin(tokio::time::sleep(self.read_timeout)),
            left: if is_file { u64::MAX } else { ANSWER_BYTES_MAX },
        };
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(incoming)))
    }
}

/// The body of an answer: counted, bounded, and waited for only so long.
struct Incoming {
    body: reqwest::Body,
    traffic: Traffic,
    wait: Duration,
    until: Pin<Box<Sleep>>,
    left: u64,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            ready!(this.until.as_mut().poll(cx));
            return Poll::Ready(Some(Err(ours(silent("send", &RemotePath::root())))));
        };
        this.until.set(tokio::time::sleep(this.wait));
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                return Poll::Ready(Some(Err(ours(broken("send", &RemotePath::root(), error)))));
            }
            None => return Poll::Ready(None),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        this.traffic.received(bytes);
        let Some(left) = this.left.checked_sub(bytes) else {
            let detail = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
            let error = Error::new(ErrorKind::TooLarge, "send", &RemotePath::root(), detail);
            return Poll::Ready(Some(Err(ours(error))));
        };
        this.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where a redirect leads. Nothing is sent there: it would not be signed for that place either.
fn elsewhere(response: &Response) -> Option<String> {
    let mut to = response.url().join(fields::text(response.headers(), LOCATION)?).ok()?;
    forget_account(&mut to);
    to.set_query(None);
    to.set_fragment(None);
    Some(to.to_string())
}

/// Keeps what shows who we are out of every log.
fn hide_secrets(headers: &mut HeaderMap) {
    for name in ["authorization", "x-amz-security-token"] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

/// An error of ours on its way through `object_store`, which does not try again after it.
fn ours(error: Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

fn name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "OTHER",
    }
}
