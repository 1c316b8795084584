//! `larder remote`: show, move, probe or log in to a remote; which remotes there are stands in [`remotes`].

mod remotes;

use std::fs;

use larder_providers::{
    Depth, Local, ProbeReport, RemotePath, SharedStorage, Storage as _, Traffic, probe,
};
use serde::Serialize;

use super::{
    Ended,
    args::{Args, RemoteAction},
    error::{CliError, exit_code},
    init, login,
    remote_url::RemoteUrl,
    secrets,
    ui::{Ui, bytes, count, grouped, one_line},
    unlock::{self, Goal, Which},
    workplace::{Access, Workplace},
};
use crate::{
    model::{RemoteId, Stamp},
    remote::{CommitMode, HeadRead, Manifest, Remote, layout::PROBE},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    remote: String,
    remote_id: &'a RemoteId,
    commit_mode: CommitMode,
    encrypted: bool,
    generation: u64,
    last_sync_timestamp: Stamp,
    packs: usize,
    deltas: usize,
    retired: usize,
    bytes: u64,
    devices: Vec<ToldDevice<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldDevice<'a> {
    id: &'a str,
    name: &'a str,
    last_seen: Stamp,
    read_generation: u64,
}

/// What a probe came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Probed<'a> {
    #[serde(flatten)]
    report: &'a ProbeReport,
    /// The commit mode that follows.
    commit_mode: Option<CommitMode>,
    mirrored_by: Option<&'static str>,
    requests: u64,
    /// How often the server asked for patience, and for how long at most.
    put_off: u64,
    longest_wait_ms: Option<u128>,
}

/// Runs the command.
pub(super) async fn run(
    args: &Args,
    ui: &Ui,
    action: &RemoteAction,
    chosen: Option<&str>,
) -> Result<Ended, CliError> {
    match action {
        RemoteAction::Show => show(args, ui, chosen).await,
        RemoteAction::Logout { url } => login::log_out(args, ui, url.as_deref(), chosen),
        RemoteAction::Set { url } => set(args, ui, url, chosen).await,
        RemoteAction::Passphrase => passphrase(args, ui, chosen).await,
        RemoteAction::Probe { url } => run_probe(args, ui, url.as_deref(), chosen).await,
        RemoteAction::List => remotes::list(args, ui),
        RemoteAction::Add { name, url, commit, encrypt } => {
            let wanted = init::Wanted { commit: *commit, encrypt: *encrypt };
            remotes::add(args, ui, (name, url), wanted).await
        }
        RemoteAction::Remove { name } => remotes::remove(args, ui, name),
        RemoteAction::SetDefault { name } => remotes::set_default(args, ui, name),
        RemoteAction::Login { url, app_key, port } => {
            login::run(ui, url, app_key.as_deref(), *port).await
        }
    }
}

async fn show(args: &Args, ui: &Ui, chosen: Option<&str>) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Look)?;
    let storage = place.storage(chosen, ui, &Traffic::new()).await?;
    let remote = place.engine.remote(&storage)?;
    let head = match place.engine.look_at_head(&remote, true).await? {
        HeadRead::Current(head) => head,
        HeadRead::Unchanged | HeadRead::Missing => {
            return Err(place.engine.why_missing(&remote).await.into());
        }
    };
    let named = place.config.remote(chosen)?.clone();
    let encrypted = place.is_encrypted(&named)?;
    tell(ui, named.shown(), encrypted, &remote, &head.manifest);
    Ok(Ended::Done)
}

fn tell(ui: &Ui, url: String, encrypted: bool, remote: &Remote, manifest: &Manifest) {
    let told = Told {
        remote: url,
        remote_id: &remote.id,
        commit_mode: manifest.commit_mode,
        encrypted,
        generation: manifest.generation,
        last_sync_timestamp: manifest.last_sync_timestamp,
        packs: manifest.packs.len(),
        deltas: manifest.deltas.len(),
        retired: manifest.retired.len(),
        bytes: manifest.bytes(),
        devices: manifest
            .devices
            .iter()
            .map(|(id, device)| ToldDevice {
                id: id.as_str(),
                name: &device.name,
                last_seen: device.last_seen,
                read_generation: device.read_generation,
            })
            .collect(),
    };
    ui.object(&told);
    ui.answer(format!("remote      {}", told.remote));
    ui.answer(format!("id          {}", told.remote_id));
    ui.answer(format!("commits by  {}", told.commit_mode.name()));
    ui.answer(format!("encrypted   {}", if told.encrypted { "yes" } else { "no" }));
    ui.answer(format!("generation  {}, {}", grouped(told.generation), told.last_sync_timestamp));
    let packs = count(told.packs as u64, "pack", "packs");
    let deltas = count(told.deltas as u64, "file of changes", "files of changes");
    ui.answer(format!("holds       {packs}, {deltas}, {}", bytes(told.bytes)));
    for device in &told.devices {
        let (id, name) = (device.id, one_line(device.name));
        ui.answer(format!("device      {name} ({id}), last seen {}", device.last_seen));
    }
}

/// The new address must lead to the same remote: it is asked for its id before anything is kept.
async fn set(args: &Args, ui: &Ui, address: &str, chosen: Option<&str>) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Change)?;
    let which = match (chosen, place.config.remotes.is_empty()) {
        (None, true) => Which::First,
        _ => Which::Own(place.expected_id(place.config.remote(chosen)?)?),
    };
    let (url, given) = init::take_address(address, ui)?;
    place.refuse_inside(&url)?;
    if let Ok(remote) = place.config.remote(chosen) {
        place.config.check_new_address(&url, Some(&remote.name))?;
        place.speak_of(&remote.name, Some(&url), ui);
    }
    let (ca_file, traffic) = (place.ca_file(), Traffic::new());
    let storage = secrets::open_anew(&url, given, ca_file.as_deref(), ui, &traffic).await?;
    let goal = Goal { which, mode: None, encrypt: false };
    let (_, connected) = unlock::connect(&mut place, storage, &goal, ui).await?;
    place.set_remote(chosen, &url, &connected.id)?;
    place.set_ca_file(ui.given_ca_file())?;
    ui.object(&serde_json::json!({ "remote": url.to_string(), "remoteId": connected.id }));
    let which = chosen.map_or("The remote".to_owned(), |name| format!("The remote {name}"));
    ui.line(format!("{which} of this vault is now {url}."));
    Ok(Ended::Done)
}

/// The key that everything is encrypted with stays; only what opens it becomes another.
async fn passphrase(args: &Args, ui: &Ui, chosen: Option<&str>) -> Result<Ended, CliError> {
    let place = Workplace::find(args, Access::Change)?;
    let remote = place.config.remote(chosen)?;
    let id = place.known_id(remote)?;
    if !place.is_encrypted(remote)? {
        let text = format!("the remote {} of this vault is not encrypted", remote.name);
        return Err(CliError::Usage(text));
    }
    let raw = place.raw_storage(remote, ui, &Traffic::new()).await?;
    unlock::change_passphrase(&place, &raw, &id, ui).await?;
    ui.object(&serde_json::json!({ "changed": true }));
    let which = ui.about().map_or_else(String::new, |name| format!(" {name}"));
    ui.line(format!(
        "The remote{which} has a new passphrase. Devices that know it go on without being asked."
    ));
    Ok(Ended::Done)
}

async fn run_probe(
    args: &Args,
    ui: &Ui,
    address: Option<&str>,
    chosen: Option<&str>,
) -> Result<Ended, CliError> {
    let traffic = Traffic::new();
    let (url, storage) = match address {
        Some(address) => {
            let (url, given) = init::take_address(address, ui)?;
            let storage = secrets::open(&url, given, None, ui, &traffic).await?;
            storage.make_folder(&RemotePath::root()).await?;
            (url, storage)
        }
        None => {
            let place = Workplace::find(args, Access::Look)?;
            let remote = place.config.remote(chosen)?;
            let storage = place.raw_storage(remote, ui, &traffic).await?;
            // Where it is gone, as with a disk that is not connected, none is made in its place.
            storage.list_names(&RemotePath::root()).await?;
            (remote.address()?, storage)
        }
    };
    let report = tried(&url, &storage, &traffic).await?;
    let mirrored_by = storage.capabilities().mirrored_by;
    let trusted = storage.capabilities().trusted;
    let spent = traffic.snapshot();
    let told = Probed {
        report: &report,
        commit_mode: probed_mode(&report, mirrored_by.is_some(), trusted)
            .filter(|_| report.stopped.is_none()),
        mirrored_by,
        requests: spent.requests,
        put_off: spent.put_off,
        longest_wait_ms: spent.longest_wait.map(|wait| wait.as_millis()),
    };
    ui.object(&told);
    tell_probe(ui, &told);
    Ok(match report.stopped {
        Some(_) => Ended::Partly(exit_code::UNREACHABLE),
        None => Ended::Done,
    })
}

/// What a storage can do, tried out in a scratch folder of which nothing stays.
async fn tried(
    url: &RemoteUrl,
    storage: &SharedStorage,
    traffic: &Traffic,
) -> Result<ProbeReport, CliError> {
    let scratch = RemotePath::new(PROBE).map_err(anyhow::Error::from)?;
    let RemoteUrl::Folder(folder) = url else {
        return Ok(probe(storage, &scratch, Depth::Full).await?);
    };
    // Conditional writes leave a lock in the root of a storage in a folder: this one goes with it.
    let above = folder.join(PROBE);
    storage.make_folder(&scratch).await?;
    let own = tempfile::tempdir_in(&above)
        .map_err(|error| anyhow::Error::from(error).context(above.display().to_string()))?;
    let own_storage = Local::new(own.path()).with_traffic(traffic.clone());
    let report = probe(&own_storage, &scratch, Depth::Full).await;
    drop(own);
    // Another probe may still be at work in it.
    let _ = fs::remove_dir(above);
    Ok(report?)
}

/// The commit mode that `init` takes on a storage like this.
fn probed_mode(report: &ProbeReport, is_mirrored: bool, trusted: bool) -> Option<CommitMode> {
    if is_mirrored {
        return Some(CommitMode::Devices);
    }
    let by_writes = report.if_match_ok.then_some(CommitMode::IfMatch);
    let by_moves = report.rename_ok.then_some(CommitMode::Rename);
    let alone = report.own_files_ok.then_some(CommitMode::Devices);
    if trusted { by_writes.or(by_moves).or(alone) } else { by_moves.or(by_writes).or(alone) }
}

fn tell_probe(ui: &Ui, told: &Probed<'_>) {
    let report = told.report;
    for check in &report.checks {
        ui.answer(format!("{:18} {:8} {}", check.name, check.verdict.to_string(), check.detail));
    }
    let limits = match (told.put_off, told.longest_wait_ms) {
        (0, _) => "none met".to_owned(),
        (times, None) => format!("asked to wait {}", count(times, "time", "times")),
        (times, Some(wait)) => {
            format!("asked to wait {}, at most {} s", count(times, "time", "times"), wait / 1000)
        }
    };
    ui.answer(format!("rate limits        {limits}"));
    if let Some(why) = &report.stopped {
        ui.answer(ui.warning(&format!("stopped            {}", one_line(why))));
        ui.line("No commit mode follows from that; try again later.");
        return;
    }
    let mode = match (told.commit_mode, told.mirrored_by) {
        (Some(mode), Some(name)) => format!("{}, as {name} mirrors the folder", mode.name()),
        (Some(mode), None) => mode.name().to_owned(),
        (None, _) => "none: it does not even give back what was written to it".to_owned(),
    };
    ui.answer(format!("commit mode        {mode}"));
    let mut also = Vec::new();
    for (mode, is_ok) in [
        (CommitMode::IfMatch, report.if_match_ok),
        (CommitMode::Rename, report.rename_ok),
        (CommitMode::Devices, report.own_files_ok),
    ] {
        if is_ok && told.commit_mode != Some(mode) {
            also.push(mode.name());
        }
    }
    if !also.is_empty() {
        ui.answer(format!("also possible      {}", also.join(", ")));
    }
    ui.line(ui.dim(&format!("({})", count(told.requests, "request", "requests"))));
}
