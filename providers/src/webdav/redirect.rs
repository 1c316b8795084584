//! What becomes of a redirect.
//!
//! Followed is only what stays at the same scheme, host and port and leads to the same file below
//! another folder, as when a server has moved its WebDAV to `/remote.php/dav`; with the same
//! method and the same body. Everything else gets neither account nor data and is told.

use reqwest::{Response, header::LOCATION};
use url::Url;

use super::{client::Call, config::forget_account};
use crate::{
    Error, ErrorKind, Result,
    http::{self, fields},
};

/// Where to go on.
pub(super) struct Hop {
    /// The address to ask.
    pub(super) url: Url,
    /// The folder of the remote, as the server calls it there.
    pub(super) base: Url,
}

/// The way on from `from`, the address of `call` below `base`.
pub(super) fn follow(call: &Call<'_>, base: &Url, from: &Url, response: &Response) -> Result<Hop> {
    let location = fields::text(response.headers(), LOCATION).unwrap_or_default();
    let mut to = from
        .join(location)
        .map_err(|error| call.error(ErrorKind::Protocol, "a broken redirect").with_source(error))?;
    forget_account(&mut to);
    let has_query = to.query().is_some();
    to.set_query(None);
    to.set_fragment(None);
    match moved_base(base, from, &to) {
        Some(base) if to.origin() == from.origin() && !has_query => Ok(Hop { url: to, base }),
        moved => {
            let path = |base: &Url| base.path().trim_end_matches('/').to_owned();
            let same = moved.filter(|moved| path(moved) == path(base));
            Err(elsewhere(call, from, &to, same.as_ref()))
        }
    }
}

/// The folder of the remote if `to` is in it what `from` is in `base`.
fn moved_base(base: &Url, from: &Url, to: &Url) -> Option<Url> {
    let old = base.path().trim_end_matches('/');
    let below = from.path().strip_prefix(old)?.trim_end_matches('/');
    let new = to.path().trim_end_matches('/').strip_suffix(below)?;
    // Of the folder itself only its name tells it from a login form.
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    if below.is_empty() && name(new) != name(old) {
        return None;
    }
    let mut base = to.clone();
    base.set_path(&format!("{new}/"));
    Some(base)
}

/// Of the new address only scheme and host are told: a path may be a token as well as a query. Our own
/// is none.
fn elsewhere(call: &Call<'_>, from: &Url, to: &Url, base: Option<&Url>) -> Error {
    let in_the_open = from.scheme() == "https" && to.scheme() == "http";
    let end = if in_the_open { ", which is not encrypted" } else { "" };
    let place = http::place(to) + base.map_or("", Url::path);
    call.error(ErrorKind::Moved, &format!("the server sends us elsewhere, to {place}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_moved_if_what_lies_in_it_keeps_its_place() {
        let url = |text: &str| Url::parse("https://host/").unwrap().join(text).unwrap();
        let moved = |base: &str, from: &str, to: &str| {
            moved_base(&url(base), &url(from), &url(to)).map(|url| url.path().to_owned())
        };
        assert_eq!(moved("/dav", "/dav/a", "/new/dav/a").as_deref(), Some("/new/dav/"));
        assert_eq!(moved("/dav/", "/dav/head/a", "/x/head/a").as_deref(), Some("/x/"));
        assert_eq!(moved("/", "/head/", "/dav/head").as_deref(), Some("/dav/"));
        assert_eq!(moved("/dav", "/dav/", "/new/dav/").as_deref(), Some("/new/dav/"));
        assert_eq!(moved("/dav/", "/dav/head", "/dav/head/").as_deref(), Some("/dav/"));
        assert_eq!(moved("/dav", "/dav/head/a", "/x/a"), None, "another place");
        assert_eq!(moved("/dav", "/dav/", "/login"), None, "a login form");
        assert_eq!(moved("/dav", "/dav/a", "/dav/ba"), None, "another name");
        assert_eq!(moved("/", "/", "/login"), None);
    }
}
