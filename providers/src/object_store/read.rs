//! Reading and listing.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use ::object_store::{
    GetRange, GetResult, ObjectMeta,
    list::{PaginatedListOptions, PaginatedListResult},
    path::Path,
};
use futures::TryStreamExt;
use reqwest::StatusCode;

use super::{
    Bucket, Service,
    http::{Seen, watched},
};
use crate::{
    Entry, Error, ErrorKind, Get, GetOptions, Listing, Object, RemotePath, Result, Version,
    http::{Names, PAGES_MAX, causes, fields},
};

impl Bucket {
    pub(super) async fn open(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let asked = ::object_store::GetOptions {
            range: options.range.as_ref().map(|range| GetRange::Bounded(fields::askable(range))),
            if_none_match: options.if_none_match.map(|version| self.tag_of(version)),
            ..Default::default()
        };
        let key = self.key(path);
        let (got, seen) = watched(true, self.store.get_opts(&key, asked)).await;
        let wanted = options.range;
        match (got, wanted) {
            (Ok(result), wanted) => Ok(Get::Object(self.object(path, result, wanted, &seen))),
            (Err(::object_store::Error::NotModified { .. }), _) => Ok(Get::NotModified),
            (Err(_), Some(range)) if seen.status == Some(StatusCode::RANGE_NOT_SATISFIABLE) => {
                Ok(Get::Object(Object::nothing(range.start, None, seen.server_time)))
            }
            (Err(error), _) => Err(self.failure("get", path, &error, &seen)),
        }
    }

    fn object(
        &self,
        path: &RemotePath,
        result: GetResult,
        wanted: Option<Range<u64>>,
        seen: &Seen,
    ) -> Object {
        let version = self.version(result.meta.e_tag.clone(), result.meta.version.clone());
        if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.is_empty()) {
            return Object::nothing(wanted.start, version, seen.server_time);
        }
        let range = result.range.clone();
        let told = Told { path: path.clone(), host: self.host.clone() };
        let body = result.into_stream().map_err(move |error| told.broken(&error));
        Object {
            version,
            bytes: Some(range.end.saturating_sub(range.start)),
            range: wanted.map(|_| range),
            server_time: seen.server_time,
            body: Box::pin(body),
        }
    }

    /// The part of a version that a read can depend on.
    fn tag_of(&self, Version(version): Version) -> String {
        match (self.service, version.split_once(' ')) {
            (Service::Gcs, Some((_, tag))) => tag.to_owned(),
            _ => version,
        }
    }

    pub(super) async fn entries(&self, folder: &RemotePath) -> Result<Listing> {
        let here = self.key(folder);
        let prefix = Some(format!("{here}/")).filter(|prefix| prefix != "/");
        let mut found = Found {
            folder,
            here: &here,
            entries: BTreeMap::new(),
            foreign: Vec::new(),
            names: Names::default(),
        };
        let mut page_token = None;
        for _ in 0..PAGES_MAX {
            let asked = PaginatedListOptions {
                delimiter: Some(Cow::Borrowed("/")),
                page_token: page_token.take(),
                ..Default::default()
            };
            let asking = self.store.list_paginated(prefix.as_deref(), asked);
            let (listed, seen) = watched(false, asking).await;
            let listed = listed.map_err(|error| self.failure("list", folder, &error, &seen))?;
            page_token = listed.page_token.clone();
            found.take(self, listed);
            if found.names.are_too_many() {
                break;
            }
            if page_token.is_none() {
                return Ok(found.listing(&seen));
            }
        }
        let detail = found.names.refusal(&self.host);
        Err(Error::new(ErrorKind::TooLarge, "list", folder, detail))
    }
}

/// What a listing has told so far.
struct Found<'a> {
    folder: &'a RemotePath,
    here: &'a Path,
    entries: BTreeMap<RemotePath, Entry>,
    foreign: Vec<String>,
    names: Names,
}

impl Found<'_> {
    fn take(&mut self, bucket: &Bucket, listed: PaginatedListResult) {
        for ObjectMeta { location, last_modified, size, e_tag, version } in listed.result.objects {
            let version = bucket.version(e_tag, version);
            // The path is kept twice while pages come.
            let version_bytes = version.as_ref().map_or(0, |version| version.0.len());
            self.names.add(2 * location.as_ref().len() + version_bytes);
            let Some(path) = self.place(&location) else { continue };
            let entry = Entry {
                path: path.clone(),
                is_folder: false,
                bytes: Some(size),
                version,
                modified: Some(last_modified),
            };
            self.entries.insert(path, entry);
        }
        for location in listed.result.common_prefixes {
            self.names.add(2 * location.as_ref().len());
            let Some(path) = self.place(&location) else { continue };
            let (bytes, version, modified) = (None, None, None);
            let entry = Entry { path: path.clone(), is_folder: true, bytes, version, modified };
            self.entries.entry(path).or_insert(entry);
        }
    }

    /// Where it lies, unless it is the folder's own mark or has a name that is not one of ours.
    fn place(&mut self, location: &Path) -> Option<RemotePath> {
        let name = location.filename().filter(|_| location != self.here)?;
        let path = self.folder.join(name).ok().filter(|_| !name.contains('/'));
        if path.is_none() {
            self.foreign.push(name.to_owned());
        }
        path
    }

    fn listing(mut self, seen: &Seen) -> Listing {
        self.foreign.sort();
        Listing {
            entries: self.entries.into_values().collect(),
            foreign: self.foreign,
            server_time: seen.server_time,
        }
    }
}

/// What an error in the middle of a file has to tell.
struct Told {
    path: RemotePath,
    host: String,
}

impl Told {
    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        let ours = causes(error).find_map(|cause| cause.downcast_ref::<Error>());
        let (kind, detail) = match ours {
            Some(ours) => (ours.kind(), ours.detail().to_owned()),
            None => (ErrorKind::Unreachable, format!("the connection to {} broke", self.host)),
        };
        Error::new(kind, "get", &self.path, detail)
    }
}
