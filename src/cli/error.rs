//! What a failure is to the one who called: an exit code, a message, and what to do next.

use larder_providers::{Error as StorageError, ErrorKind};

use super::ui::quoted;
use crate::{
    engine::{Brake, EngineError},
    remote::RemoteError,
    seal::SealError,
    store::StoreError,
};

/// The exit codes: a contract with other programs.
pub(super) mod exit_code {
    pub(in crate::cli) const DONE: u8 = 0;
    pub(in crate::cli) const FAILED: u8 = 1;
    pub(in crate::cli) const USAGE: u8 = 2;
    pub(in crate::cli) const CONFLICTS_WAIT: u8 = 3;
    pub(in crate::cli) const UNREACHABLE: u8 = 4;
    pub(in crate::cli) const BRAKE: u8 = 5;
    pub(in crate::cli) const NEEDS_NEWER: u8 = 6;
    pub(in crate::cli) const LOCKED: u8 = 7;
    /// Added to the number of a signal, as shells do.
    pub(in crate::cli) const BY_SIGNAL: u8 = 128;
}

/// Why a command failed.
#[derive(Debug)]
pub(super) enum CliError {
    /// It was asked for something that makes no sense.
    Usage(String),
    /// Another larder uses the vault.
    Locked(String),
    /// A signal came while a person was asked.
    Interrupted(i32),
    /// The engine could not do it.
    Engine(Box<EngineError>),
    /// Anything else.
    Other(anyhow::Error),
}

impl CliError {
    /// The code to exit with.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit_code::USAGE,
            Self::Locked(_) => exit_code::LOCKED,
            Self::Other(_) => exit_code::FAILED,
            Self::Interrupted(signal) => u8::try_from(*signal)
                .map_or(exit_code::FAILED, |signal| exit_code::BY_SIGNAL | signal),
            Self::Engine(error) => code(error),
        }
    }

    /// Whether a server refused the account or its password.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Engine(error) if is_unauthorized(error))
    }

    /// A word for programs to react to.
    pub(super) fn kind(&self) -> &'static str {
        kind(self.code())
    }

    /// What happened.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Usage(text) | Self::Locked(text) => text.clone(),
            Self::Interrupted(_) => "stopped while an answer was waited for".to_owned(),
            Self::Engine(error) => message(error),
            Self::Other(error) => format!("{error:#}"),
        }
    }

    /// What to do about it, where there is something to do; `remote` is the name of that which it is
    /// about, where there are several.
    pub(super) fn hint(&self, remote: Option<&str>) -> Option<String> {
        match self {
            Self::Engine(error) => hint(error, remote),
            Self::Other(error) => seal_hint(error.downcast_ref()?, remote),
            _ => None,
        }
    }

    /// Whether it is about one remote, and not about this device, its vault or the command.
    pub(super) fn is_of_remote(&self) -> bool {
        match self {
            Self::Engine(error) => is_of_remote(error),
            Self::Other(error) => error.is::<SealError>(),
            _ => false,
        }
    }

    /// Whether a remote is gone, and all that this device knew of it.
    pub(super) fn is_of_lost_remote(&self) -> bool {
        let Self::Engine(error) = self else { return false };
        matches!(**error, EngineError::Brake(Brake::RemoteLost))
    }
}

/// The code that stands for a failure of the engine.
pub(super) fn code(error: &EngineError) -> u8 {
    match error {
        EngineError::Brake(_) => exit_code::BRAKE,
        EngineError::Remote(RemoteError::NeedsNewer { .. })
        | EngineError::Store(StoreError::TooNew { .. }) => exit_code::NEEDS_NEWER,
        error if error.is_temporary() => exit_code::UNREACHABLE,
        EngineError::NotConnected | EngineError::NoRecord { .. } => exit_code::USAGE,
        _ => exit_code::FAILED,
    }
}

/// A word for what a code stands for.
pub(super) fn kind(code: u8) -> &'static str {
    match code {
        exit_code::USAGE => "usage",
        exit_code::UNREACHABLE => "unreachable",
        exit_code::BRAKE => "brake",
        exit_code::NEEDS_NEWER => "needsNewer",
        exit_code::LOCKED => "locked",
        exit_code::BY_SIGNAL.. => "interrupted",
        _ => "failed",
    }
}

/// Whether a server refused the account or its password.
pub(super) fn is_unauthorized(error: &EngineError) -> bool {
    matches!(error, EngineError::Remote(RemoteError::Storage(error))
        if error.kind() == ErrorKind::Unauthorized)
}

/// Whether it is what a storage was opened with that it does not take.
pub(super) fn is_refusal(error: &EngineError) -> bool {
    matches!(error, EngineError::Remote(RemoteError::Storage(error))
        if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::LoggedOut))
}

/// What happened.
pub(super) fn message(error: &EngineError) -> String {
    match error {
        EngineError::Remote(RemoteError::Storage(error)) => storage_message(error),
        _ => told_with_causes(error.to_string(), std::error::Error::source(error)),
    }
}

fn is_of_remote(error: &EngineError) -> bool {
    match error {
        EngineError::Remote(_) | EngineError::NotConnected | EngineError::Raced { .. } => true,
        EngineError::Brake(brake) => !matches!(brake, Brake::Vanished { .. }),
        _ => false,
    }
}

/// The option that says which of several remotes a command is about.
pub(super) fn option(option: &str, remote: Option<&str>) -> String {
    remote.map_or_else(String::new, |name| format!(" {option} {}", quoted(name)))
}

/// What to do about it, where there is something to do; `remote` is the name of that which it is about,
/// where there are several.
pub(super) fn hint(error: &EngineError, remote: Option<&str>) -> Option<String> {
    let hint = match (error, remote) {
        (EngineError::Brake(brake), _) => return Some(brake_hint(brake, remote)),
        (EngineError::NotConnected, None) => "connect it with `larder sync --remote URL`",
        (EngineError::NotConnected, Some(_)) => {
            let of = option("--remote", remote);
            return Some(format!("if it moved: `larder remote set URL{of}`"));
        }
        (EngineError::Remote(error), _) => return remote_hint(error, remote),
        (EngineError::Store(StoreError::Full), _) => {
            "nothing is lost; free some space and sync again"
        }
        (EngineError::Store(error), _) if error.is_damage() => {
            "`larder sync` sets it aside and makes it anew from what can be read of it, from your files and from \
             the remote; no file is lost"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn seal_hint(error: &SealError, remote: Option<&str>) -> Option<String> {
    let SealError::NoKey { .. } = error else { return None };
    let text = "nothing is lost: run `larder remote passphrase` on a device that still syncs with it, which writes \
                the key anew";
    // What it is called there is not known here.
    let which = remote.map_or("", |_| " (with --remote NAME if it has several)");
    Some(format!("{text}{which}"))
}

/// Which call failed on which file says nothing where no call would have gone well; and of a
/// connection that failed only the innermost cause says something.
fn storage_message(error: &StorageError) -> String {
    let is_general = matches!(
        error.kind(),
        ErrorKind::Unauthorized
            | ErrorKind::LoggedOut
            | ErrorKind::Unreachable
            | ErrorKind::Throttled { .. }
            | ErrorKind::Config
            | ErrorKind::Moved
    );
    let mut cause = std::error::Error::source(error);
    if !is_general && !error.path().is_root() {
        return told_with_causes(error.to_string(), cause);
    }
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    told_with_causes(error.detail().to_owned(), cause)
}

fn brake_hint(brake: &Brake, remote: Option<&str>) -> String {
    let (of, only) = (option("--remote", remote), option("--only", remote));
    match brake {
        Brake::Vanished { .. } => {
            "nothing was changed. If you meant to delete them: `larder sync --accept-deletes`. If \
             not: `larder restore --missing` puts them back (or is a disk not connected?)"
                .to_owned()
        }
        Brake::Incoming(_) => {
            format!("nothing was changed. If that is meant: `larder sync --accept-deletes{only}`")
        }
        Brake::RemoteEmpty { .. } => format!(
            "nothing was changed, and nothing is taken for deleted. To fill the folder again from \
             this device: `larder sync --recreate-remote{only}`. If the remote moved: `larder remote set URL{of}`"
        ),
        Brake::RemoteLost => format!(
            "nothing was changed, and no file is lost; is a disk not connected? To make a new remote there of the \
             files of this vault: `larder sync --recreate-remote{only}`. If the remote moved: `larder remote set URL{of}`"
        ),
        Brake::Foreign { .. } => format!(
            "nothing was changed. Point the vault at its own remote with `larder remote set URL{of}`, or \
             use another folder for this vault. If both were made in one folder before a program had copied it to all \
             devices: `larder remote remove NAME`, then `larder sync --remote URL`, joins the one that is there, and \
             merges the files"
        ),
    }
}

fn remote_hint(error: &RemoteError, remote: Option<&str>) -> Option<String> {
    let of = option("--remote", remote);
    let hint = match error {
        RemoteError::Incomplete { .. } => {
            return Some(format!(
                "nothing was changed. If a program mirrors the folder, it may still be at work: try again later. If \
                 what is missing does not come, `larder check{of}` names it"
            ));
        }
        RemoteError::HeadMissing { .. } => {
            return Some(format!(
                "nothing is lost: every device has its records, and `larder check --repair{of}` on one that has synced \
                 with it makes the head anew. Was something in the folder deleted or restored?"
            ));
        }
        RemoteError::Damaged { .. } => {
            return Some(format!(
                "nothing was changed. `larder check --repair{of}` on a device that has synced with it mends what that \
                 device can"
            ));
        }
        RemoteError::NotEmpty { .. } => {
            "give an empty folder, or a new name in it: a folder that is not there is made"
        }
        RemoteError::NeedsNewer { .. } => "update larder on this device; nothing was changed",
        RemoteError::NoCommit { .. } => {
            "`--commit devices` (with `larder init` or `larder remote add`) has each device keep a file of its own, which any storage carries; \
             `larder remote probe URL` says what this one can do"
        }
        RemoteError::Storage(error) => return storage_hint(error, &of),
        _ => return None,
    };
    Some(hint.to_owned())
}

fn storage_hint(error: &StorageError, of: &str) -> Option<String> {
    let hint = match error.kind() {
        ErrorKind::Unauthorized => {
            "correct what the environment gives to open it with (`larder remote logout ADDRESS` forgets what is kept)"
        }
        ErrorKind::Moved => {
            return Some(format!(
                "nothing was sent there. If you trust that address: `larder remote set ADDRESS{of}`"
            ));
        }
        ErrorKind::LoggedOut => {
            "nothing is lost; log in again with `larder remote login dropbox:/` (or set LARDER_DROPBOX_TOKEN anew)"
        }
        ErrorKind::Forbidden => {
            "the account may not do this: give it the right to write in that folder"
        }
        ErrorKind::Full => {
            "the storage is full; what came from other devices is here, what this device has is kept and sent when there is room"
        }
        ErrorKind::Unreachable => "nothing is lost; try again later (is the address right?)",
        kind if kind.is_temporary() => "nothing is lost; try again later",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The message with those of its causes that say something new.
fn told_with_causes(mut text: String, mut cause: Option<&dyn std::error::Error>) -> String {
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<larder_providers::Error> for CliError {
    fn from(error: larder_providers::Error) -> Self {
        EngineError::from(error).into()
    }
}
