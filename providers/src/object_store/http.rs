//! The way to a service: every request that is really made, what it costs and what came back.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
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
use futures::stream::{BoxStream, StreamExt};
use http_body::{Body, Frame};
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, LOCATION},
};
use url::Url;

use super::{BucketConfig, status};
use crate::{
    Error, RemotePath, Result, Traffic,
    http::{ANSWER_BYTES_MAX, Transport, fields, place, wrong},
    sync::lock,
};

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

/// Makes requests for `object_store`.
#[derive(Debug, Clone)]
pub(super) struct Way {
    transport: Transport,
}

impl Way {
    pub(super) fn new(config: &BucketConfig, traffic: Traffic) -> Result<Self> {
        Ok(Self { transport: Transport::new(&config.http, traffic)? })
    }

    async fn send(&self, request: HttpRequest) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse::<Url>();
        let url = url.map_err(|_| wrong("the address of the bucket makes no sense"))?;
        let body_bytes = body.content_length() as u64;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        hide_secrets(request.headers_mut());
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => bytes.clone().into(),
            None => reqwest::Body::wrap(body),
        });
        let wait = self.transport.wait_for(body_bytes);
        self.transport.send("send", &RemotePath::root(), request, body_bytes, wait).await
    }

    /// Keeps what the answer tells.
    fn note(response: &Response) {
        let (status, headers) = (response.status(), response.headers());
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let seen = Seen {
            status: Some(status),
            server_time: fields::server_time(headers),
            patience: fields::patience(status, headers),
            code: text("x-ms-error-code"),
            region: text("x-amz-bucket-region"),
            elsewhere: status.is_redirection().then(|| elsewhere(response)).flatten(),
        };
        let _ = CALL.try_with(|call| *lock(&call.seen) = seen);
    }

    /// Reads what the service says of a fault. Its story stays here: it may repeat what was asked.
    async fn hear(&self, response: Response) {
        let story = self.transport.story(response).await;
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
        Self::note(&response);
        let (status, headers) = (response.status(), response.headers().clone());
        let body = if status.is_success() || status == StatusCode::NOT_MODIFIED {
            let is_file = CALL.try_with(|call| call.is_file).unwrap_or_default();
            let bytes_max = if is_file { u64::MAX } else { ANSWER_BYTES_MAX };
            let body = self.transport.incoming("send", &RemotePath::root(), response, bytes_max);
            HttpResponseBody::new(Incoming(Mutex::new(body)))
        } else {
            self.hear(response).await;
            Bytes::new().into()
        };
        let mut answer = HttpResponse::new(body);
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        Ok(answer)
    }
}

/// The body of an answer. `object_store` wants one that can be shared, and never shares it.
struct Incoming(Mutex<BoxStream<'static, Result<Bytes>>>);

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let chunk = lock(&self.0).poll_next_unpin(cx);
        chunk.map(|chunk| Some(chunk?.map(Frame::data).map_err(ours)))
    }
}

/// To whom a redirect leads. Nothing is sent there: it would not be signed for that place either.
fn elsewhere(response: &Response) -> Option<String> {
    let to = response.url().join(fields::text(response.headers(), LOCATION)?).ok()?;
    Some(place(&to))
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
