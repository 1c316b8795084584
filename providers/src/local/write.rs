//! Writing in a folder: temporary files, the lock, renames, and what makes them last.

use std::{
    fs::{self, TryLockError},
    io::{self, Write},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{OWN_PREFIX, Place, STALE_AFTER, hash, is_absent, reader, version_of};
use crate::{Body, Error, ErrorKind, Move, Put, PutMode, RemotePath, Result, Version};

/// How temporary files begin.
const TEMPORARY_PREFIX: &str = ".larder-tmp-";

/// The file whose OS lock conditional writes hold.
const LOCK_NAME: &str = ".larder-lock";

/// How long to wait for the lock before the folder counts as busy.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);

impl Place {
    pub(super) fn put(&self, body: &Body, mode: &PutMode) -> Result<Put> {
        let target = self.locate(&self.path)?;
        let folder = self.make_parents(&self.path)?;
        if *mode == PutMode::Create && fs::symlink_metadata(&target).is_ok() {
            return Ok(Put::Lost);
        }
        let (temporary, version) = self.write_temporary(&folder, body)?;
        let done = match mode {
            PutMode::Overwrite => {
                let _held = self.lock_if_there(&target)?;
                temporary.persist(&target).map_err(|error| self.failed(error.error))?;
                true
            }
            PutMode::Create => self.create(temporary, &target)?,
            PutMode::Update(seen) => self.update(temporary, &target, seen)?,
        };
        if !done {
            return Ok(Put::Lost);
        }
        self.make_last(&folder)?;
        Ok(Put::Done(Some(version)))
    }

    pub(super) fn move_to(&self, to: &RemotePath) -> Result<Move> {
        let source = self.locate(&self.path)?;
        let target = self.locate(to)?;
        let folder = self.make_parents(to)?;
        if let Err(error) = fs::symlink_metadata(&source) {
            return if is_absent(&error) { Ok(Move::Lost) } else { Err(self.failed(error)) };
        }
        if fs::symlink_metadata(&target).is_ok() {
            let detail = format!("there is a file {to} already");
            return Err(self.error(ErrorKind::Busy, &detail));
        }
        match fs::rename(&source, &target) {
            Ok(()) => {}
            // Both folders are there, so what is absent can only be the source.
            Err(error) if is_absent(&error) => return Ok(Move::Lost),
            Err(error) => return Err(self.failed(error)),
        }
        self.make_last(&folder)?;
        if let Some(left) = source.parent().filter(|left| *left != folder) {
            self.make_last(left)?;
        }
        Ok(Move::Done)
    }

    pub(super) fn make_folder(&self) -> Result<()> {
        let folder = self.locate(&self.path)?;
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {
                return Ok(());
            }
            Err(error) if is_absent(&error) && self.path.is_root() => {
                let detail = "the folder above the remote is not there (is the disk connected?)";
                return Err(self.error(ErrorKind::NotFound, detail));
            }
            Err(error) => return Err(self.failed(error)),
        }
        folder.parent().map_or(Ok(()), |parent| self.make_last(parent))
    }

    /// Makes the folders above `path`, but never the root: one that is missing is a drive that is
    /// not there.
    fn make_parents(&self, path: &RemotePath) -> Result<std::path::PathBuf> {
        let parent =
            path.parent().ok_or_else(|| self.error(ErrorKind::Config, "the root is no file"))?;
        let folder = self.locate(&parent)?;
        if folder.is_dir() {
            return Ok(folder);
        }
        if !self.root.is_dir() {
            return Err(self.error(ErrorKind::NotFound, "the remote's own folder is not there"));
        }
        fs::create_dir_all(&folder).map_err(|error| self.failed(error))?;
        let mut made = folder.as_path();
        while made != &*self.root {
            let Some(above) = made.parent() else { break };
            self.make_last(above)?;
            made = above;
        }
        Ok(folder)
    }

    fn write_temporary(&self, folder: &Path, body: &Body) -> Result<(NamedTempFile, Version)> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        #[cfg(unix)]
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(mode);
        let mut temporary = builder.tempfile_in(folder).map_err(|error| self.failed(error))?;
        let mut source = reader(body).map_err(|error| {
            let detail = "the file to send cannot be read";
            let is_proven = matches!(body, Body::File { sha256: Some(_), .. });
            let kind = if is_proven { ErrorKind::Changed } else { ErrorKind::Config };
            Error::new(kind, "put", &self.path, detail).with_source(error)
        })?;
        let mut target = Hashing { file: temporary.as_file_mut(), hasher: Sha256::new() };
        let copied = io::copy(&mut source, &mut target).map_err(|error| self.failed(error))?;
        let version = version_of(target.hasher);
        if let Body::File { sha256: Some(sha256), .. } = body
            && *sha256 != version.0
        {
            return Err(crate::body::changed(&self.path));
        }
        if copied != body.len() {
            let detail = format!("the file to send has become shorter: {copied} of {}", body.len());
            return Err(self.error(ErrorKind::Protocol, &detail));
        }
        temporary.as_file().sync_all().map_err(|error| self.failed(error))?;
        Ok((temporary, version))
    }

    fn create(&self, temporary: NamedTempFile, target: &Path) -> Result<bool> {
        let error = match temporary.persist_noclobber(target) {
            Ok(_) => return Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => error,
        };
        // A file system that cannot link: there the lock has to do.
        let _held = self.lock()?;
        match fs::symlink_metadata(target) {
            Ok(_) => Ok(false),
            Err(absent) if is_absent(&absent) => {
                error.file.persist(target).map_err(|error| self.failed(error.error))?;
                Ok(true)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    pub(super) fn delete(&self) -> Result<()> {
        let target = self.locate(&self.path)?;
        let _held = self.lock_if_there(&target)?;
        let is_folder = fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_folder { fs::remove_dir(&target) } else { fs::remove_file(&target) };
        match removed {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn update(&self, temporary: NamedTempFile, target: &Path, seen: &Version) -> Result<bool> {
        let _held = self.lock()?;
        let present = match fs::File::open(target).and_then(|mut file| hash(&mut file)) {
            Ok(version) => version,
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(self.failed(error)),
        };
        if present != *seen {
            return Ok(false);
        }
        temporary.persist(target).map_err(|error| self.failed(error.error))?;
        Ok(true)
    }

    /// Holds the lock if `target` is there, so that nothing comes between the look and the write of
    /// a conditional write. New files, which are most, need none; nor does a file system without
    /// locks, where conditional writes fail anyway.
    fn lock_if_there(&self, target: &Path) -> Result<Option<fs::File>> {
        if fs::symlink_metadata(target).is_err() {
            return Ok(None);
        }
        match self.lock() {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            held => held.map(Some),
        }
    }

    /// Holds the folder's lock until the returned file is dropped.
    fn lock(&self) -> Result<fs::File> {
        let file = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(LOCK_NAME))
            .map_err(|error| self.failed(error))?;
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(self.failed(error)),
                Err(TryLockError::WouldBlock) if asked.elapsed() > LOCK_WAIT_MAX => {
                    return Err(self.error(ErrorKind::Busy, "another process holds the lock"));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Makes the names in `folder` survive a power cut.
    fn make_last(&self, folder: &Path) -> Result<()> {
        if cfg!(not(unix)) {
            return Ok(());
        }
        match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
            Ok(()) => Ok(()),
            // Some network file systems know no fsync of a folder.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// Removes a temporary file that a crash left behind; a failure to do so is of no interest.
pub(super) fn clean_stale(path: &Path, name: &str, metadata: &fs::Metadata, now: SystemTime) {
    debug_assert!(name.starts_with(OWN_PREFIX));
    let age = metadata.modified().ok().and_then(|time| now.duration_since(time).ok());
    if name.starts_with(TEMPORARY_PREFIX) && age.is_some_and(|age| age > STALE_AFTER) {
        let _ = fs::remove_file(path);
    }
}

struct Hashing<'a> {
    file: &'a mut fs::File,
    hasher: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
