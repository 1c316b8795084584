//! git over smart HTTP, as a person would keep notes with it: commit everything, push, pull. Its
//! housekeeping is off, which is in its favour.

use super::{Peer, Scripts};
use crate::servers::Wire;

/// Who commits, and no housekeeping.
macro_rules! settings {
    () => {
        "git config --global user.name ann && git config --global user.email ann@example.org && \
         git config --global gc.auto 0 && git config --global maintenance.auto false"
    };
}

pub(super) const GIT: Peer = Peer {
    name: "git over HTTP",
    needs: &["git"],
    wire: Wire::Git,
    has_requests: true,
    per_note: false,
    scripts: Scripts {
        connect: concat!(
            settings!(),
            " && git init -q --bare -b main \"$SERVER/notes.git\" && git init -q -b main && \
             git remote add origin \"http://$ADDRESS/notes.git\""
        ),
        upload: "git add -A && git commit -qm notes && git push -qu origin main",
        join: settings!(),
        bootstrap: "git clone -q \"http://$ADDRESS/notes.git\" .",
        idle: "git add -A && git diff --cached --quiet && git pull -q --ff-only",
        send: "git add -A && git commit -qm edit && git push -q",
        receive: "git pull -q --ff-only",
        daemon: None,
    },
};
