//! The heads of all devices, sorted by what they can be believed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use larder_providers::RemotePath;

use super::{Manifest, Result, budget::too_much};
use crate::{
    model::{DeviceId, Stamp},
    mutant::{self, Mutant},
    remote::{RemoteError, layout},
};

/// One head that was read.
pub(super) struct Found {
    pub(super) file: RemotePath,
    pub(super) manifest: Manifest,
    pub(super) sha256: String,
    /// Whether it is the state that was listed; if not, it is read again next time.
    pub(super) is_certain: bool,
}

impl Found {
    /// The data files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &RemotePath> {
        self.manifest.data().map(|data| &data.file)
    }
}

/// What came of reading a head.
pub(super) enum Loaded {
    Found(Box<Found>),
    /// It is another remote's.
    Foreign(Box<Found>),
    /// It cannot be understood.
    Unreadable(RemotePath),
    /// There is no room for it.
    Aside(RemotePath),
}

/// The heads that count, those that do not yet, and those that say nothing.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) whole: Vec<Found>,
    /// With a file that it names and that is not there.
    pub(super) waiting: Vec<(Found, RemotePath)>,
    pub(super) unreadable: Vec<RemotePath>,
    /// Those of other remotes: before a folder was mirrored, two devices may each have made one in it.
    pub(super) foreign: Vec<Found>,
    /// Those that are not looked into, and why.
    pub(super) aside: Vec<(RemotePath, String)>,
}

impl Sorted {
    pub(super) fn add(&mut self, loaded: Loaded) {
        match loaded {
            Loaded::Found(found) => self.whole.push(*found),
            Loaded::Foreign(found) => self.foreign.push(*found),
            Loaded::Unreadable(file) => self.unreadable.push(file),
            Loaded::Aside(file) => self.aside.push((file, too_much())),
        }
    }

    /// Those of which nobody knows what they say.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &RemotePath> {
        self.unreadable.iter().chain(self.aside.iter().map(|(file, _)| file))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Found> {
        self.whole.iter().chain(self.waiting.iter().map(|(found, _)| found))
    }

    /// Every head that was understood, whosever remote it is of.
    pub(super) fn understood(&self) -> impl Iterator<Item = &Found> {
        self.all().chain(&self.foreign)
    }

    /// The files of heads that are joined for which the join, which names these, has no use: others folded
    /// them. What a head that does not count may need is none of them.
    pub(super) fn outdone(&self, named: &BTreeSet<&RemotePath>) -> BTreeSet<RemotePath> {
        let apart = self.waiting.iter().map(|(found, _)| found).chain(&self.foreign);
        let awaited: BTreeSet<&RemotePath> = apart.flat_map(Found::files).collect();
        let joined = self.whole.iter().flat_map(Found::files);
        joined.filter(|file| !named.contains(file) && !awaited.contains(file)).cloned().collect()
    }

    /// What the heads say that do not count yet.
    pub(super) fn unmet(&self) -> Vec<Manifest> {
        self.waiting.iter().map(|(found, _)| found.manifest.clone()).collect()
    }

    /// Whether a head that does not count yet says more than this device agreed to.
    pub(super) fn has_news_for(&self, last: Option<&Manifest>, own: &RemotePath) -> bool {
        let is_kept = |file: &RemotePath| file != own || mutant::is(Mutant::WaitsForEver);
        let others = self.waiting.iter().filter(|(found, _)| is_kept(&found.file));
        let mut heads = others.map(|(found, _)| &found.manifest.knows);
        match last {
            Some(_) if mutant::is(Mutant::WaitsForEver) => heads.next().is_some(),
            Some(last) => heads.any(|knows| !last.knows.includes(knows)),
            // What the own head speaks of is here, and is sent anew.
            None => heads.next().is_some(),
        }
    }

    /// Whether this device's head says less than the state that the device takes part in, or names
    /// files that nobody needs: they stay as long as it does.
    pub(super) fn is_stale(&self, own: &RemotePath, device: &DeviceId, now: &Manifest) -> bool {
        match self.all().find(|found| found.file == *own) {
            Some(found) => {
                let named: BTreeSet<&RemotePath> = now.data().map(|data| &data.file).collect();
                found.manifest.knows.get(device) < now.knows.get(device)
                    || found.manifest.data().any(|data| !named.contains(&data.file))
            }
            None => now.knows.get(device) > 0,
        }
    }

    /// Copies that programs made of heads; all that they say is part of `now`, also where they name what
    /// is gone by now. A head under its own name is its device's alone to remove, for it may be written at
    /// this very moment.
    pub(super) fn strays(&self, now: &Manifest) -> Vec<RemotePath> {
        let is_copy = |found: &Found| {
            own_file(&found.manifest.commit.device).is_ok_and(|file| file != found.file)
        };
        let known = self.all().filter(|found| now.knows.includes(&found.manifest.knows));
        let strays = known.filter(|found| is_copy(found));
        strays.map(|found| found.file.clone()).collect()
    }

    /// What does not count yet, where it may say something that `now` does not know.
    pub(super) fn notes(&self, now: &Manifest) -> Vec<(RemotePath, String)> {
        let waiting = self.waiting.iter();
        let waiting = waiting.filter(|(found, _)| !now.knows.includes(&found.manifest.knows));
        let waiting = waiting.map(|(found, missing)| {
            let who = &found.manifest.commit.device;
            let text = format!("names {missing}, which has not arrived: the news of {who} wait");
            (found.file.clone(), text)
        });
        let unreadable = self.unreadable.iter().map(|file| {
            let text = "cannot be read; its device writes it anew with its next sync (if it is gone \
                        for good, `larder check --repair` takes up what it sent, and `larder \
                        devices forget` lets go of it)";
            (file.clone(), text.to_owned())
        });
        let foreign = self.foreign.iter().map(|found| {
            let Manifest { commit, remote_id, .. } = &found.manifest;
            let text = format!(
                "is of another remote, {remote_id}, that {} made in this folder as well: it has to join this one",
                commit.device
            );
            (found.file.clone(), text)
        });
        waiting.chain(unreadable).chain(foreign).chain(self.aside.iter().cloned()).collect()
    }

    pub(super) fn what_is_missing(&self, now: &Manifest) -> RemoteError {
        let notes = self.notes(now);
        let first = notes.first().map(|(file, text)| format!("{file} {text}"));
        let first = first.or_else(|| Some("edits that were agreed are in no head".to_owned()));
        let more = notes.len().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        RemoteError::Incomplete { detail: first.unwrap_or_default() + &more }
    }
}

pub(super) fn own_file(device: &DeviceId) -> Result<RemotePath> {
    layout::path(format!("{}/{device}.json", layout::HEADS))
}

/// Has wait what a head named until it was cut off: others may be reading it.
pub(super) fn let_go(manifest: &mut Manifest, last: &Manifest, now: DateTime<Utc>) {
    let since = Stamp::from_millis(now.timestamp_millis());
    manifest.retire(last.data().map(|data| data.file.clone()), since);
}
