//! What can be asked for.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::model::rules::is_type_name;

/// Keeps a folder of notes, tasks and other records in step on all your devices, through storage
/// you already have.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 100)]
#[command(after_help = "Start with: larder sync ~/notes --remote webdavs://you@example.org/notes")]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,

    /// The vault; by default the one that the current folder lies in.
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) vault: Option<PathBuf>,

    /// Certificates to trust beside those of the system, in a file in the PEM format; kept in the
    /// vault's settings when it is connected.
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) ca_file: Option<PathBuf>,

    /// Print JSON: one object, or one per line for lists.
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Print nothing but errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Print more: every file and what became of it; twice: every request too.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a folder a vault and connect it to a remote.
    Init(InitArgs),
    /// Bring this device and the remote to the same state.
    Sync(SyncArgs),
    /// Say what a sync would send, without asking the remote.
    Status,
    /// List records.
    List(ListArgs),
    /// Show one record with its fields and versions.
    Show {
        /// The path of its file, or its id.
        record: String,
    },
    /// Write a record without touching a file by hand.
    Put(PutArgs),
    /// Delete a record and its file.
    Rm {
        /// The path of its file, or its id.
        record: String,
    },
    /// Bring back a deleted record or an old version, as a new version.
    Restore(RestoreArgs),
    /// List, show or resolve conflicts.
    Conflicts {
        #[command(subcommand)]
        action: Option<ConflictsAction>,
    },
    /// Show the history of the vault or of one record.
    Log {
        /// The path of its file, or its id.
        record: Option<String>,
    },
    /// Fold what lies on the remote into packs and remove what no longer counts.
    Compact(CompactArgs),
    /// Verify the remote, this replica and the vault.
    Check(CheckArgs),
    /// Sync again and again until stopped.
    #[command(alias = "watch")]
    Daemon(DaemonArgs),
    /// List, add, remove, show, move or probe remotes, log in to one, or forget its password.
    Remote {
        #[command(subcommand)]
        action: RemoteAction,
        #[command(flatten)]
        of: OfRemote,
    },
    /// Who takes part, when each was last seen, and how far it has read.
    Devices {
        #[command(subcommand)]
        action: Option<DevicesAction>,
        #[command(flatten)]
        of: OfRemote,
    },
    /// Have devices edit, sync, die and compact at once on a storage, and count what is lost.
    Torture(TortureArgs),
    /// Show what larder does, with two devices and a remote in a temporary folder.
    Demo(DemoArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The folder to make a vault; by default the current one.
    pub(super) dir: Option<PathBuf>,
    /// Where the remote lies: a folder, webdav(s)://, http(s)://, dropbox:/, s3://, gs:// or az://.
    #[arg(long, value_name = "URL")]
    pub(super) remote: String,
    /// What to call this device; by default its host name.
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// How commits are made on a new remote; by default devices in a mirrored folder, rename on
    /// WebDAV, else if-match.
    #[arg(long, value_name = "MODE")]
    pub(super) commit: Option<CommitArg>,
    /// Encrypt everything on a new remote; refuse one that is not encrypted.
    #[arg(long)]
    pub(super) encrypt: bool,
}

/// A commit mode as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CommitArg {
    /// Conditional writes of meta.json.
    IfMatch,
    /// Renaming a head token.
    Rename,
    /// A head for each device: for folders that another program mirrors.
    Devices,
}

impl CommitArg {
    /// As it is typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::IfMatch => "if-match",
            Self::Rename => "rename",
            Self::Devices => "devices",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct SyncArgs {
    /// The vault; a folder that is none yet becomes one if --remote is given.
    pub(super) dir: Option<PathBuf>,
    /// Where the remote lies; needed only the first time.
    #[arg(long, value_name = "URL")]
    pub(super) remote: Option<String>,
    /// What to call this device; by default its host name.
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// Encrypt everything on a new remote; refuse one that is not encrypted.
    #[arg(long, requires = "remote")]
    pub(super) encrypt: bool,
    /// Only say what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Go on although more than half of the files are gone, here or there.
    #[arg(long)]
    pub(super) accept_deletes: bool,
    /// Fill an emptied remote folder again from this device; of several, that of --only.
    #[arg(long)]
    pub(super) recreate_remote: bool,
    /// Of several remotes, go through this one only.
    #[arg(long, value_name = "NAME", conflicts_with = "remote")]
    pub(super) only: Option<String>,
}

/// Which of several remotes a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct OfRemote {
    /// Which remote, by its name; by default the default one.
    #[arg(long = "remote", value_name = "NAME", global = true)]
    pub(super) chosen: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only records of this type.
    #[arg(long = "type", value_name = "T")]
    pub(super) type_name: Option<String>,
    /// The deleted ones too.
    #[arg(long)]
    pub(super) deleted: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct PutArgs {
    /// The record's type.
    #[arg(long = "type", value_name = "T", value_parser = parse_type)]
    pub(super) type_name: String,
    /// The record's id; a new record gets one.
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// A JSON object with the fields to set, or - to read it from standard input. The field "path"
    /// gives the record a file.
    #[arg(default_value = "-")]
    pub(super) fields: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The path of its file, or its id.
    #[arg(required_unless_present = "missing")]
    pub(super) record: Option<String>,
    /// Put every file back that is gone from the vault, unless a sync took it for deleted.
    #[arg(long, conflicts_with_all = ["record", "at"])]
    pub(super) missing: bool,
    /// A version number, or a time like 2026-11-20T10:30:00Z; by default the state before.
    #[arg(long, value_name = "VERSION|TIME")]
    pub(super) at: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConflictsAction {
    /// List conflicts that wait or that a rule decided.
    List {
        /// The resolved ones too.
        #[arg(long)]
        all: bool,
    },
    /// Show one conflict with all its values.
    Show {
        /// The conflict's id, or the first letters of it.
        id: String,
    },
    /// Settle a conflict.
    Resolve {
        /// The conflict's id, or the first letters of it.
        id: String,
        /// Which value stays.
        #[arg(long)]
        keep: KeepArg,
    },
}

/// Which value of a conflict is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeepArg {
    /// This device's.
    Local,
    /// The other device's.
    Remote,
    /// What is shown now.
    Merged,
    /// One after the other.
    Both,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum DevicesAction {
    /// List them.
    List,
    /// Call this device by another name.
    Rename {
        /// The name.
        name: String,
    },
    /// Take a device off the list that will not come back.
    Forget {
        /// Its id or its name.
        device: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct CompactArgs {
    /// Only say what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write everything anew, even where little is to be gained.
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) of: OfRemote,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Read every file, of the remote and of the vault, and verify its content.
    #[arg(long)]
    pub(super) read_data: bool,
    /// Send again from this device what the remote lost, and make its head anew if that is gone.
    #[arg(long)]
    pub(super) repair: bool,
    /// With --repair: go on without what only lost files held.
    #[arg(long, requires = "repair")]
    pub(super) accept_loss: bool,
    #[command(flatten)]
    pub(super) of: OfRemote,
}

#[derive(Debug, clap::Args)]
pub(super) struct DaemonArgs {
    /// How long to wait between two turns, like 30s, 5m or 1h.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(super) interval: std::time::Duration,
}

#[derive(Debug, clap::Args)]
pub(super) struct TortureArgs {
    /// Where: a folder for it is made there and taken away again.
    pub(super) url: String,
    /// How many devices.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(super) devices: u8,
    /// For how long, like 30s, 5m or 1h; then they settle.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(super) duration: std::time::Duration,
    /// What edits and deaths are drawn from; by default a new number, which is told.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// How commits are made; by default what `init` chooses.
    #[arg(long, value_name = "MODE")]
    pub(super) commit: Option<CommitArg>,
    /// Encrypt the remote.
    #[arg(long)]
    pub(super) encrypt: bool,
    /// Leave the remote and the devices where they are, to look into them.
    #[arg(long)]
    pub(super) keep: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RemoteAction {
    /// Find out what a storage can really do, in a scratch folder.
    Probe {
        /// Where; by default this vault's remote.
        url: Option<String>,
    },
    /// Show where the remote lies and what is on it.
    Show,
    /// Forget the password or the login that is kept for a remote.
    Logout {
        /// Of which remote; by default this vault's.
        url: Option<String>,
    },
    /// Point the vault at a new address of the same remote.
    Set {
        /// The new address.
        url: String,
    },
    /// List the remotes of this vault.
    List,
    /// Connect the vault to one more remote: every sync goes through all of them.
    Add {
        /// What to call it here.
        name: String,
        /// Where it lies.
        url: String,
        /// How commits are made if it is new; by default devices in a mirrored folder, rename on
        /// WebDAV, else if-match.
        #[arg(long, value_name = "MODE")]
        commit: Option<CommitArg>,
        /// Encrypt everything on it if it is new; refuse one that is not encrypted.
        #[arg(long)]
        encrypt: bool,
    },
    /// Forget a remote. Nothing on it is touched.
    Remove {
        /// Its name.
        name: String,
    },
    /// Have commands that name no remote be about this one.
    SetDefault {
        /// Its name.
        name: String,
    },
    /// Let larder into your Dropbox: prints the page to open, takes the code from there, and keeps the
    /// login.
    Login {
        /// The remote, such as dropbox:/notes.
        url: String,
        /// The key of the app that you registered at Dropbox; by default LARDER_DROPBOX_APP_KEY, or
        /// that of the last login.
        #[arg(long, value_name = "KEY")]
        app_key: Option<String>,
        /// Have Dropbox send the code to http://localhost:PORT/, which the app must have registered
        /// as a redirect URI, instead of showing it.
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
    },
    /// Give an encrypted remote another passphrase. What lies there stays as it is.
    Passphrase,
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Where to make the folders; by default a new temporary one.
    pub(super) dir: Option<PathBuf>,
}

fn parse_type(text: &str) -> Result<String, String> {
    match is_type_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a type is 1 to 64 of A-Z, a-z, 0-9, '_' and '-'".to_owned()),
    }
}

/// What no clock of a process is known to reach.
const YEAR_S: u64 = 365 * 24 * 3600;

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a time like 30s"))?;
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{unit:?} is not one of s, m, h")),
    };
    match number.saturating_mul(seconds) {
        0 => Err("it is at least one second".to_owned()),
        YEAR_S.. => Err("it is less than a year".to_owned()),
        seconds => Ok(std::time::Duration::from_secs(seconds)),
    }
}
