//! What can be found out by one client alone.

use std::time::Duration;

use bytes::Bytes;

use super::{Probe, Seen, Verdict};
use crate::{
    Error, ErrorKind, Get, GetOptions, Move, Put, PutMode, RemotePath, Result, StorageExt, Version,
    collect,
};

/// The largest file that the probe writes, and so reads.
const READ_BYTES_MAX: u64 = 1 << 20;

impl Probe<'_> {
    /// PUT, MOVE, MOVE again: the second one must find nothing.
    pub(super) async fn move_away(&mut self) -> Result<Seen> {
        let (from, to, late) = (self.file("a")?, self.file("b")?, self.file("c")?);
        self.storage.write(&from, Bytes::new()).await?;
        let first = self.storage.move_exclusive(&from, &to).await?;
        let second = self.storage.move_exclusive(&from, &late).await;
        Ok(match (first, second) {
            (Move::Done, Ok(Move::Lost)) => {
                // Nothing else is left to be deleted, and `init` counts its requests.
                self.written.retain(|path| *path != from && *path != late);
                good("a moved file cannot be moved away again")
            }
            (Move::Done, Ok(Move::Done)) => bad("a file could be moved away twice"),
            (Move::Done, Err(error)) if super::ends_the_probe(&error) => return Err(error),
            (Move::Done, Err(error)) => {
                bad(&format!("the second move away did not find the file gone: {error}"))
            }
            (Move::Lost, _) => bad("a file that was just written could not be moved away"),
        })
    }

    pub(super) async fn move_onto_existing(&mut self) -> Result<Seen> {
        let (from, to) = (self.file("onto-from")?, self.file("onto-to")?);
        self.storage.write(&from, "from".into()).await?;
        self.storage.write(&to, "to".into()).await?;
        let moved = self.storage.move_exclusive(&from, &to).await;
        let target = self.read(&to).await?;
        Ok(match moved {
            Ok(Move::Done) => bad("a move went over a file that was there"),
            _ if target != "to" => bad("a refused move changed its target all the same"),
            _ => good("a move does not go over a file that is there"),
        })
    }

    /// A write over a version that never was. Any success rules conditional writes out.
    pub(super) async fn wrong_version(&mut self) -> Result<Seen> {
        let path = self.file("wrong")?;
        self.storage.write(&path, "kept".into()).await?;
        let wrong = Version("\"larder-no-such-version\"".to_owned());
        let put = self.storage.put(&path, "clobbered".into(), PutMode::Update(wrong)).await;
        let read = self.read(&path).await?;
        Ok(match put {
            Ok(Put::Done(_)) => bad("a write with a wrong version was accepted"),
            _ if read != "kept" => bad("a refused write changed the file all the same"),
            Ok(Put::Lost) => good("a write with a wrong version is refused"),
            Err(error) => bad(&format!("a write with a wrong version fails: {error}")),
        })
    }

    /// Every condition once on one file, for a storage whose commits can rest on nothing else.
    pub(super) async fn conditions(&mut self) -> Result<Seen> {
        let path = self.file("conditions")?;
        let created = self.storage.put(&path, "one".into(), PutMode::Create).await?;
        let again = self.storage.put(&path, "two".into(), PutMode::Create).await?;
        let wrong = PutMode::Update(Version("\"larder-no-such-version\"".to_owned()));
        let wrong = self.storage.put(&path, "three".into(), wrong).await?;
        let Put::Done(Some(version)) = created else {
            return Ok(bad("a new file could not be created, or tells no version"));
        };
        let right = self.storage.put(&path, "four".into(), PutMode::Update(version)).await?;
        let read = self.read(&path).await?;
        Ok(match (again, wrong, right) {
            (Put::Done(_), _, _) => bad("an existing file was created again"),
            (_, Put::Done(_), _) => bad("a write with a wrong version was accepted"),
            (_, _, Put::Lost) => bad("a write with the right version was refused"),
            _ if read != "four" => bad("a refused write changed the file all the same"),
            _ => good("conditions of writes are kept"),
        })
    }

    pub(super) async fn right_version(&mut self) -> Result<Seen> {
        let path = self.file("right")?;
        self.storage.write(&path, "before".into()).await?;
        let Some((version, waited)) = self.version(&path).await? else {
            return Ok(unknown("files come without versions"));
        };
        let mode = PutMode::Update(version.clone());
        let put = self.storage.put(&path, "after".into(), mode.clone()).await?;
        let again = self.storage.put(&path, "again".into(), mode).await?;
        let read = self.read(&path).await?;
        Ok(match (put, again) {
            (Put::Lost, _) => bad("a write with the right version was refused"),
            (Put::Done(_), Put::Done(_)) => bad("a version was accepted twice"),
            (Put::Done(_), Put::Lost) if read != "after" => bad("another content than written"),
            (Put::Done(_), Put::Lost) if waited => {
                good("the right version is accepted, but files have none when they are new")
            }
            (Put::Done(_), Put::Lost) => good("the right version is accepted, once"),
        })
    }

    pub(super) async fn create_on_existing(&mut self) -> Result<Seen> {
        let path = self.file("create")?;
        let first = self.storage.put(&path, "first".into(), PutMode::Create).await?;
        let second = self.storage.put(&path, "second".into(), PutMode::Create).await?;
        let read = self.read(&path).await?;
        Ok(match (first, second) {
            (Put::Lost, _) => bad("a new file could not be created"),
            (_, Put::Done(_)) => bad("an existing file was created again"),
            (_, Put::Lost) if read != "first" => bad("a refused write changed the file"),
            (_, Put::Lost) => good("a file that is there is not created again"),
        })
    }

    /// Two states of one length right after each other must not have one version.
    pub(super) async fn same_second_versions(&mut self) -> Result<Seen> {
        let path = self.file("versions")?;
        let mut versions = Vec::new();
        for content in ["one", "two", "six", "ten"] {
            self.storage.write(&path, content.into()).await?;
            versions.push(self.storage.read(&path, READ_BYTES_MAX).await?.1);
        }
        let told: Vec<_> = versions.iter().flatten().collect();
        let distinct: std::collections::HashSet<_> = told.iter().collect();
        Ok(match told.len() {
            0 => unknown("files tell no strong version while they are new"),
            told if told == distinct.len() => good("each state has a version of its own"),
            _ => bad("two states of one length within a second have the same version"),
        })
    }

    pub(super) async fn read_after_write(&mut self) -> Result<Seen> {
        let path = self.file("read")?;
        for content in ["one", "three", "", "seventeen"] {
            self.storage.write(&path, content.into()).await?;
            if self.storage.read(&path, READ_BYTES_MAX).await.is_ok_and(|read| read.0 == content) {
                continue;
            }
            // A file being replaced in place may be torn or shown with its old length for a moment.
            tokio::time::sleep(Duration::from_millis(1200)).await;
            if self.read(&path).await? != content {
                return Ok(bad("a file that was just written reads as something else"));
            }
        }
        Ok(good("what was written is read at once"))
    }

    pub(super) async fn list_after_write(&mut self) -> Result<Seen> {
        let (first, second) = (self.file("list-1")?, self.file("list-2")?);
        self.storage.write(&first, "1".into()).await?;
        let before = self.names().await?;
        self.storage.write(&second, "2".into()).await?;
        self.storage.delete(&first).await?;
        let after = self.names().await?;
        let new_is_there = before.contains(&first) && after.contains(&second);
        Ok(match (new_is_there, after.contains(&first)) {
            (false, _) => bad("a new file is not listed at once"),
            (true, true) => bad("a deleted file is still listed"),
            (true, false) => good("listings are up to date at once"),
        })
    }

    pub(super) async fn range(&mut self) -> Result<Seen> {
        let path = self.file("range")?;
        self.storage.write(&path, "0123456789".into()).await?;
        let options = GetOptions { range: Some(3..6), if_none_match: None };
        let Get::Object(object) = self.storage.get(&path, options).await? else {
            return Ok(bad("the server says 'not modified' without being asked"));
        };
        let covered = object.range.clone();
        let bytes = collect(&path, object, READ_BYTES_MAX).await?;
        Ok(match covered {
            Some(range) if range == (3..6) && bytes == "345" => good("parts of files can be read"),
            None if bytes == "0123456789" => unknown("ranges are ignored: whole files come"),
            _ => bad("a range came with the wrong bytes"),
        })
    }

    pub(super) async fn clock_offset(&mut self) -> Result<Seen> {
        let Some(theirs) = self.storage.list(self.scratch).await?.server_time else {
            return Ok(unknown("the server tells no time"));
        };
        let offset = theirs - self.clock.now();
        self.report.clock_offset_ms = Some(offset.num_milliseconds());
        let seconds = offset.num_seconds();
        let side = if seconds < 0 { "behind" } else { "ahead of" };
        let told = format!("the server's clock is {} s {side} ours", seconds.abs());
        Ok(match seconds.abs() {
            0..=2 => good("the server's clock agrees with ours"),
            3..=300 => good(&told),
            _ => bad(&told),
        })
    }

    pub(super) async fn read(&self, path: &RemotePath) -> Result<Bytes> {
        Ok(self.storage.read(path, READ_BYTES_MAX).await?.0)
    }

    /// The version of a file, and whether it had none at first; nothing after three seconds.
    pub(super) async fn version(&self, path: &RemotePath) -> Result<Option<(Version, bool)>> {
        for waited in [false, true] {
            if waited {
                tokio::time::sleep(Duration::from_millis(2200)).await;
            }
            if let Some(version) = self.storage.read(path, READ_BYTES_MAX).await?.1 {
                return Ok(Some((version, waited)));
            }
        }
        Ok(None)
    }

    pub(super) async fn names(&self) -> Result<Vec<RemotePath>> {
        let listing = self.storage.list(self.scratch).await?;
        Ok(listing.entries.into_iter().map(|entry| entry.path).collect())
    }
}

pub(super) fn good(detail: &str) -> Seen {
    (Verdict::Good, detail.to_owned())
}

pub(super) fn bad(detail: &str) -> Seen {
    (Verdict::Bad, detail.to_owned())
}

pub(super) fn unknown(detail: &str) -> Seen {
    (Verdict::Unknown, detail.to_owned())
}

/// Whether a rival that failed like this is only one that came too late.
pub(super) fn came_too_late(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Busy | ErrorKind::Server | ErrorKind::Forbidden | ErrorKind::NotFound
    )
}
