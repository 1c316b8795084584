//! Programs that need themselves on the other side, each over a protocol of its own: rsync, which
//! knows one direction, and unison, which knows both. Their bytes are counted; requests they have
//! none, so there is nothing to hold back.

use super::{Peer, Scripts};
use crate::servers::Wire;

const PUSH: &str = "exec rsync -a --delete ./ \"rsync://$ADDRESS/notes/\"";
const PULL: &str = "exec rsync -a --delete \"rsync://$ADDRESS/notes/\" ./";

pub(super) const RSYNC: Peer = Peer {
    name: "rsync",
    needs: &["rsync"],
    wire: Wire::Rsync,
    has_requests: false,
    per_note: false,
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

const BOTH: &str = "exec unison . \"socket://$ADDRESS/$SERVER/notes\" -ui text -batch -silent -confirmbigdel=false";

pub(super) const UNISON: Peer = Peer {
    name: "unison",
    needs: &["unison"],
    wire: Wire::Unison,
    has_requests: false,
    per_note: false,
    scripts: Scripts {
        connect: "true",
        upload: BOTH,
        join: "true",
        bootstrap: BOTH,
        idle: BOTH,
        send: BOTH,
        receive: BOTH,
        daemon: None,
    },
};
