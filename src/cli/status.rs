//! `larder status`: what a turn would send, without asking the remote.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Ended,
    args::Args,
    config::NamedRemote,
    error::CliError,
    ui::{Ui, bytes, count, duration, grouped, one_line},
    workplace::{Access, Workplace, is_busy},
};
use crate::{
    clock::Clock,
    model::{RemoteId, Stamp, VaultPath},
    store::{Healed, Trouble},
};

/// For how many days it is told that a remote went back or was forked.
const HEALED_DAYS: i64 = 7;

/// How many files that wait are told by their names.
const NAMED_MAX: usize = 3;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    state: &'static str,
    pending_changes: u64,
    conflicts: u64,
    /// Those of them that wait for a person.
    conflicts_waiting: u64,
    last_sync_at: Option<Stamp>,
    generation: Option<u64>,
    device: String,
    device_id: Option<String>,
    remote: Option<String>,
    encrypted: bool,
    /// Contents of files that a remote is to get as soon as this device has them.
    owed_contents: u64,
    owed_bytes: u64,
    /// Files here that are behind their records.
    files_waiting: u64,
    vault: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    healed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healed_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Stamp>,
    /// Where there are several remotes, how it is with each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remotes: Vec<ToldRemote>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldRemote {
    name: String,
    remote: String,
    remote_id: Option<RemoteId>,
    encrypted: bool,
    owed_contents: u64,
    owed_bytes: u64,
    last_sync_at: Option<Stamp>,
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Stamp>,
    /// That it went back or was forked, if that was healed in the last days.
    #[serde(skip_serializing_if = "Option::is_none")]
    healed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healed_at: Option<Stamp>,
}

/// Runs the command.
pub(super) fn run(args: &Args, ui: &Ui) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Look)?;
    let remotes = remotes(&mut place)?;
    let engine = &place.engine;
    let pending = engine.pending_changes()? as u64;
    let (waiting, decided) = engine.store().conflict_counts()?;
    let waiting_files: Vec<VaultPath> = engine.waiting_files()?.into_values().collect();
    // What a brake, a remote that is gone or another, or a folder without a head has stopped stays so
    // until a turn goes well. What does not pass by itself comes first.
    let troubles = || remotes.iter().filter_map(|(_, trouble)| trouble.clone());
    let trouble = troubles().find(|trouble| !trouble.is_temporary).or_else(|| troubles().next());
    let default = remotes.first().map(|(told, _)| told);
    let owed = remotes.iter().map(|(told, _)| (told.owed_contents, told.owed_bytes));
    let owed = owed.reduce(|sum, one| (sum.0 + one.0, sum.1 + one.1)).unwrap_or_default();
    let is_new = remotes.is_empty() || remotes.iter().any(|(told, _)| told.generation.is_none());
    let state = match () {
        () if trouble.as_ref().is_some_and(|trouble| !trouble.is_temporary) => "error",
        () if trouble.is_some() => "offline",
        () if waiting > 0 => "conflict",
        // A daemon is at work all the time, whatever became of its last turn.
        () if is_busy(&place.root) => "syncing",
        () if pending > 0 || owed.0 > 0 || !waiting_files.is_empty() || is_new => "pending",
        () => "synced",
    };
    let told = Told {
        state,
        pending_changes: pending,
        conflicts: waiting + decided,
        conflicts_waiting: waiting,
        last_sync_at: default.and_then(|told| told.last_sync_at),
        generation: default.and_then(|told| told.generation),
        device: place.config.device.clone(),
        device_id: engine.store().replica()?.map(|replica| replica.device.to_string()),
        remote: place.config.remotes.first().map(NamedRemote::shown),
        encrypted: default.is_some_and(|told| told.encrypted),
        owed_contents: owed.0,
        owed_bytes: owed.1,
        files_waiting: waiting_files.len() as u64,
        vault: place.root.display().to_string(),
        healed: default.and_then(|told| told.healed.clone()),
        healed_at: default.and_then(|told| told.healed_at),
        since: trouble.as_ref().map(|trouble| Stamp::from_millis(trouble.since_ms)),
        reason: trouble.map(|trouble| trouble.message),
        remotes: if remotes.len() > 1 {
            remotes.into_iter().map(|(told, _)| told).collect()
        } else {
            Vec::new()
        },
    };
    ui.object(&told);
    tell(ui, &told, &waiting_files);
    Ok(Ended::Done)
}

/// What is known of each remote, that first which commands are about that name none.
fn remotes(place: &mut Workplace) -> Result<Vec<(ToldRemote, Option<Trouble>)>, CliError> {
    let mut remotes = Vec::new();
    for remote in place.config.remotes.clone() {
        let id = place.id_of(&remote)?;
        let is_bound = match &id {
            Some(id) => place.engine.look_at(id).is_ok(),
            None => false,
        };
        let store = place.engine.store();
        let mark = if is_bound { store.remote_mark()? } else { None };
        let trouble = if is_bound { store.trouble()? } else { None };
        let owed = if is_bound { store.owed_blobs()? } else { BTreeSet::new() };
        let healed = if is_bound { store.healed()? } else { None };
        let healed = healed.filter(is_recent);
        let encrypted = place.is_encrypted(&remote)?;
        let told = ToldRemote {
            encrypted,
            healed_at: healed.as_ref().map(|healed| Stamp::from_millis(healed.at_ms)),
            healed: healed.map(|healed| healed.message),
            owed_contents: owed.len() as u64,
            owed_bytes: owed.iter().map(|blob| blob.bytes).sum(),
            remote: remote.shown(),
            name: remote.name,
            remote_id: id,
            last_sync_at: mark.as_ref().map(|mark| Stamp::from_millis(mark.synced_ms)),
            generation: mark.map(|mark| mark.generation),
            since: trouble.as_ref().map(|trouble| Stamp::from_millis(trouble.since_ms)),
            reason: trouble.as_ref().map(|trouble| trouble.message.clone()),
        };
        remotes.push((told, trouble));
    }
    Ok(remotes)
}

fn is_recent(healed: &Healed) -> bool {
    let age_ms = Clock::system().now().millis().saturating_sub(healed.at_ms);
    age_ms < HEALED_DAYS * 24 * 60 * 60 * 1000
}

/// When a remote was last in step.
pub(super) fn synced(at: Option<Stamp>, generation: Option<u64>) -> String {
    let Some(at) = at else { return "never".to_owned() };
    let ago = Clock::system().now().millis().saturating_sub(at.millis());
    format!("{} ago, generation {}", duration(ago), generation.unwrap_or(0))
}

/// What is said of an encrypted remote after its address.
pub(super) fn marked(encrypted: bool) -> &'static str {
    if encrypted { " (encrypted)" } else { "" }
}

fn tell(ui: &Ui, told: &Told, waiting: &[VaultPath]) {
    ui.answer(format!("vault      {}", told.vault));
    if told.remotes.is_empty() {
        let encrypted = marked(told.encrypted);
        let remote = told.remote.as_deref().unwrap_or("none yet");
        ui.answer(format!("remote     {remote}{encrypted}"));
    }
    ui.answer(format!("device     {}", told.device));
    for remote in &told.remotes {
        let synced = synced(remote.last_sync_at, remote.generation);
        let ToldRemote { name, remote, encrypted, .. } = remote;
        let encrypted = marked(*encrypted);
        ui.answer(format!("remote     {name}, {remote}{encrypted}, synced {synced}"));
    }
    if told.remotes.is_empty() {
        ui.answer(format!("synced     {}", synced(told.last_sync_at, told.generation)));
    }
    // What has stopped them all is of the vault.
    let is_of_all = told.remotes.iter().all(|remote| remote.reason == told.reason);
    for remote in told.remotes.iter().filter(|_| !is_of_all) {
        if let Some(reason) = &remote.reason {
            ui.answer(ui.warning(&format!("           {}: {reason}", remote.name)));
        }
    }
    if let Some(reason) = told.reason.as_ref().filter(|_| is_of_all) {
        ui.answer(ui.warning(&format!("{:<11}{reason}", told.state)));
    }
    ui.answer(format!("pending    {}", pending_text(told.pending_changes)));
    for remote in &told.remotes {
        tell_owed(ui, &format!("{} lacks", remote.name), remote.owed_contents, remote.owed_bytes);
    }
    if told.remotes.is_empty() {
        tell_owed(ui, "the remote lacks", told.owed_contents, told.owed_bytes);
    }
    tell_waiting(ui, waiting);
    tell_healed(ui, "the remote", told.healed.as_deref(), told.healed_at);
    for remote in told.remotes.iter().skip(1) {
        tell_healed(ui, &remote.name, remote.healed.as_deref(), remote.healed_at);
    }
    if told.conflicts > 0 {
        let waiting = told.conflicts_waiting;
        let decided = told.conflicts - waiting;
        let parts = [(waiting, "waiting for you"), (decided, "decided by a rule")];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<String> = parts.map(|(number, what)| format!("{number} {what}")).collect();
        ui.answer(format!("conflicts  {}: `larder conflicts`", parts.join(", ")));
    }
}

/// Says which contents of files a remote has yet to get; nothing where there are none.
fn tell_owed(ui: &Ui, who: &str, contents: u64, size: u64) {
    if contents > 0 {
        let contents = count(contents, "content of a file", "contents of files");
        ui.answer(format!(
            "owed       {who} {contents}, {}: the next sync that finds it here sends it",
            bytes(size)
        ));
    }
}

/// Says that a remote went back or was forked, though all is well again.
fn tell_healed(ui: &Ui, name: &str, healed: Option<&str>, at: Option<Stamp>) {
    if let Some((what, at)) = healed.zip(at) {
        let ago = Clock::system().now().millis().saturating_sub(at.millis());
        ui.answer(format!("healed     {} ago: {name} {}", duration(ago), one_line(what)));
    }
}

/// Says which files here are behind their records: a few of them by name, unless all are asked for.
fn tell_waiting(ui: &Ui, files: &[VaultPath]) {
    let shown = if ui.verbose() { files.len() } else { NAMED_MAX };
    let mut names: Vec<String> =
        files.iter().take(shown).map(|path| one_line(path.as_str())).collect();
    if let more @ 1.. = files.len().saturating_sub(shown) {
        names.push(format!("{} more", grouped(more as u64)));
    }
    if !files.is_empty() {
        let names = names.join(", ");
        let files = count(files.len() as u64, "file here", "files here");
        ui.answer(format!(
            "waiting    {files}, until a sync can write, move or remove them: {names}"
        ));
    }
}

fn pending_text(pending: u64) -> String {
    match pending {
        0 => "nothing to send".to_owned(),
        _ => count(pending, "change to send", "changes to send"),
    }
}
