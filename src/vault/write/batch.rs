//! Writing files, many at once: all their bytes are made durable together, then all get their
//! names, then the names are made durable together.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::{NamedTempFile, TempPath};

use super::durable::{Systems, sync_folder};
use super::{Expect, Written, holds, lstat, rename_new};
use crate::model::path::TEMP_PREFIX;
use crate::model::{FileStat, VaultPath};
use crate::vault::stat::file_stat;
use crate::vault::{Vault, VaultError};

/// From how many files on one call for a whole file system is quicker than one for each file, and
/// several threads quicker than one.
const MANY: usize = 16;
/// More threads only wait for each other at the folders' locks.
const THREADS_MAX: usize = 4;

/// A file to be written.
#[derive(Debug, Clone, Copy)]
pub struct WriteJob<'a> {
    /// Where.
    pub path: &'a VaultPath,
    /// What it is to hold.
    pub bytes: &'a [u8],
    /// What must stand there.
    pub expect: Expect,
}

/// How far a file has come; nothing if it is not what the scan saw.
type Step<T> = Result<Option<T>, VaultError>;

/// A checked place.
struct Place {
    folder: PathBuf,
    target: PathBuf,
    /// Of the file that is replaced.
    mode: Option<Permissions>,
}

/// A finished temporary file that waits for its name.
struct Draft {
    place: Place,
    temp: TempPath,
    stat: FileStat,
}

/// The folders of a batch.
#[derive(Default)]
struct Folders<'a> {
    /// Those that are there, by their paths in the vault.
    ready: BTreeMap<&'a str, PathBuf>,
    /// Those in which names changed.
    changed: BTreeSet<PathBuf>,
}

impl Vault {
    /// Writes whole files, each in one step, with their folders where they are missing; the
    /// results are in the order of the jobs.
    ///
    /// A file that is replaced keeps its mode; a new one gets the usual one. No name stands in the
    /// vault before its bytes are durable, so a crash leaves temporary files at most. Of two jobs
    /// for one path, the second finds a file that is not what the scan saw.
    pub fn write_all(&self, jobs: &[WriteJob<'_>]) -> Vec<Result<Written, VaultError>> {
        let mut folders = Folders::default();
        let places: Vec<_> = jobs.iter().map(|job| self.prepare(job, &mut folders)).collect();
        let used = folders.ready.values().map(PathBuf::as_path);
        let systems = if jobs.len() < MANY { None } else { Systems::of(used) };
        let mut drafts = fill_all(jobs, places, systems.is_none());
        if let Some(Err(error)) = systems.as_ref().map(Systems::sync) {
            fail(&mut drafts, |draft| &draft.place.target, &error);
        }
        self.name_all(jobs, drafts, folders.changed, systems.as_ref())
    }

    /// Makes an empty temporary file for [`place`](Self::place), in the folder of the path, which
    /// is made if it is missing.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn temp_in(&self, path: &VaultPath) -> Result<NamedTempFile, VaultError> {
        let mut changed = BTreeSet::new();
        let folder = self.make_parents(path, &mut changed)?;
        for folder in changed {
            sync_folder(&folder).map_err(|error| VaultError::write(&folder, error))?;
        }
        temp_in(&folder).map_err(|error| VaultError::write(&path.under(self.root()), error))
    }

    /// Gives the file at `temp`, made by [`temp_in`](Self::temp_in) for the same path and finished
    /// since, its name in the vault, as [`write`](Self::write) does with bytes. Unless that is done
    /// the temporary file stays where it is, for its owner to remove.
    ///
    /// # Errors
    /// See [`VaultError`]; the file that stood there is untouched.
    pub fn place(
        &self,
        path: &VaultPath,
        temp: &Path,
        expect: Expect,
    ) -> Result<Written, VaultError> {
        let job = WriteJob { path, bytes: &[], expect };
        let mut folders = Folders::default();
        let draft = match self.prepare(&job, &mut folders) {
            Ok(Some(place)) => seal(place, temp).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let placed = self.name_all(&[job], vec![draft], folders.changed, None);
        placed.into_iter().next().unwrap_or(Ok(Written::Moved))
    }

    /// Gives durable files their names, and makes those durable too.
    fn name_all(
        &self,
        jobs: &[WriteJob<'_>],
        drafts: Vec<Step<Draft>>,
        mut changed: BTreeSet<PathBuf>,
        systems: Option<&Systems>,
    ) -> Vec<Result<Written, VaultError>> {
        let mut checked = HashSet::new();
        let mut placed: Vec<_> = jobs
            .iter()
            .zip(drafts)
            .map(|(job, draft)| match draft? {
                Some(draft) => self.name(job, draft, &mut checked, &mut changed),
                None => Ok(None),
            })
            .collect();
        match systems {
            Some(systems) => {
                if let Err(error) = systems.sync() {
                    fail(&mut placed, |(target, _)| target, &error);
                }
            }
            None => sync_each(&changed, &mut placed),
        }
        let written = |placed: Option<(_, FileStat)>| match placed {
            Some((_, stat)) => Written::Done(stat),
            None => Written::Moved,
        };
        placed.into_iter().map(|step| step.map(written)).collect()
    }

    /// Looks at a job's place for the first time and makes the folders above it.
    fn prepare<'a>(&self, job: &WriteJob<'a>, folders: &mut Folders<'a>) -> Step<Place> {
        let target = job.path.under(self.root());
        // That nothing stands there is known, without asking, once it could be given its name.
        let before = match job.expect {
            Expect::Absent => None,
            Expect::Is(_) => lstat(&target)?,
        };
        if !holds(&target, before.as_ref(), job.expect)? {
            return Ok(None);
        }
        let above = job.path.parent().unwrap_or_default();
        let folder = match folders.ready.get(above) {
            Some(folder) => folder.clone(),
            None => self.make_parents(job.path, &mut folders.changed)?,
        };
        folders.ready.entry(above).or_insert_with(|| folder.clone());
        self.gate.pass(&target).map_err(|error| VaultError::write(&target, error))?;
        Ok(Some(Place { folder, target, mode: before.as_ref().map(Metadata::permissions) }))
    }

    /// Gives a durable file its name, after another look, as late as can be: the user may have
    /// written while we did.
    fn name(
        &self,
        job: &WriteJob<'_>,
        draft: Draft,
        checked: &mut HashSet<PathBuf>,
        changed: &mut BTreeSet<PathBuf>,
    ) -> Step<(PathBuf, FileStat)> {
        let Draft { place: Place { folder, target, .. }, mut temp, stat } = draft;
        if !checked.contains(&folder) {
            self.check_parents(job.path)?;
            checked.insert(folder.clone());
        }
        self.gate.pass(&target).map_err(|error| VaultError::write(&target, error))?;
        let is_still = |expect| holds(&target, lstat(&target)?.as_ref(), expect);
        if matches!(job.expect, Expect::Is(_)) && !is_still(job.expect)? {
            return Ok(None);
        }
        let is_named = put(&temp, &target, job.expect);
        if !is_named.map_err(|error| VaultError::write(&target, error))? {
            // Something stands there; of a folder that is told.
            return is_still(job.expect).map(|_| None);
        }
        temp.disable_cleanup(true);
        changed.insert(folder);
        // The rename moved the ctime. If more than that moved, somebody writes into the file
        // already: then the older answer makes the next scan look.
        let now = lstat(&target).ok().flatten().map(|found| file_stat(&found));
        let now = now.filter(|now| now.same_content(&stat)).unwrap_or(stat);
        Ok(Some((target, now)))
    }
}

fn sync_each(folders: &BTreeSet<PathBuf>, placed: &mut [Step<(PathBuf, FileStat)>]) {
    for folder in folders {
        if let Err(error) = sync_folder(folder) {
            fail(placed, |(target, _)| target, &error);
        }
    }
}

/// What went wrong for all of a batch went wrong for each file of it.
fn fail<T>(steps: &mut [Step<T>], target: impl Fn(&T) -> &PathBuf, error: &io::Error) {
    for step in steps {
        if let Ok(Some(done)) = step {
            let again = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            *step = Err(VaultError::write(target(done), again));
        }
    }
}

/// Writes the temporary files, on several threads if there are many.
fn fill_all(jobs: &[WriteJob<'_>], places: Vec<Step<Place>>, durable: bool) -> Vec<Step<Draft>> {
    let fill_one = move |(job, place): (&WriteJob<'_>, Step<Place>)| match place? {
        Some(place) => fill(place, job.bytes, durable).map(Some),
        None => Ok(None),
    };
    let mut work: Vec<_> = jobs.iter().zip(places).collect();
    if work.len() < MANY {
        return work.into_iter().map(fill_one).collect();
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let share = work.len().div_ceil(threads);
    thread::scope(|scope| {
        let mut parts = Vec::new();
        while !work.is_empty() {
            let rest = work.split_off(share.min(work.len()));
            let part = std::mem::replace(&mut work, rest);
            parts.push(scope.spawn(move || part.into_iter().map(fill_one).collect::<Vec<_>>()));
        }
        let joined = parts.into_iter().map(|part| part.join().unwrap_or_else(|e| resume_unwind(e)));
        joined.flatten().collect()
    })
}

fn fill(place: Place, bytes: &[u8], durable: bool) -> Result<Draft, VaultError> {
    let fill = || {
        let mut temp = temp_in(&place.folder)?;
        if let Some(mode) = place.mode.clone() {
            keep_mode(temp.as_file(), mode)?;
        }
        temp.write_all(bytes)?;
        if durable {
            temp.as_file().sync_all()?;
        }
        let stat = file_stat(&temp.as_file().metadata()?);
        // The handle is closed: a batch may have more files than a process may hold open.
        Ok((temp.into_temp_path(), stat))
    };
    let (temp, stat) = fill().map_err(|error| VaultError::write(&place.target, error))?;
    Ok(Draft { place, temp, stat })
}

/// Makes a temporary file durable that somebody else has filled, and still owns.
fn seal(place: Place, temp: &Path) -> Result<Draft, VaultError> {
    let seal = || {
        let file = File::options().write(true).open(temp)?;
        if let Some(mode) = place.mode.clone() {
            keep_mode(&file, mode)?;
        }
        file.sync_all()?;
        let mut temp = TempPath::try_from_path(temp)?;
        temp.disable_cleanup(true);
        Ok((temp, file_stat(&file.metadata()?)))
    };
    let (temp, stat) = seal().map_err(|error| VaultError::write(&place.target, error))?;
    Ok(Draft { place, temp, stat })
}

/// Makes an empty temporary file in a folder.
pub(super) fn temp_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMP_PREFIX);
    // Without this it is 0600; the umask takes its part off.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(unix)]
pub(super) fn keep_mode(file: &File, permissions: Permissions) -> io::Result<()> {
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
pub(super) fn keep_mode(_: &File, _: Permissions) -> io::Result<()> {
    Ok(())
}

/// Renames a finished temporary file into its place; false if something stands there that should
/// not.
pub(super) fn put(temp: &Path, target: &Path, expect: Expect) -> io::Result<bool> {
    match expect {
        Expect::Is(_) => fs::rename(temp, target).map(|()| true),
        Expect::Absent => rename_new(temp, target),
    }
}
