//! A replica whose database is damaged: set aside, and made anew from what can be read of it, from the
//! vault and from the remote.
//!
//! Without asking: a turn with a new replica removes no file and overwrites none that differs, the old
//! database stays where it can be found, and a disk that spoils databases is no place for edits to
//! wait for an answer.

use std::{fs, path::Path};

use super::{
    args::{Args, Command},
    env,
    error::CliError,
    ui::{count, say},
    workplace::REPLICA,
};
use crate::{
    clock::Clock,
    engine::EngineError,
    model::path::CONTROL_DIR,
    store::{Salvaged, Store},
    vault::Vault,
};

/// Says that a command met damage: the next one that may change something makes the replica anew.
const SUSPECT: &str = "replica.db.suspect";
/// From so many databases on that were set aside, something else is wrong.
const ASIDE_MAX: usize = 5;

/// Opens the replica of a vault; makes it anew if it is damaged, and says so. Whether it did comes beside
/// it.
pub(super) fn open(control: &Path) -> Result<(Store, bool), CliError> {
    let (path, suspect) = (control.join(REPLICA), control.join(SUSPECT));
    if !suspect.exists() {
        match Store::open_checked(&path) {
            Ok(store) => return Ok((store, false)),
            Err(error) if !error.is_damage() => return Err(error.into()),
            Err(_) => {}
        }
    }
    let set_aside = names(control).filter(|name| is_aside(name)).count();
    if set_aside >= ASIDE_MAX {
        return Err(CliError::Other(anyhow::anyhow!(
            "the replica of this vault is damaged again, after {set_aside} times: is the disk failing? Remove what \
             lies in {} as replica.db.damaged-… to have it made anew once more",
            control.display()
        )));
    }
    let date: String =
        Clock::system().now().to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let (store, salvaged) = Store::rebuild(&path, &date.to_lowercase())?;
    // Gone or not: what it spoke of is not there any more.
    let _ = fs::remove_file(suspect);
    // Whatever the command was asked to say or not: this has to be known.
    say(&told(&salvaged));
    Ok((store, true))
}

/// Says that a replica was gone, which nobody asked for, and what it means.
pub(super) fn tell_lost() {
    say(
        "This vault's database (.larder/replica.db) was gone, and was made anew. Its history begins again, and this \
         device goes on under a new id. What was deleted or renamed here since the last sync may be back; where a \
         file differs from the remote the two are merged, and what competes is listed by `larder conflicts`.",
    );
}

/// Remembers that the replica is damaged, if that is what went wrong; says whether the command can be
/// tried again with a new one.
pub(super) fn note_damage(args: &Args, error: &CliError) -> bool {
    let CliError::Engine(error) = error else { return false };
    if !matches!(error.as_ref(), EngineError::Store(error) if error.is_damage()) {
        return false;
    }
    let (dir, may_retry) = match &args.command {
        Command::Sync(options) => (options.dir.as_ref(), !options.dry_run),
        Command::Check(options) => (None, options.repair),
        _ => (None, false),
    };
    let root = match dir.or(args.vault.as_ref()) {
        Some(root) => Some(root.clone()),
        None => env::current_dir().ok().and_then(|here| Vault::discover(&here)),
    };
    let Some(root) = root else { return false };
    // A command that cannot write here will meet the damage again.
    fs::File::create(root.join(CONTROL_DIR).join(SUSPECT)).is_ok() && may_retry
}

fn names(control: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(control).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn is_aside(name: &str) -> bool {
    name.starts_with("replica.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
}

fn told(salvaged: &Salvaged) -> String {
    let aside = salvaged.aside.display();
    let records = count(salvaged.records, "record", "records");
    let what = match (salvaged.records, salvaged.is_whole) {
        (0, _) => "Nothing of it could be read: edits that were made by command and not sent are lost, and so is the \
                   history."
            .to_owned(),
        (_, true) => format!(
            "All of its records could be read ({records}, {} of them with edits that were not sent), and {} of \
             the history.",
            salvaged.unsent,
            count(salvaged.history, "state", "states")
        ),
        (_, false) => format!(
            "{records} could be read ({} of them with edits that were not sent), and {} of the history; the \
             rest comes from the vault and the remote.",
            salvaged.unsent,
            count(salvaged.history, "state", "states")
        ),
    };
    format!(
        "The database of this vault was damaged. It was set aside as {aside}, and made anew. {what} This device goes \
         on under a new id. Your files are as they are: where one differs from the remote and nobody can tell \
         why, the two are merged, and what competes is listed by `larder conflicts`."
    )
}
