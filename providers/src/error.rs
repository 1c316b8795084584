//! What can go wrong between here and the storage: a kind to react to, and the story for people.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::RemotePath;

/// The result of a provider's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller reacts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file or folder is not there.
    NotFound,
    /// The account or its password was refused (401).
    Unauthorized,
    /// A login that was good once has ended: it was revoked, or is of another program.
    LoggedOut,
    /// The account may not do this (403).
    Forbidden,
    /// The server asks for patience (429, 503), perhaps saying for how long.
    Throttled {
        /// The server's own `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The storage is full (507, `ENOSPC`, quota).
    Full,
    /// The file is locked or being written by somebody else (423, 409, 425).
    Busy,
    /// No connection, a time-out, or a connection that broke: whether a write happened is unknown.
    Unreachable,
    /// A fault of the server (500, 502, 504): whether a write happened is unknown.
    Server,
    /// The file on this device is not, or no longer, what was to be sent.
    Changed,
    /// What lies there is not what was written, or was not written for this place.
    Damaged,
    /// The answer was longer than the caller allows.
    TooLarge,
    /// The answer makes no sense: wrong length, broken XML.
    Protocol,
    /// The server sends us to another address, which is not followed.
    Moved,
    /// The storage cannot do this at all.
    Unsupported,
    /// The URL, the certificate or a setting is wrong.
    Config,
}

impl ErrorKind {
    /// Whether the same call may succeed a little later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Busy | Self::Unreachable | Self::Server)
    }
}

/// A failed call: what was tried, on which path, and why it failed.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    path: RemotePath,
    detail: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` in `operation` on `path`; `detail` says what was seen, for people.
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        path: &RemotePath,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, operation, path: path.clone(), detail: detail.into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, told of the path that the caller knows.
    #[must_use]
    pub fn about(mut self, path: &RemotePath) -> Self {
        self.path = path.clone();
        self
    }

    /// What the caller reacts to.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        self.kind.is_temporary()
    }

    /// Whether the file or folder is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// The call that failed: `get`, `put`, `delete`, `list`, `move`, `make_folder`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What was seen, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The path it failed on.
    pub fn path(&self) -> &RemotePath {
        &self.path
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.path, self.detail)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
