//! Those who take part: what each needs and what it runs for each work.
//!
//! Every script runs in the folder of the device's notes. `$ADDRESS` is the proxy before the peer's
//! server, `$SERVER` the server's folder, `$HOME` the device's own.

mod git;
mod larder;
mod limit;
mod mirrors;
mod rclone;

use std::path::Path;

use crate::{sample::Work, servers::Wire};

/// The one all this is about.
pub(crate) const LARDER: &str = "larder";

/// What its scan is held against.
pub(crate) const FIND: &str = "find -newer";

/// What moving the bytes takes at the very least.
pub(crate) const LIMIT: &str = "tar+zstd+PUT (limit)";

/// A program, or a way to use it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The programs it needs.
    needs: &'static [&'static str],
    pub(crate) wire: Wire,
    /// Whether it speaks HTTP, so that requests can be counted and held back.
    pub(crate) has_requests: bool,
    /// Whether it makes requests for every note.
    pub(crate) per_note: bool,
    scripts: Scripts,
}

/// Shell scripts. What larder has no part in needs none.
#[derive(Debug)]
struct Scripts {
    connect: &'static str,
    upload: &'static str,
    join: &'static str,
    bootstrap: &'static str,
    idle: &'static str,
    send: &'static str,
    receive: &'static str,
    daemon: Option<&'static str>,
}

/// In the order of the table.
const ALL: [&Peer; 7] = [
    &larder::LARDER,
    &git::GIT,
    &rclone::SYNC,
    &rclone::BISYNC,
    &mirrors::UNISON,
    &mirrors::RSYNC,
    &limit::LIMIT,
];

/// All peers, or those whose names begin with one of these words.
pub(crate) fn chosen(words: &[String]) -> anyhow::Result<Vec<&'static Peer>> {
    let wanted =
        |peer: &&Peer| words.is_empty() || words.iter().any(|word| peer.name.starts_with(&**word));
    let chosen: Vec<_> = ALL.into_iter().filter(wanted).collect();
    let names = || ALL.map(|peer| peer.name).join(", ");
    anyhow::ensure!(!chosen.is_empty(), "none of {words:?} is a peer; there are {}", names());
    Ok(chosen)
}

impl Peer {
    /// The first program that it needs and that is not there.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        self.needs.iter().find(|program| !is_installed(program)).copied()
    }

    /// What it does for this work.
    pub(crate) fn script(&self, work: Work) -> Option<&'static str> {
        let scripts = &self.scripts;
        match work {
            Work::Connect => Some(scripts.connect),
            Work::Upload => Some(scripts.upload),
            Work::Join => Some(scripts.join),
            Work::Bootstrap => Some(scripts.bootstrap),
            Work::Idle => Some(scripts.idle),
            Work::SendOne | Work::SendMany => Some(scripts.send),
            Work::ReceiveOne | Work::ReceiveMany => Some(scripts.receive),
            Work::Daemon => scripts.daemon,
            Work::Scan => None,
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .any(|dir: std::path::PathBuf| Path::new(&dir).join(program).exists())
}
