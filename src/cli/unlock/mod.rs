//! Encrypted remotes: making one, opening one, and what is remembered of them on this device.
//!
//! A passphrase is asked for once; the key that it opens is kept among the secrets of this device ([`key`]).
//! Which remotes are encrypted stands in a file of its own beside the replica, so that it is known
//! even where the replica was lost: such a remote is never used in clear.

mod key;
mod mark;

use std::{fs, path::Path, sync::Arc};

pub(super) use key::forget as forget_key;
use key::{NEW_VARIABLE, VARIABLE, keep, key_of, new_passphrase, trust, trust_new, wrap};
use larder_providers::{RemotePath, SharedStorage, Storage as _};
use mark::{remember, remembered};

use super::{error::CliError, ui::Ui, workplace::Workplace};
use crate::{
    engine::{Brake, Connected, EngineError},
    model::{ForeignRemote, RemoteId, path::CONTROL_DIR},
    remote::{CommitMode, RemoteError},
    seal::{
        DataKey, Inspected, KeyFiles, SEALED_FOLDERS, SealError, Sealed, Sealer, inspect, lock,
        lock_new,
    },
};

/// The folder in which local files are sealed on their way.
const SCRATCH: &str = "sealed";

/// Connects a vault to the remote on a storage. A new one is encrypted if it was to be; one that is
/// there is opened if it is encrypted, and refused if it is not although it should be.
pub(super) async fn connect(
    place: &mut Workplace,
    raw: SharedStorage,
    goal: &Goal,
    ui: &Ui,
) -> Result<(SharedStorage, Connected), CliError> {
    let remembered = remembered(&place.root)?;
    let known = goal.known(place)?;
    let is_encrypted = match (&known, &goal.which) {
        (Some(known), _) => remembered.contains(known.as_str()),
        (None, Which::Own(_)) => !remembered.is_empty(),
        (None, Which::First | Which::More) => false,
    };
    if !is_encrypted && !goal.encrypt {
        match goal.reach(place, &raw).await {
            Err(EngineError::Remote(RemoteError::Encrypted)) => {}
            connected => {
                let connected = connected?;
                refuse_if_keyed(place, &connected.id)?;
                return Ok((raw, connected));
            }
        }
    }
    if known.is_some() && !is_encrypted && goal.encrypt {
        return Err(chosen_before());
    }
    match (inspect(&raw).await?, known) {
        (Inspected::Plain, _) => Err(not_encrypted()),
        (Inspected::Sealed(found), Some(expected)) if found != expected => {
            Err(EngineError::from(Brake::Foreign { expected, found }).into())
        }
        (Inspected::Sealed(id), _) => join(place, &raw, &id, goal, ui).await,
        // What becomes of a remote that is gone the engine says.
        (Inspected::Nothing, Some(id)) => join(place, &raw, &id, goal, ui).await,
        (Inspected::Nothing, None) if matches!(goal.which, Which::Own(_)) => {
            Err(EngineError::from(Brake::RemoteLost).into())
        }
        (Inspected::Nothing, None) => {
            let (storage, connected) = make(place, &raw, goal, ui).await?;
            trust_new(place, &connected.id)?;
            Ok((storage, connected))
        }
    }
}

/// What a vault is to be connected to.
#[derive(Debug)]
pub(super) struct Goal {
    /// Which of its remotes.
    pub(super) which: Which,
    /// How commits are made if it is new.
    pub(super) mode: Option<CommitMode>,
    /// Whether it has to be encrypted.
    pub(super) encrypt: bool,
}

/// Which of a vault's remotes.
#[derive(Debug)]
pub(super) enum Which {
    /// The first that it gets.
    First,
    /// One more than it has.
    More,
    /// One that it has: that of this id, as far as that is known.
    Own(Option<RemoteId>),
}

impl Goal {
    /// Which remote it has to be.
    fn known(&self, place: &Workplace) -> Result<Option<RemoteId>, CliError> {
        Ok(match &self.which {
            Which::First => place.engine.store().binding()?.map(|bound| bound.id),
            Which::More => None,
            Which::Own(id) => id.clone(),
        })
    }

    async fn reach(
        &self,
        place: &mut Workplace,
        storage: &SharedStorage,
    ) -> Result<Connected, EngineError> {
        let engine = &mut place.engine;
        match &self.which {
            Which::First => engine.connect(storage, self.mode).await,
            Which::More => engine.add_remote(storage, self.mode).await,
            Which::Own(Some(id)) if engine.look_at(id).is_ok() => {
                engine.connect(storage, self.mode).await
            }
            Which::Own(id) => engine.rejoin(storage, id.as_ref()).await,
        }
    }
}

/// The storage of one of a vault's remotes, opened if it is encrypted, and which it is; that is
/// `id`, if it is known. Once its key is known here this costs no request.
pub(super) async fn open(
    place: &mut Workplace,
    raw: &SharedStorage,
    id: Option<&RemoteId>,
    ui: &Ui,
) -> Result<(RemoteId, SharedStorage), CliError> {
    let bound = place.engine.store().bindings()?;
    let Some(id) = id.filter(|id| bound.iter().any(|bound| bound.id == **id)) else {
        return rejoin(place, raw, id, ui).await;
    };
    if !restore_mark(place, id)? {
        return Ok((id.clone(), Arc::clone(raw)));
    }
    let key = key_of(place, raw, id, ui).await?;
    Ok((id.clone(), sealed(&place.root, raw, id, &key)))
}

/// Whether a remote that the vault is bound to is encrypted. The mark outlives the replica and the
/// replica the mark: what one of them has lost the other one gives back.
fn restore_mark(place: &mut Workplace, id: &RemoteId) -> Result<bool, CliError> {
    let mut remembered = remembered(&place.root)?;
    let (is_marked, is_noted) =
        (remembered.contains(id.as_str()), place.engine.store().is_encrypted(id)?);
    if is_marked != is_noted && place.may_change() {
        place.engine.note_encrypted(id)?;
        remembered.insert(id.to_string());
        remember(&place.root, &remembered)?;
    }
    Ok(is_marked || is_noted)
}

/// Whether a remote is encrypted. One of which it is not known which it is counts as encrypted if
/// any of the vault's ever was.
pub(super) fn is_encrypted(root: &Path, id: Option<&RemoteId>) -> Result<bool, CliError> {
    let remembered = remembered(root)?;
    Ok(id.map_or(!remembered.is_empty(), |id| remembered.contains(id.as_str())))
}

/// Whether any remote of a vault is or was encrypted.
pub(super) fn remembers_any(root: &Path) -> Result<bool, CliError> {
    Ok(!remembered(root)?.is_empty())
}

/// Sees to it that what lies at the address of an encrypted remote is that remote: what another one
/// holds looks like damage to who has not its key.
pub(super) async fn assure_own(raw: &SharedStorage, id: &RemoteId) -> Result<(), CliError> {
    match inspect(raw).await {
        Ok(Inspected::Plain) => Err(not_encrypted()),
        Ok(Inspected::Sealed(found)) if found != *id => {
            Err(EngineError::from(Brake::Foreign { expected: id.clone(), found }).into())
        }
        Err(SealError::NeedsNewer { needed }) => Err(SealError::NeedsNewer { needed }.into()),
        _ => Ok(()),
    }
}

/// Puts the key of an encrypted remote that was emptied back, so that others can join it again.
pub(super) async fn recreate(
    place: &Workplace,
    raw: &SharedStorage,
    id: &RemoteId,
    ui: &Ui,
) -> Result<(), CliError> {
    if inspect(raw).await? != Inspected::Nothing || has_key(raw, id).await? {
        return Ok(());
    }
    let key = key_of(place, raw, id, ui).await?;
    let passphrase = new_passphrase(VARIABLE, ui)?;
    raw.make_folder(&RemotePath::root()).await?;
    Ok(lock(raw, &wrap(id, &key, passphrase).await?).await?)
}

/// Has an encrypted remote opened by another passphrase from now on.
pub(super) async fn change_passphrase(
    place: &Workplace,
    raw: &SharedStorage,
    id: &RemoteId,
    ui: &Ui,
) -> Result<(), CliError> {
    let key = key_of(place, raw, id, ui).await?;
    assure_own(raw, id).await?;
    let file = wrap(id, &key, new_passphrase(NEW_VARIABLE, ui)?).await?;
    Ok(lock(raw, &file).await?)
}

async fn join(
    place: &mut Workplace,
    raw: &SharedStorage,
    id: &RemoteId,
    goal: &Goal,
    ui: &Ui,
) -> Result<(SharedStorage, Connected), CliError> {
    let key = key_of(place, raw, id, ui).await?;
    let storage = sealed(&place.root, raw, id, &key);
    let connected = connect_sealed(place, &storage, id, goal).await?;
    trust(place, id, &key)?;
    Ok((storage, connected))
}

async fn make(
    place: &mut Workplace,
    raw: &SharedStorage,
    goal: &Goal,
    ui: &Ui,
) -> Result<(SharedStorage, Connected), CliError> {
    if holds_files(raw, &SEALED_FOLDERS).await? {
        // It may have been made since somebody looked.
        if let Inspected::Sealed(other) = inspect(raw).await? {
            return join(place, raw, &other, goal, ui).await;
        }
        let detail = "records lie in the folder, but what says which of them count is gone";
        let error = RemoteError::HeadMissing { detail: detail.to_owned() };
        return Err(EngineError::from(error).into());
    }
    let passphrase = new_passphrase(VARIABLE, ui)?;
    let (id, key) = (place.engine.draw_remote_id()?, DataKey::random()?);
    let file = wrap(&id, &key, passphrase).await?;
    raw.make_folder(&RemotePath::root()).await?;
    // The key first: a remote without one could be opened by nobody.
    let key_path = lock_new(raw, &file).await?;
    let storage = sealed(&place.root, raw, &id, &key);
    match connect_sealed(place, &storage, &id, goal).await {
        Ok(connected) => {
            keep(&id, &key, ui);
            Ok((storage, connected))
        }
        Err(error) => match inspect(raw).await {
            Ok(Inspected::Sealed(other)) if other != id => {
                let _ = raw.delete(&key_path).await;
                ui.note(
                    "Another device made a remote there in the same moment: this one joins it.",
                );
                join(place, raw, &other, goal, ui).await
            }
            Ok(Inspected::Nothing) => {
                // A key that is left behind opens nothing.
                let _ = raw.delete(&key_path).await;
                Err(error)
            }
            // It may have been made in part: then it is joined the next time, which takes the key.
            _ => Err(error),
        },
    }
}

/// Remembers that a remote is encrypted before the vault belongs to it: never may a crash between the
/// two have it used in clear.
async fn connect_sealed(
    place: &mut Workplace,
    storage: &SharedStorage,
    id: &RemoteId,
    goal: &Goal,
) -> Result<Connected, CliError> {
    let before = remembered(&place.root)?;
    let mut now = before.clone();
    now.insert(id.to_string());
    remember(&place.root, &now)?;
    let connected = goal.reach(place, storage).await;
    if connected.is_err() {
        remember(&place.root, &before)?;
    }
    let connected = connected?;
    place.engine.note_encrypted(id)?;
    Ok(connected)
}

/// Binds a replica that was lost to a remote that the vault had.
async fn rejoin(
    place: &mut Workplace,
    raw: &SharedStorage,
    id: Option<&RemoteId>,
    ui: &Ui,
) -> Result<(RemoteId, SharedStorage), CliError> {
    let mut remembered = remembered(&place.root)?;
    if !is_encrypted(&place.root, id)? {
        match place.engine.rejoin(raw, id).await {
            Err(EngineError::Remote(RemoteError::Encrypted)) => {}
            rejoined => {
                let rejoined = rejoined?;
                refuse_if_keyed(place, &rejoined.id)?;
                return Ok((rejoined.id, Arc::clone(raw)));
            }
        }
    }
    let found = match (inspect(raw).await?, id) {
        (Inspected::Nothing, _) => return Err(EngineError::from(Brake::RemoteLost).into()),
        (Inspected::Plain, _) => return Err(not_encrypted()),
        (Inspected::Sealed(found), Some(expected)) if found != *expected => {
            let expected = expected.clone();
            return Err(EngineError::from(Brake::Foreign { expected, found }).into());
        }
        (Inspected::Sealed(found), None)
            if !remembered.is_empty() && !remembered.contains(found.as_str()) =>
        {
            let text = format!("the remote there ({found}) is not the one that this vault had");
            return Err(CliError::Usage(text));
        }
        (Inspected::Sealed(found), _) => found,
    };
    let key = key_of(place, raw, &found, ui).await?;
    let storage = sealed(&place.root, raw, &found, &key);
    remembered.insert(found.to_string());
    remember(&place.root, &remembered)?;
    trust(place, &found, &key)?;
    place.engine.rejoin(&storage, Some(&found)).await?;
    Ok((found, storage))
}

/// Whether somebody who has only the passphrase could open a remote.
async fn has_key(raw: &SharedStorage, id: &RemoteId) -> Result<bool, CliError> {
    match KeyFiles::read(raw, id).await {
        Ok(_) => Ok(true),
        Err(SealError::NoKey { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What nobody but a device with the key would notice: that who has only the passphrase could not open
/// the remote any more.
pub(super) async fn lacks_key(raw: &SharedStorage, id: &RemoteId) -> Result<bool, CliError> {
    Ok(!has_key(raw, id).await?)
}

/// Refuses a remote in clear that is known to be encrypted, or to which this device has a key:
/// somebody has put something else in its place. From then on the vault knows.
fn refuse_if_keyed(place: &mut Workplace, id: &RemoteId) -> Result<(), CliError> {
    let mut remembered = remembered(&place.root)?;
    if !remembered.contains(id.as_str()) && !key::is_kept(id)? {
        return Ok(());
    }
    remembered.insert(id.to_string());
    remember(&place.root, &remembered)?;
    place.engine.remove_remote(id)?;
    Err(not_encrypted())
}

fn sealed(root: &Path, raw: &SharedStorage, id: &RemoteId, key: &DataKey) -> SharedStorage {
    let scratch = root.join(CONTROL_DIR).join(SCRATCH);
    let sealer = Sealer::new(id.as_str(), key);
    Arc::new(Sealed::new(Arc::clone(raw), sealer).with_scratch(scratch))
}

/// Takes away what a process that was killed had sealed and not sent.
pub(super) fn clear_scratch(control: &Path) {
    // What stays is taken away the next time.
    let _ = fs::remove_dir_all(control.join(SCRATCH));
}

/// Says that a remote in clear stays one.
pub(super) fn chosen_before() -> CliError {
    CliError::Usage(
        "this vault's remote is not encrypted, and that is chosen when a remote is made: add one at an empty place \
         with `larder remote add NAME URL --encrypt`, and remove this one when all devices have that"
            .to_owned(),
    )
}

fn not_encrypted() -> CliError {
    CliError::Usage(
        "the remote there is not encrypted, and this one is, or was to be: nothing was read or sent. To \
         encrypt, give an empty place; a remote in clear is another one, made without --encrypt"
            .to_owned(),
    )
}

/// Whether anything lies in one of these folders.
async fn holds_files(raw: &SharedStorage, folders: &[&str]) -> Result<bool, CliError> {
    let root = match raw.list_names(&RemotePath::root()).await {
        Ok(root) => root,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for folder in root.entries.iter().filter(|entry| folders.contains(&entry.path.as_str())) {
        if !raw.list_names(&folder.path).await?.entries.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl From<SealError> for CliError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Storage(error) => error.into(),
            SealError::Foreign(ForeignRemote { expected, found }) => {
                EngineError::from(Brake::Foreign { expected, found }).into()
            }
            SealError::NotEncrypted => not_encrypted(),
            SealError::NeedsNewer { needed } => {
                EngineError::from(RemoteError::NeedsNewer { needed }).into()
            }
            SealError::Damaged { file, detail } => {
                EngineError::from(RemoteError::Damaged { file, detail }).into()
            }
            error @ SealError::TooShort { .. } => Self::Usage(error.to_string()),
            error => Self::Other(error.into()),
        }
    }
}
