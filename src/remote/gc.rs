//! What lies on the remote that the manifest does not name.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use larder_providers::{Entry, RemotePath, Storage};

use super::{CommitMode, Manifest, Remote, Result, layout};

/// How long a file that no longer counts is left to slow readers, in hours of the server's clock.
/// This only spares them a second read: a reader that meets a missing file reads the head again.
const GRACE_HOURS: i64 = 24;

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
    /// Whether there are data files that no manifest names yet and that the next floor would fence.
    pub has_loose: bool,
    /// Data files that the manifest names, as they lie there.
    pub present: Vec<Entry>,
    /// Names that larder did not give.
    pub foreign: Vec<String>,
}

/// Lists the remote's folders and tells what of it is not, or no longer, part of the remote.
pub async fn survey(remote: &Remote, manifest: &Manifest) -> Result<Survey> {
    let mut survey = Survey::default();
    let named: BTreeSet<&RemotePath> = manifest.data().map(|data| &data.file).collect();
    let retired: BTreeSet<&RemotePath> = manifest.retired.iter().map(|old| &old.file).collect();
    let mut server_time = None;
    for folder in [layout::DELTAS, layout::ENTITIES, layout::PACKS] {
        let listing = match remote.storage.list(&layout::path(folder)?).await {
            Ok(listing) => listing,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        server_time = listing.server_time.or(server_time);
        survey.foreign.extend(listing.foreign.iter().map(|name| format!("{folder}/{name}")));
        for entry in listing.entries {
            if named.contains(&entry.path) {
                survey.present.push(entry);
            } else if !retired.contains(&entry.path) {
                match layout::data_generation(entry.path.as_str()) {
                    Some(built_on) if built_on < manifest.floor => survey.orphans.push(entry),
                    Some(_) => survey.has_loose = true,
                    None => survey.foreign.push(entry.path.to_string()),
                }
            }
        }
    }
    let Some(now) = server_time else { return Ok(survey) };
    let is_past = |since: DateTime<Utc>| now - since >= TimeDelta::hours(GRACE_HOURS);
    for old in &manifest.retired {
        let since = DateTime::from_timestamp_millis(old.since.millis());
        if since.is_some_and(is_past) {
            survey.expired.push(old.file.clone());
        }
    }
    if remote.head.mode() == CommitMode::Rename {
        let listing = remote.storage.list(&layout::path(layout::MANIFESTS)?).await?;
        for entry in listing.entries {
            let generation = layout::token_generation(entry.path.name());
            let is_old =
                generation.is_some_and(|g| g.saturating_add(MANIFESTS_KEPT) < manifest.generation);
            if is_old && entry.modified.is_some_and(is_past) {
                survey.old_manifests.push(entry.path);
            }
        }
    }
    Ok(survey)
}
