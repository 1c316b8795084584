//! A store that speaks like Google Cloud Storage, in the test's own process.
//!
//! No emulator that can be installed knows its XML interface with conditions, so this is written after the
//! published one: <https://cloud.google.com/storage/docs/xml-api/reference-headers>. What it shows is that
//! our side asks and understands as is written there, not what Google really does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    io,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::serve::{Answer, range, set};
use crate::{Clock, body, sync::lock};

/// How many names stand on one page of a listing: few, so that there are several pages.
const PAGE: usize = 5;

#[derive(Default)]
struct Store {
    objects: BTreeMap<String, Object>,
    /// The parts of uploads that are under way.
    uploads: HashMap<String, BTreeMap<usize, Bytes>>,
    writes: u64,
}

struct Object {
    bytes: Bytes,
    generation: u64,
    modified: DateTime<Utc>,
}

impl Object {
    /// Made of the content, as there: the same content has the same tag again.
    fn tag(&self) -> String {
        format!("\"{}\"", body::hex(&Sha256::digest(&self.bytes)))
    }
}

/// What is asked: the method, the key in the bucket, the settings, the fields, and the body.
struct Asked {
    method: String,
    key: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

/// Serves a bucket on `listener` until the returned sender is dropped.
pub(super) fn serve(listener: TcpListener) -> io::Result<oneshot::Sender<()>> {
    let store = Arc::new(Mutex::new(Store::default()));
    super::serve::serve(listener, move |request| {
        let store = Arc::clone(&store);
        async move { Ok::<_, Infallible>(answer(&store, request).await) }
    })
}

async fn answer(store: &Mutex<Store>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return fault(400, "IncompleteBody") };
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
    let (bucket, key) =
        path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
    if bucket != super::emulators::BUCKET {
        return fault(404, "NoSuchBucket");
    }
    let asked = Asked {
        method: parts.method.to_string(),
        key: key.to_owned(),
        query: url::form_urlencoded::parse(query).into_owned().collect(),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    lock(store).serve(&asked)
}

impl Asked {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Store {
    fn serve(&mut self, asked: &Asked) -> Answer {
        let upload = asked.query.get("uploadId").cloned();
        match (asked.method.as_str(), upload) {
            ("GET", None) if asked.key.is_empty() => self.list(asked),
            ("GET", None) => self.get(asked),
            ("PUT", None) => self.put(asked, asked.body.clone()),
            ("DELETE", None) if self.objects.remove(&asked.key).is_some() => told(204, ""),
            ("DELETE", None) => fault(404, "NoSuchKey"),
            ("POST", None) if asked.query.contains_key("uploads") => {
                self.writes += 1;
                let id = format!("upload-{}", self.writes);
                self.uploads.insert(id.clone(), BTreeMap::new());
                let id = format!("<UploadId>{id}</UploadId>");
                told(
                    200,
                    &format!("<InitiateMultipartUploadResult>{id}</InitiateMultipartUploadResult>"),
                )
            }
            (method, Some(id)) if self.uploads.contains_key(&id) => self.upload(method, &id, asked),
            _ => fault(400, "InvalidArgument"),
        }
    }

    fn upload(&mut self, method: &str, id: &str, asked: &Asked) -> Answer {
        let mut parts = self.uploads.remove(id).unwrap_or_default();
        match method {
            "PUT" => {
                let number = asked.query.get("partNumber").and_then(|text| text.parse().ok());
                parts.insert(number.unwrap_or_default(), asked.body.clone());
                self.uploads.insert(id.to_owned(), parts);
                let mut answer = told(200, "");
                set(&mut answer, "etag", "\"part\"");
                answer
            }
            "POST" => {
                let whole: BytesMut =
                    parts.values().flat_map(|part| part.iter()).copied().collect();
                let written = self.put(asked, whole.freeze());
                let tag = "<ETag>\"whole\"</ETag>";
                let mut answer = told(
                    200,
                    &format!(
                        "<CompleteMultipartUploadResult>{tag}</CompleteMultipartUploadResult>"
                    ),
                );
                answer.headers_mut().extend(written.headers().clone());
                answer.headers_mut().remove("content-length");
                answer
            }
            _ => told(204, ""),
        }
    }

    fn put(&mut self, asked: &Asked, bytes: Bytes) -> Answer {
        let wanted = asked.field("x-goog-if-generation-match").map(str::to_owned);
        let now = self.objects.get(&asked.key).map_or(0, |object| object.generation);
        if wanted.is_some_and(|wanted| wanted != now.to_string()) {
            return fault(412, "PreconditionFailed");
        }
        self.writes += 1;
        let generation = 1_700_000_000_000_000 + self.writes;
        let object = Object { bytes, generation, modified: Clock::default().now() };
        let mut answer = told(200, "");
        describe(&mut answer, &object);
        self.objects.insert(asked.key.clone(), object);
        answer
    }

    fn get(&self, asked: &Asked) -> Answer {
        let Some(object) = self.objects.get(&asked.key) else { return fault(404, "NoSuchKey") };
        let len = object.bytes.len();
        let mut answer = match asked.field("range").map(|text| range(text, len)) {
            _ if asked.field("if-none-match") == Some(&object.tag()) => told(304, ""),
            None => Response::new(Full::new(object.bytes.clone())),
            Some(None) => return fault(416, "InvalidRange"),
            Some(Some(range)) => {
                let covered = format!("bytes {}-{}/{len}", range.start, range.end - 1);
                let mut answer = Response::new(Full::new(object.bytes.slice(range)));
                *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
                set(&mut answer, "content-range", &covered);
                answer
            }
        };
        describe(&mut answer, object);
        answer
    }

    /// One page: the names after the one that the token holds.
    fn list(&self, asked: &Asked) -> Answer {
        let text = |name: &str| asked.query.get(name).map(String::as_str).unwrap_or_default();
        let (prefix, after) = (text("prefix"), text("continuation-token"));
        let mut rows = BTreeMap::new();
        let mut folders = BTreeSet::new();
        for (key, object) in &self.objects {
            let Some(below) = key.strip_prefix(prefix) else { continue };
            match below.split_once(text("delimiter")).filter(|_| !text("delimiter").is_empty()) {
                Some((folder, _)) => {
                    folders.insert(format!("{prefix}{folder}/"));
                }
                None => {
                    let modified = object.modified.to_rfc3339();
                    let row = format!(
                        "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified>\
                         <ETag>{}</ETag><Size>{}</Size></Contents>",
                        object.tag(),
                        object.bytes.len()
                    );
                    rows.insert(key.clone(), row);
                }
            }
        }
        rows.extend(folders.into_iter().map(|folder| {
            let row = format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
            (folder, row)
        }));
        rows.retain(|key, _| key.as_str() > after);
        let mut page: String = rows.values().take(PAGE).cloned().collect();
        if let Some(last) = rows.keys().nth(PAGE - 1).filter(|_| rows.len() > PAGE) {
            page += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
        }
        told(200, &format!("<ListBucketResult>{page}</ListBucketResult>"))
    }
}

fn describe(answer: &mut Answer, object: &Object) {
    set(answer, "etag", &object.tag());
    set(answer, "x-goog-generation", &object.generation.to_string());
    set(answer, "last-modified", &httpdate::fmt_http_date(object.modified.into()));
}

fn fault(status: u16, code: &str) -> Answer {
    told(status, &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

fn told(status: u16, text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    answer
}
