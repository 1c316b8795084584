//! Writing files, many at once: all their bytes are made durable together, then all get their
//! names, then the names are made durable together.
//!
//! In between somebody is told which temporary file waits for which name. After a crash a file that
//! waits no more has its name, whatever its owner has made of it since: nothing else tells that.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{self, ErrorKind, Write};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use super::durable::Systems;
use super::temp::{Temp, keep_mode};
use super::{Expect, Written, holds};
use crate::model::{FileStat, VaultPath};
use crate::vault::dir::Dirs;
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

/// A file on its way: where it is to lie, and the name of the temporary file that waits for that
/// place; nothing if none does any more, though the place was not taken.
pub type Waiting<'a> = (&'a VaultPath, Option<&'a str>);

/// How far a file has come; nothing if it is not what the scan saw.
type Step<T> = Result<Option<T>, VaultError>;

/// A checked place.
struct Place<'a> {
    path: &'a VaultPath,
    target: PathBuf,
    /// Of the file that is replaced.
    mode: Option<Permissions>,
}

/// A finished temporary file that waits for its name.
struct Draft<'a> {
    place: Place<'a>,
    temp: Temp<'a>,
    stat: FileStat,
}

/// The folders of a batch by their paths in the vault: all of them, and those in which names
/// changed.
#[derive(Default)]
struct Folders<'a> {
    used: BTreeSet<&'a str>,
    changed: BTreeSet<String>,
}

impl Vault {
    /// Writes whole files, each in one step, with their folders where they are missing; the
    /// results are in the order of the jobs.
    ///
    /// A file that is replaced keeps its mode; a new one gets the usual one. No name stands in the
    /// vault before its bytes are durable, so a crash leaves temporary files at most. Of two jobs
    /// for one path, the second finds a file that is not what the scan saw.
    ///
    /// `keep` is to keep what waits, safe from a crash, before it returns.
    ///
    /// # Errors
    /// What `keep` says. If it does before anything has got its name, then nothing will.
    pub fn write_all<E>(
        &self,
        jobs: &[WriteJob<'_>],
        keep: impl FnMut(&[Waiting<'_>]) -> Result<(), E>,
    ) -> Result<Vec<Result<Written, VaultError>>, E> {
        // By folders, so that each is opened once although not all can be open at a time.
        let mut sorted: Vec<(usize, &WriteJob<'_>)> = jobs.iter().enumerate().collect();
        sorted.sort_by_key(|(_, job)| job.path.parent());
        let (places, jobs): (Vec<usize>, Vec<_>) = sorted.into_iter().unzip();
        let mut results: Vec<_> = places.into_iter().zip(self.write_sorted(&jobs, keep)?).collect();
        results.sort_by_key(|(place, _)| *place);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    fn write_sorted<E>(
        &self,
        jobs: &[&WriteJob<'_>],
        mut keep: impl FnMut(&[Waiting<'_>]) -> Result<(), E>,
    ) -> Result<Vec<Result<Written, VaultError>>, E> {
        let dirs = self.dirs();
        let mut folders = Folders::default();
        let places: Vec<_> =
            jobs.iter().map(|job| self.prepare(job, &dirs, &mut folders)).collect();
        let used = folders.used.iter().map(|folder| dirs.get(folder).ok().flatten());
        let systems = if jobs.len() < MANY { None } else { Systems::of(used) };
        let mut drafts = fill_all(&dirs, jobs, places, systems.is_none());
        if let Some(Err(error)) = systems.as_ref().map(Systems::sync) {
            fail(&mut drafts, |draft| &draft.place.target, &error);
        }
        let waiting: Vec<Waiting<'_>> = drafts
            .iter()
            .filter_map(|draft| draft.as_ref().ok()?.as_ref())
            .map(|draft| (draft.place.path, Some(draft.temp.name())))
            .collect();
        if !waiting.is_empty() {
            keep(&waiting)?;
        }
        let mut refused = Vec::new();
        let mut placed: Vec<_> = jobs
            .iter()
            .zip(drafts)
            .map(|(job, draft)| {
                let Some(mut draft) = draft? else { return Ok(None) };
                let named = self.name(job, &mut draft, &dirs, &mut folders.changed);
                if draft.temp.waits() {
                    refused.push(draft);
                }
                named
            })
            .collect();
        drop_refused(refused, keep)?;
        match systems {
            Some(systems) => {
                if let Err(error) = systems.sync() {
                    fail(&mut placed, |(target, _)| target, &error);
                }
            }
            None => sync_each(&dirs, &folders.changed, &mut placed),
        }
        let written = |placed: Option<(_, FileStat)>| match placed {
            Some((_, stat)) => Written::Done(stat),
            None => Written::Moved,
        };
        Ok(placed.into_iter().map(|step| step.map(written)).collect())
    }

    /// Looks at a job's place for the first time and makes the folders above it.
    fn prepare<'a>(
        &self,
        job: &WriteJob<'a>,
        dirs: &Dirs<'_>,
        folders: &mut Folders<'a>,
    ) -> Step<Place<'a>> {
        let (path, target) = (job.path, job.path.under(self.root()));
        let failed = |error| VaultError::write(&target, error);
        let above = path.parent().unwrap_or_default();
        // That nothing stands there is known, without asking, once it could be given its name.
        let before = match job.expect {
            Expect::Absent => {
                dirs.make(above, &mut folders.changed)?;
                None
            }
            Expect::Is(_) => match dirs.get(above)? {
                Some(dir) => dir.look(path.file_name()).map_err(failed)?,
                None => None,
            },
        };
        if !holds(&target, before.as_ref(), job.expect)? {
            return Ok(None);
        }
        folders.used.insert(above);
        self.gate.pass(&target).map_err(failed)?;
        Ok(Some(Place { path, target, mode: before.map(|before| before.permissions) }))
    }

    /// Gives a durable file its name, after another look, as late as can be: the user may have
    /// written while we did.
    fn name(
        &self,
        job: &WriteJob<'_>,
        draft: &mut Draft<'_>,
        dirs: &Dirs<'_>,
        changed: &mut BTreeSet<String>,
    ) -> Step<(PathBuf, FileStat)> {
        let Draft { place: Place { path, target, .. }, temp, stat } = draft;
        let failed = |error| VaultError::write(target, error);
        let dir = dirs.above(path)?.ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
        self.gate.pass(target).map_err(failed)?;
        let look = || dir.look(path.file_name()).map_err(failed);
        let is_still = |expect| holds(target, look()?.as_ref(), expect);
        if matches!(job.expect, Expect::Is(_)) && !is_still(job.expect)? {
            return Ok(None);
        }
        if !temp.put(&dir, path.file_name(), job.expect).map_err(failed)? {
            // Something stands there; of a folder that is told.
            return is_still(job.expect).map(|_| None);
        }
        let folder = path.parent().unwrap_or_default();
        if !changed.contains(folder) {
            changed.insert(folder.to_owned());
        }
        // The rename moved the ctime. If more than that moved, somebody writes into the file
        // already: then the older answer makes the next scan look.
        let now = look().ok().flatten().map(|found| found.stat);
        let now = now.filter(|now| now.same_content(stat)).unwrap_or(*stat);
        Ok(Some((target.clone(), now)))
    }
}

/// Removes temporary files that did not get their names. One that is kept as waiting must not go:
/// without it the file would be taken for one that has its name.
fn drop_refused<E>(
    mut refused: Vec<Draft<'_>>,
    mut keep: impl FnMut(&[Waiting<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    if refused.is_empty() {
        return Ok(());
    }
    let waiting: Vec<Waiting<'_>> = refused.iter().map(|draft| (draft.place.path, None)).collect();
    let kept = keep(&waiting);
    if kept.is_err() {
        refused.iter_mut().for_each(|draft| draft.temp.leave());
    }
    kept
}

fn sync_each(
    dirs: &Dirs<'_>,
    folders: &BTreeSet<String>,
    placed: &mut [Step<(PathBuf, FileStat)>],
) {
    for folder in folders {
        if let Err(error) = dirs.sync(folder) {
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
fn fill_all<'a>(
    dirs: &'a Dirs<'a>,
    jobs: &[&WriteJob<'_>],
    places: Vec<Step<Place<'a>>>,
    durable: bool,
) -> Vec<Step<Draft<'a>>> {
    let fill_one = move |(job, place): (&&WriteJob<'_>, Step<Place<'a>>)| match place? {
        Some(place) => fill(dirs, place, job.bytes, durable).map(Some),
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

fn fill<'a>(
    dirs: &'a Dirs<'a>,
    place: Place<'a>,
    bytes: &[u8],
    durable: bool,
) -> Result<Draft<'a>, VaultError> {
    let folder = place.path.parent().unwrap_or_default();
    let dir = dirs.get(folder)?;
    let fill = || {
        let dir = dir.ok_or(ErrorKind::NotFound)?;
        let (temp, mut file) = Temp::new(dirs, folder, &dir)?;
        if let Some(mode) = place.mode.clone() {
            keep_mode(&file, mode)?;
        }
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        let stat = file_stat(&file.metadata()?);
        // The handle is closed: a batch may have more files than a process may hold open.
        Ok((temp, stat))
    };
    let (temp, stat) = fill().map_err(|error| VaultError::write(&place.target, error))?;
    Ok(Draft { place, temp, stat })
}
