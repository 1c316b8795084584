//! larder itself: the binary of this very build.

use super::{Peer, Scripts};
use crate::servers::Wire;

pub(super) const LARDER: Peer = Peer {
    name: super::LARDER,
    needs: &[],
    wire: Wire::WebDav,
    has_requests: true,
    per_note: false,
    scripts: Scripts {
        connect: "exec \"$LARDER\" init --remote \"webdav://$ADDRESS/notes\" --device laptop",
        upload: SYNC,
        join: "exec \"$LARDER\" init --remote \"webdav://$ADDRESS/notes\" --device phone",
        bootstrap: SYNC,
        idle: SYNC,
        send: SYNC,
        receive: SYNC,
        // It is stopped before it would end by itself.
        daemon: Some("timeout -s INT 4 \"$LARDER\" daemon --interval 1s || test $? = 124"),
    },
};

const SYNC: &str = "exec \"$LARDER\" sync --json";
