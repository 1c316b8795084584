//! rclone with its own settings: `sync`, which knows one direction, and `bisync`, which knows both.
//! Over plain WebDAV it sees neither times nor hashes, and `sync` tells changes by the size. `bisync`
//! refuses to work like that; it is told that the server is an ownCloud, from which it takes the
//! server's times as those of the notes.

use super::{Peer, Scripts};
use crate::servers::Wire;

macro_rules! rclone {
    ($($words:literal),*) => {
        concat!("exec rclone --config \"$HOME/none\" --webdav-url \"http://$ADDRESS\" " $(, $words)*)
    };
}

const PUSH: &str = rclone!("sync . :webdav:notes");
const PULL: &str = rclone!("sync :webdav:notes .");

pub(super) const SYNC: Peer = Peer {
    name: "rclone sync",
    needs: &["rclone"],
    wire: Wire::WebDav,
    has_requests: true,
    per_note: true,
    scripts: Scripts {
        connect: "true",
        upload: PUSH,
        join: "true",
        bootstrap: PULL,
        idle: PUSH,
        send: PUSH,
        receive: PULL,
        daemon: None,
    },
};

macro_rules! bisync {
    ($words:literal) => {
        rclone!(
            "bisync . :webdav:notes --webdav-vendor owncloud --workdir \"$HOME/bisync\"",
            $words
        )
    };
}

const FIRST: &str = bisync!(" --resync");
const BOTH: &str = bisync!("");

pub(super) const BISYNC: Peer = Peer {
    name: "rclone bisync",
    scripts: Scripts {
        connect: rclone!("mkdir :webdav:notes"),
        upload: FIRST,
        join: "true",
        bootstrap: FIRST,
        idle: BOTH,
        send: BOTH,
        receive: BOTH,
        daemon: None,
    },
    ..SYNC
};
