//! Listing folders over WebDAV.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use reqwest::{Response, StatusCode, header::HeaderName};
use url::Url;

use super::{
    client::{Call, Client},
    multistatus::{self, Resource},
};
use crate::{Body, Entry, ErrorKind, Listing, RemotePath, Result, http::fields};

/// What is asked about files: exactly what is needed, for `allprop` would double the answer.
const DETAILS: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/><D:getcontentlength/>\
    <D:getlastmodified/><D:getetag/></D:prop></D:propfind>";

/// What is asked where names will do. A turn in which nothing happens is this and its answer.
const NAMES: &str = "<?xml version=\"1.0\"?>\
    <D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/></D:prop></D:propfind>";

impl Client {
    pub(super) async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.list_as_told(propfind("list", folder, "1", DETAILS)).await
    }

    pub(super) async fn list_names(&self, folder: &RemotePath) -> Result<Listing> {
        self.list_as_told(propfind("list", folder, "1", NAMES)).await
    }

    async fn list_as_told(&self, mut call: Call<'_>) -> Result<Listing> {
        let response = self.find(&mut call).await?;
        if response.status() != StatusCode::MULTI_STATUS {
            return Err(self.no_listing(&call, response).await);
        }
        let server_time = fields::server_time(response.headers());
        let url = response.url().clone();
        let resources = self.resources(&call, response).await?;
        let mut listing = listing(&url, call.path, resources)
            .map_err(|detail| call.error(ErrorKind::Protocol, &detail))?;
        listing.server_time = server_time;
        Ok(listing)
    }

    /// Whether there is something at `path`.
    pub(super) async fn exists(
        &self,
        operation: &'static str,
        path: &RemotePath,
        folder: bool,
    ) -> Result<bool> {
        let mut call = propfind(operation, path, "0", NAMES);
        call.folder = folder;
        let response = self.find(&mut call).await?;
        match response.status() {
            StatusCode::MULTI_STATUS => {
                let resources = self.resources(&call, response).await?;
                Ok(!resources.iter().all(Resource::is_missing))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                self.finish(response).await;
                Ok(false)
            }
            _ => Err(self.no_listing(&call, response).await),
        }
    }

    /// Asks, and once more in the usual words if the server does not understand so short a question.
    async fn find(&self, call: &mut Call<'_>) -> Result<Response> {
        let response = self.send(call).await?;
        if response.status() != StatusCode::BAD_REQUEST {
            return Ok(response);
        }
        self.finish(response).await;
        call.body = Some(Body::from(DETAILS.as_bytes()));
        self.send(call).await
    }

    async fn resources(&self, call: &Call<'_>, response: Response) -> Result<Vec<Resource>> {
        let answer = self.transport.read(call.operation, call.path, response).await?;
        multistatus::parse(&answer).map_err(|words| {
            let detail = format!("the listing cannot be read: {words}");
            call.error(ErrorKind::Protocol, &detail)
        })
    }

    async fn no_listing(&self, call: &Call<'_>, response: Response) -> crate::Error {
        let error = if response.status().is_success() {
            let detail = "the server answered with something else than a listing: not WebDAV?";
            call.error(ErrorKind::Protocol, detail)
        } else {
            self.failure(call.operation, call.path, &response)
        };
        self.finish(response).await;
        error
    }
}

/// Reads a listing of `folder`, which lies at `url`, as if a server had answered with it.
#[cfg(feature = "fuzzing")]
pub fn read_listing(url: &str, folder: &RemotePath, answer: &[u8]) -> Result<Listing, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    listing(&url, folder, multistatus::parse(answer)?)
}

fn propfind<'a>(
    operation: &'static str,
    path: &'a RemotePath,
    depth: &str,
    wanted: &'static str,
) -> Call<'a> {
    let header = HeaderName::from_static;
    Call {
        operation,
        path,
        method: "PROPFIND",
        folder: true,
        headers: vec![
            (header("depth"), depth.to_owned()),
            (header("content-type"), "application/xml; charset=utf-8".to_owned()),
        ],
        destination: None,
        body: Some(Body::from(wanted.as_bytes())),
    }
}

/// What lies directly in `folder`, whose address is `url`. Other addresses are passed over; an
/// answer about other addresses only must not look like an empty folder.
fn listing(url: &Url, folder: &RemotePath, resources: Vec<Resource>) -> Result<Listing, String> {
    let here = segments(url.path());
    let (mut entries, mut foreign) = (BTreeMap::new(), Vec::new());
    let mut elsewhere = None;
    let mut about_us = resources.is_empty();
    for resource in resources {
        let Some(there) = segments_of(url, &resource.href) else {
            continue;
        };
        let Some(below) = there.strip_prefix(here.as_slice()) else {
            elsewhere = Some(resource.href);
            continue;
        };
        about_us = true;
        let [name] = below else { continue };
        if resource.is_missing() || name == "." || name == ".." {
            continue;
        }
        match folder.join(name) {
            // A slash in one name is an escaped one, `%2F`.
            Ok(path) if !name.contains('/') => {
                entries.insert(path.clone(), entry(path, resource));
            }
            _ => foreign.push(name.clone()),
        }
    }
    if let Some(href) = elsewhere.filter(|_| !about_us) {
        return Err(format!("the server lists other addresses than asked for, such as {href}"));
    }
    foreign.sort();
    Ok(Listing { entries: entries.into_values().collect(), foreign, server_time: None })
}

fn entry(path: RemotePath, resource: Resource) -> Entry {
    let is_folder = resource.is_folder;
    Entry {
        path,
        is_folder,
        bytes: resource.bytes.filter(|_| !is_folder),
        version: resource.version.filter(|_| !is_folder),
        modified: resource.modified,
    }
}

/// The decoded parts of the path that `href` leads to: a path, a whole address, or relative. Hosts
/// are not compared, because servers behind a proxy do not know their own.
fn segments_of(base: &Url, href: &str) -> Option<Vec<String>> {
    if href.is_empty() {
        return None;
    }
    if href.starts_with('/') {
        return Some(segments(href));
    }
    Some(segments(base.join(href).ok()?.path()))
}

fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(hrefs: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let url = Url::parse("https://host/my%20dav/notes/head/").unwrap();
        let resource = |href: &&str| Resource { href: (*href).to_owned(), ..Resource::default() };
        let resources = hrefs.iter().map(resource).collect();
        let listing = listing(&url, &RemotePath::new("head").unwrap(), resources)?;
        let paths = listing.entries.iter().map(|entry| entry.path.to_string()).collect();
        Ok((paths, listing.foreign))
    }

    #[test]
    fn every_way_to_write_an_address_is_understood() {
        let (entries, foreign) = listed(&[
            "/my%20dav/notes/head/",
            "/my%20dav/notes/head/b",
            "http://inner:8080/my%20dav/notes/head/a",
            "/my dav/notes/head/c/",
            "//my%20dav/notes//head/d",
            "e",
            "/%6Dy%20dav/notes/head/%66",
            "/my%20dav/notes/head/Meta%20(1).json",
            "/my%20dav/notes/head/g%2Fh",
            "/my%20dav/notes/head/x/deeper",
            "/my%20dav/notes/",
            "/my%20dav/notes/head/..",
            "",
        ])
        .unwrap();
        assert_eq!(entries, ["head/a", "head/b", "head/c", "head/d", "head/e", "head/f"]);
        assert_eq!(foreign, ["Meta (1).json", "g/h"]);
    }

    #[test]
    fn a_listing_of_somewhere_else_is_not_an_empty_folder() {
        assert!(listed(&["/remote.php/dav/head/", "/remote.php/dav/head/a"]).is_err());
        assert_eq!(listed(&[]).unwrap().0, Vec::<String>::new());
    }
}
