//! Reading, listing, and waiting for changes.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use reqwest::{
    Response, StatusCode,
    header::{HeaderName, IF_NONE_MATCH, RANGE},
};
use serde_json::json;

use super::{
    Dropbox,
    hash::ContentHash,
    json::{Cursor, Metadata, Page, Waited},
    wire::{Call, Style},
};
use crate::{
    Entry, Error, ErrorKind, Get, GetOptions, Listing, Object, RemotePath, Result, Version,
    http::{Names, PAGES_MAX, STORY_BYTES_MAX, fields},
    sync::lock,
};

/// The least time between two waits for changes, and the longest that Dropbox can ask for.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
const WATCH_PAUSE_MAX: Duration = Duration::from_hours(1);

impl Dropbox {
    pub(super) async fn open(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let wanted = options.range;
        let mut headers = Vec::new();
        if let Some(range) = &wanted {
            headers.push((RANGE, fields::range(range)));
        }
        if let Some(Version(rev)) = &options.if_none_match {
            // The entity tag is the revision, marked as weak; that it is so stands in no document,
            // and nothing depends on it: the revision that comes is looked at too.
            headers.push((IF_NONE_MATCH, format!("W/\"{rev}\"")));
        }
        let mut call = Call::rpc("get", path, "files/download", json!({ "path": self.key(path) }));
        (call.style, call.headers) = (Style::Download, headers);
        let response = match self.wire.send(&call).await? {
            Ok(response) => response,
            Err(fault) => return Err(self.wire.refused(&call, &fault)),
        };
        match (response.status(), wanted) {
            (StatusCode::NOT_MODIFIED, _) => {
                self.wire.finish(response).await;
                Ok(Get::NotModified)
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(range)) => {
                let server_time = fields::server_time(response.headers());
                let object = Object::nothing(range.start, None, server_time);
                self.wire.finish(response).await;
                Ok(Get::Object(object))
            }
            (_, wanted) => self.object(&call, response, wanted, options.if_none_match).await,
        }
    }

    async fn object(
        &self,
        call: &Call<'_>,
        response: Response,
        wanted: Option<Range<u64>>,
        known: Option<Version>,
    ) -> Result<Get> {
        let metadata = result_of(&response);
        let no_result = "Dropbox does not tell what file it sends";
        let metadata = metadata.ok_or_else(|| call.error(ErrorKind::Protocol, no_result))?;
        let version = metadata.rev.clone().map(Version);
        if known.is_some() && known == version {
            // Dropbox sent all of it although nothing is new.
            if metadata.size.is_some_and(|bytes| bytes <= STORY_BYTES_MAX) {
                self.wire.finish(response).await;
            }
            return Ok(Get::NotModified);
        }
        let server_time = fields::server_time(response.headers());
        let range = match wanted.filter(|_| response.status() == StatusCode::PARTIAL_CONTENT) {
            Some(wanted) => {
                let covered = fields::covered(response.headers(), &wanted);
                let another = "Dropbox answered with another range";
                let covered = covered.ok_or_else(|| call.error(ErrorKind::Protocol, another))?;
                if wanted.is_empty() {
                    return Ok(Get::Object(Object::nothing(wanted.start, version, server_time)));
                }
                Some(covered)
            }
            None => None,
        };
        let bytes = match &range {
            Some(range) => Some(range.end - range.start),
            None => metadata.size.or_else(|| fields::length(response.headers())),
        };
        let incoming = self.wire.transport.incoming("get", call.path, response, u64::MAX);
        let body = match metadata.content_hash.filter(|_| range.is_none()) {
            Some(hash) => proven(call.path.clone(), incoming, hash),
            None => incoming,
        };
        Ok(Get::Object(Object { version, bytes, range, server_time, body }))
    }

    pub(super) async fn entries(&self, folder: &RemotePath) -> Result<Listing> {
        let (mut listing, mut names) = (Listing::default(), Names::default());
        let mut call = Call::rpc(
            "list",
            folder,
            "files/list_folder",
            json!({ "path": self.key(folder), "recursive": false }),
        );
        for _ in 0..PAGES_MAX {
            let sent = self.wire.send(&call).await?;
            let response = sent.map_err(|fault| self.wire.refused(&call, &fault))?;
            listing.server_time = fields::server_time(response.headers());
            let page: Page = self.wire.read(&call, response).await?;
            for metadata in page.entries {
                let rev = metadata.rev.as_ref().map_or(0, String::len);
                names.add(folder.as_str().len() + metadata.name.len() + rev);
                take(&mut listing, folder, metadata);
            }
            if names.are_too_many() {
                break;
            }
            if !page.has_more {
                listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
                listing.foreign.sort();
                return Ok(listing);
            }
            call.route = "files/list_folder/continue";
            call.arg = json!({ "cursor": page.cursor });
        }
        Err(Error::new(ErrorKind::TooLarge, "list", folder, names.refusal("Dropbox")))
    }

    /// What lies at `path`, if anything does.
    pub(super) async fn look(
        &self,
        operation: &'static str,
        path: &RemotePath,
    ) -> Result<Option<Metadata>> {
        let arg = json!({ "path": self.key(path) });
        let call = Call::rpc(operation, path, "files/get_metadata", arg);
        match self.wire.send(&call).await? {
            Ok(response) => Ok(Some(self.wire.read(&call, response).await?)),
            Err(fault) if fault.has("not_found") => Ok(None),
            Err(fault) => Err(self.wire.refused(&call, &fault)),
        }
    }

    /// Comes back when something changed in the remote's folder itself, where the head lies. What
    /// happened since the last call is not missed: its cursor was taken before that call returned.
    pub(super) async fn watch(&self) -> Result<()> {
        let root = RemotePath::root();
        let pause = lock(&self.watching).pause;
        tokio::time::sleep(pause).await;
        let known = {
            let mut watching = lock(&self.watching);
            watching.pause = Duration::ZERO;
            watching.cursor.clone()
        };
        let cursor = match known {
            Some(cursor) => cursor,
            None => self.latest().await?,
        };
        loop {
            let arg = json!({ "cursor": cursor, "timeout": self.wire.config.watch.as_secs() });
            let mut call = Call::rpc("watch", &root, "files/list_folder/longpoll", arg);
            call.style = Style::Watch;
            let (changes, backoff) = match self.wire.send(&call).await? {
                Ok(response) => {
                    let waited: Waited = self.wire.read(&call, response).await?;
                    (waited.changes, waited.backoff.map(Duration::from_secs))
                }
                // Whatever happened meanwhile, the caller had better look.
                Err(fault) if fault.has("reset") => (true, None),
                Err(fault) => return Err(self.wire.refused(&call, &fault)),
            };
            let pause = backoff.unwrap_or_default().clamp(WATCH_PAUSE, WATCH_PAUSE_MAX);
            if changes {
                self.latest().await?;
                lock(&self.watching).pause = pause;
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// A cursor of how the folder is now, kept for the next wait.
    async fn latest(&self) -> Result<String> {
        let root = RemotePath::root();
        let arg = json!({ "path": self.key(&root), "recursive": false });
        let call = Call::rpc("watch", &root, "files/list_folder/get_latest_cursor", arg);
        let latest: Cursor = self.wire.ask(&call).await?;
        lock(&self.watching).cursor = Some(latest.cursor.clone());
        Ok(latest.cursor)
    }
}

/// What the answer to a download says of the file, in a header field.
fn result_of(response: &Response) -> Option<Metadata> {
    let name = HeaderName::from_static("dropbox-api-result");
    serde_json::from_slice(response.headers().get(name)?.as_bytes()).ok()
}

/// Takes one row of a listing. Dropbox folds case: the name that counts is the folded one, whatever
/// somebody else wrote there.
fn take(listing: &mut Listing, folder: &RemotePath, metadata: Metadata) {
    let is_folder = match metadata.tag.as_str() {
        "file" => false,
        "folder" => true,
        _ => return,
    };
    let folded = metadata.path_lower.as_deref().and_then(|path| path.rsplit('/').next());
    let name = folded.unwrap_or(&metadata.name);
    let Some(path) = folder.join(name).ok().filter(|_| !name.is_empty() && !name.contains('/'))
    else {
        listing.foreign.push(metadata.name);
        return;
    };
    listing.entries.push(Entry {
        path,
        is_folder,
        bytes: metadata.size,
        version: metadata.rev.map(Version),
        modified: metadata.server_modified,
    });
}

/// `body`, which ends in an error if it was not what has this content hash.
fn proven(
    path: RemotePath,
    body: BoxStream<'static, Result<Bytes>>,
    wanted: String,
) -> BoxStream<'static, Result<Bytes>> {
    let state = (body, ContentHash::default(), path, wanted);
    stream::try_unfold(state, async |(mut body, mut hash, path, wanted)| {
        let Some(chunk) = body.try_next().await? else {
            if hash.finish() == wanted {
                return Ok(None);
            }
            let detail = "other bytes arrived than Dropbox has";
            return Err(Error::new(ErrorKind::Protocol, "get", &path, detail));
        };
        hash.update(&chunk);
        Ok(Some((chunk, (body, hash, path, wanted))))
    })
    .boxed()
}
