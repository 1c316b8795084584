//! Requests and answers: counted, waited for only so long, and read only so far.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use reqwest::{Method, Request, Response};
use tokio::time::timeout;

use super::{
    HttpConfig, client,
    error::{broken, silent},
    fields,
};
use crate::{Error, ErrorKind, RemotePath, Result, Traffic};

/// The slowest upload that is waited for, in bytes a second.
const UPLOAD_RATE_MIN: u64 = 8 * 1024;

/// The longest answer that is no file: a page of a listing has some thousand names.
pub(crate) const ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How much is read of an answer that is not what was asked for, or that nobody wants.
pub(crate) const STORY_BYTES_MAX: u64 = 64 * 1024;

/// The way to a server.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pub(crate) agent: reqwest::Client,
    pub(crate) traffic: Traffic,
    read_timeout: Duration,
    /// How many bytes of fields the HTTP client adds to every request, but for the host's name.
    own_field_bytes: u64,
}

impl Transport {
    pub(crate) fn new(config: &HttpConfig, traffic: Traffic) -> Result<Self> {
        let own_fields =
            "Host: \r\nUser-Agent: \r\nAccept: */*\r\n".len() + config.user_agent.len();
        Ok(Self {
            agent: client(config)?,
            traffic,
            read_timeout: config.read_timeout,
            own_field_bytes: own_fields as u64,
        })
    }

    /// How long the answer to a request with a body of so many bytes is waited for.
    pub(crate) fn wait_for(&self, body_bytes: u64) -> Duration {
        self.read_timeout + Duration::from_secs(body_bytes / UPLOAD_RATE_MIN)
    }

    /// Sends `request`. `body_bytes` are counted as sent; a body that counts itself has none here.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        path: &RemotePath,
        request: Request,
        body_bytes: u64,
        wait: Duration,
    ) -> Result<Response> {
        let (method, url) = (name(request.method()), request.url().clone());
        let query = url.query().map_or(0, |query| query.len() + 1);
        let line = method.len() + url.path().len() + query + "  HTTP/1.1\r\n\r\n".len();
        let fields = self.own_field_bytes + fields::bytes(request.headers());
        let head = (line + url.authority().len()) as u64 + fields;
        self.traffic.request(method, url.path(), head + body_bytes);
        let response = match timeout(wait, self.agent.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(broken(operation, path, error)),
            Err(_) => return Err(silent(operation, path)),
        };
        let (status, headers) = (response.status(), response.headers());
        let reason = status.canonical_reason().unwrap_or_default();
        let line = "HTTP/1.1 200 \r\n\r\n".len() + reason.len();
        self.traffic.received(line as u64 + fields::bytes(headers));
        if let Some(retry_after) = fields::patience(status, headers) {
            self.traffic.put_off(retry_after);
        }
        tracing::debug!(method, path = url.path(), %status, "answer");
        Ok(response)
    }

    /// The body of `response` as it comes; one of more than `bytes_max` bytes ends in an error.
    pub(crate) fn incoming(
        &self,
        operation: &'static str,
        path: &RemotePath,
        response: Response,
        bytes_max: u64,
    ) -> BoxStream<'static, Result<Bytes>> {
        let (path, traffic, wait) = (path.clone(), self.traffic.clone(), self.read_timeout);
        let incoming = Incoming { operation, path, response, bytes: 0, bytes_max, traffic, wait };
        stream::try_unfold(incoming, async |mut incoming| {
            let chunk = incoming.next().await?;
            Ok(chunk.map(|chunk| (chunk, incoming)))
        })
        .boxed()
    }

    /// The whole body of an answer that is no file.
    pub(crate) async fn read(
        &self,
        operation: &'static str,
        path: &RemotePath,
        response: Response,
    ) -> Result<BytesMut> {
        let mut body = self.incoming(operation, path, response, ANSWER_BYTES_MAX);
        let mut read = BytesMut::new();
        while let Some(chunk) = body.try_next().await? {
            read.extend_from_slice(&chunk);
        }
        Ok(read)
    }

    /// What an answer says that is not what was asked for: its beginning, as far as it arrives.
    pub(crate) async fn story(&self, response: Response) -> Vec<u8> {
        let mut body = self.incoming("drain", &RemotePath::root(), response, u64::MAX);
        let mut story = Vec::new();
        while let Some(Ok(chunk)) = body.next().await {
            story.extend_from_slice(&chunk);
            if story.len() as u64 > STORY_BYTES_MAX {
                break;
            }
        }
        story
    }

    /// Reads a short answer that nobody wants, so that its connection can be used again.
    pub(crate) async fn finish(&self, response: Response) {
        drop(self.story(response).await);
    }
}

/// A body on its way to us.
struct Incoming {
    operation: &'static str,
    path: RemotePath,
    response: Response,
    /// How many bytes have come so far.
    bytes: u64,
    bytes_max: u64,
    traffic: Traffic,
    wait: Duration,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = match timeout(self.wait, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => return Err(broken(self.operation, &self.path, error)),
            Err(_) => return Err(silent(self.operation, &self.path)),
        };
        let Some(chunk) = chunk else { return Ok(None) };
        let bytes = chunk.len() as u64;
        self.traffic.received(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max {
            let detail = format!("the answer is longer than {} bytes", self.bytes_max);
            return Err(Error::new(ErrorKind::TooLarge, self.operation, &self.path, detail));
        }
        Ok(Some(chunk))
    }
}

/// The method as it is counted.
fn name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "DELETE" => "DELETE",
        "PROPFIND" => "PROPFIND",
        "MKCOL" => "MKCOL",
        "MOVE" => "MOVE",
        _ => "OTHER",
    }
}
