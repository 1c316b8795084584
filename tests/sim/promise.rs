//! What larder promises, by the names under which the simulation finds it broken.

use std::fmt;

/// A promise; the numbers are those of the table in `docs/testing.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// 1: an edit stays, in the remote or with its maker, until somebody replaces it who saw it.
    EditsStay,
    /// 1: nobody claims to know an edit that they do not have.
    HonestClaims,
    /// 2: in the end all replicas, and all vaults, hold the same.
    Convergence,
    /// 3: the head names only files that are there and whole.
    WholeHead,
    /// 4: no crash and no fault leaves anything that the next turn does not get over by itself.
    NoHelp,
    /// 5: no file is deleted that the head names, or named until a moment ago.
    NamedFilesStay,
    /// 6: what was deleted or replaced stays so, but for edits that had not seen it.
    NoResurrection,
    /// 7: what a merge or a deletion took out of sight is listed and comes back.
    Restorable,
    /// 8: what lies on the remote does no harm outside of vaults, and keeps nobody busy for ever.
    Harmless,
    /// Nothing panics, whatever happens.
    NoPanic,
}

/// A promise that was broken, and how.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) promise: Promise,
    pub(crate) detail: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.detail)
    }
}

/// Whether all is well.
pub(crate) type Verdict<T = ()> = Result<T, Broken>;

impl Promise {
    /// The promise, broken in this way.
    pub(crate) fn broken(self, detail: impl Into<String>) -> Broken {
        Broken { promise: self, detail: detail.into() }
    }

    /// Broken if anything is found.
    pub(crate) fn holds_unless(self, found: Vec<String>) -> Verdict {
        if found.is_empty() { Ok(()) } else { Err(self.broken(found.join("\n"))) }
    }
}
