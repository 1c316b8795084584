//! What lies on the remote that the manifest does not name.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use larder_providers::{Entry, RemotePath, StorageExt};

use super::{CommitMode, HeadState, Manifest, Remote, Result, Retired, layout};
use crate::{
    model::{Stamp, blob::digest_of},
    mutant::{self, Mutant},
};

/// How long a file that no longer counts is left to slow readers, in hours of the server's clock.
/// This only spares them a second read: a reader that meets a missing file reads the head again.
const GRACE_HOURS: i64 = 24;

/// How many retired files wait that long; with more of them, the oldest go after minutes.
const RETIRED_KEPT: usize = 64;
/// With so many retired files the oldest go at once: the manifest names them, and must stay small.
const RETIRED_MAX: usize = 1024;
/// How long a retired file is left to slow readers where there are many, in minutes.
const SHORT_GRACE_MINUTES: i64 = 10;

/// How many manifests before the current one are kept, for people who look for what went wrong.
const MANIFESTS_KEPT: u64 = 16;

/// What lies on the remote beside what its manifest names.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Files that were retired long enough ago to be removed.
    pub expired: Vec<RemotePath>,
    /// Manifests of long ago.
    pub old_manifests: Vec<RemotePath>,
    /// Data files that no manifest names, built below the floor: no commit can name them any more.
    pub orphans: Vec<Entry>,
    /// Data files that no manifest names yet, and that the next floor would fence. In mode devices,
    /// where there is none, all that no head names.
    pub loose: Vec<Entry>,
    /// Data files that no manifest names, unless it be a head that cannot be read.
    pub doubtful: Vec<Entry>,
    /// Data files that the manifest names, as they lie there.
    pub present: Vec<Entry>,
    /// Contents of files, those that are retired left out.
    pub blobs: Vec<Entry>,
    /// Names that larder did not give.
    pub foreign: Vec<String>,
    /// The time by the server's clock, where it tells it.
    pub server_time: Option<DateTime<Utc>>,
}

impl Survey {
    /// Leaves only those orphans that have lain there for so many hours.
    pub fn leave_young_orphans(&mut self, hours: i64) {
        let now = self.server_time;
        self.orphans.retain(|orphan| is_past(orphan, now, hours));
    }
}

/// Lists the remote's folders and tells what of it is not, or no longer, part of the remote.
pub async fn survey(remote: &Remote, head: &HeadState) -> Result<Survey> {
    let manifest = &head.manifest;
    let (mut survey, mode) = (Survey::default(), remote.head.mode());
    let named: BTreeSet<&RemotePath> = manifest.data().map(|data| &data.file).collect();
    let retired: BTreeSet<&RemotePath> = manifest.retired.iter().map(|old| &old.file).collect();
    for folder in [layout::DELTAS, layout::ENTITIES, layout::PACKS, layout::BLOBS] {
        let listing = remote.storage.list_if_there(&layout::path(folder)?).await?;
        survey.server_time = listing.server_time.or(survey.server_time);
        survey.foreign.extend(listing.foreign.iter().map(|name| format!("{folder}/{name}")));
        for entry in listing.entries {
            if named.contains(&entry.path) {
                survey.present.push(entry);
            } else if retired.contains(&entry.path) {
                // It waits for its day.
            } else if digest_of(entry.path.as_str()).is_some() {
                survey.blobs.push(entry);
            } else if head.may_remove(&entry.path) {
                // Where no commit can be made to fail, one that names a file may always come.
                let is_fenced = |built_on| mode != CommitMode::Devices && built_on < manifest.floor;
                match layout::data_generation(entry.path.as_str()) {
                    Some(built_on) if is_fenced(built_on) || mutant::is(Mutant::NoFloor) => {
                        survey.orphans.push(entry);
                    }
                    Some(_) => survey.loose.push(entry),
                    None => survey.foreign.push(entry.path.to_string()),
                }
            } else if head.is_doubtful(&entry.path) {
                survey.doubtful.push(entry);
            }
        }
    }
    let Some(now) = survey.server_time else { return Ok(survey) };
    survey.expired = expired(head, Stamp::from_millis(now.timestamp_millis()));
    survey.old_manifests = old_manifests(remote, manifest).await?;
    Ok(survey)
}

/// Whether a file has lain there for so many hours, by the storage's clock.
fn is_past(entry: &Entry, now: Option<DateTime<Utc>>, hours: i64) -> bool {
    let age = now.zip(entry.modified).map(|(now, modified)| now - modified);
    age.is_some_and(|age| age >= TimeDelta::hours(hours))
}

/// The retired files that may be removed by now.
pub fn expired(head: &HeadState, now: Stamp) -> Vec<RemotePath> {
    // Whatever a manifest says: only what may be data or a content is ever taken away.
    let is_ours = |file: &str| layout::data_generation(file).is_some() || digest_of(file).is_some();
    let retired = head.manifest.retired.iter().filter(|old| is_ours(old.file.as_str()));
    let mut retired: Vec<_> = retired.filter(|old| head.may_remove(&old.file)).collect();
    retired.sort_by_key(|old| std::cmp::Reverse(old.since));
    let age_of =
        |since: Stamp| TimeDelta::milliseconds(now.millis().saturating_sub(since.millis()));
    let is_past = |(newer, old): &(usize, &Retired)| {
        let age = age_of(old.since);
        let is_many = *newer >= RETIRED_KEPT && age >= TimeDelta::minutes(SHORT_GRACE_MINUTES);
        let is_over = *newer >= RETIRED_MAX || mutant::is(Mutant::NoGrace);
        is_over || is_many || age >= TimeDelta::hours(GRACE_HOURS)
    };
    retired.into_iter().enumerate().filter(is_past).map(|(_, old)| old.file.clone()).collect()
}

/// Manifests of long ago, where each has a file of its own.
pub async fn old_manifests(remote: &Remote, manifest: &Manifest) -> Result<Vec<RemotePath>> {
    if remote.head.mode() != CommitMode::Rename {
        return Ok(Vec::new());
    }
    let listing = remote.storage.list(&layout::path(layout::MANIFESTS)?).await?;
    let Some(now) = listing.server_time else { return Ok(Vec::new()) };
    let is_old = |entry: &Entry| {
        let generation = layout::token_generation(entry.path.name());
        let is_behind =
            generation.is_some_and(|g| g.saturating_add(MANIFESTS_KEPT) < manifest.generation);
        let is_past = |since| now - since >= TimeDelta::minutes(SHORT_GRACE_MINUTES);
        is_behind && entry.modified.is_some_and(is_past)
    };
    Ok(listing.entries.into_iter().filter(is_old).map(|entry| entry.path).collect())
}
