//! `larder init`: a folder becomes a vault with a remote.

use std::path::Path;

use larder_providers::{Password, Storage as _, Traffic};
use serde::Serialize;

use super::{
    Ended,
    args::{Args, CommitArg, InitArgs},
    env,
    error::CliError,
    remote_url::RemoteUrl,
    secrets,
    ui::{Ui, count, grouped},
    unlock::{self, Goal, Which},
    workplace::Workplace,
};
use crate::{
    engine::{Connected, Way},
    model::RemoteId,
    remote::CommitMode,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    vault: String,
    remote: String,
    remote_id: &'a RemoteId,
    device: &'a str,
    created: bool,
    commit_mode: CommitMode,
    encrypted: bool,
    entities: u64,
    requests: u64,
}

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &InitArgs) -> Result<Ended, CliError> {
    let named = env::vault_of(options.dir.as_deref(), args.vault.as_deref())?;
    let root = named.map_or_else(|| env::folder(Path::new("")), Ok)?;
    let mut place = Workplace::make(&root, options.device.as_deref())?;
    place.warn_of_renaming(options.device.as_deref(), ui)?;
    if !place.config.remotes.is_empty() {
        let (url, _) = place.config.given(&options.remote)?;
        place.config.check_default_address(&url)?;
    }
    let traffic = Traffic::new();
    let wanted = Wanted { commit: options.commit, encrypt: options.encrypt };
    let (way, connected) =
        connect(&mut place, ui, (None, &options.remote), wanted, &traffic).await?;
    let encrypted = unlock::is_encrypted(&place.root, Some(&way.id))?;
    ui.object(&Told {
        vault: place.root.display().to_string(),
        remote: place.remote_url()?.to_string(),
        remote_id: &connected.id,
        device: &place.config.device,
        created: connected.created,
        commit_mode: connected.mode,
        encrypted,
        entities: connected.entities,
        requests: traffic.snapshot().requests,
    });
    ui.line("No note has moved yet; `larder sync` does that.");
    Ok(Ended::Done)
}

/// How a remote is to be made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) commit: Option<CommitArg>,
    pub(super) encrypt: bool,
}

/// Connects a vault to the remote at an address and says what was found there; with a name, to one
/// more than it has. If that fails, a folder that was no vault before is none after.
pub(super) async fn connect(
    place: &mut Workplace,
    ui: &Ui,
    remote: (Option<&str>, &str),
    wanted: Wanted,
    traffic: &Traffic,
) -> Result<(Way, Connected), CliError> {
    let connected = try_connect(place, ui, remote, wanted, traffic).await;
    if connected.is_err() {
        place.unmake()?;
    }
    connected
}

async fn try_connect(
    place: &mut Workplace,
    ui: &Ui,
    (name, address): (Option<&str>, &str),
    wanted: Wanted,
    traffic: &Traffic,
) -> Result<(Way, Connected), CliError> {
    let (url, given) = take_address(address, ui)?;
    place.refuse_inside(&url)?;
    let first = place.config.remotes.first();
    place.config.check_new_address(&url, name.or(first.map(|first| &*first.name)))?;
    match name.or(first.map(|first| &*first.name)) {
        Some(name) => place.speak_of(name, Some(&url), ui),
        None => ui.set_about(None),
    }
    let before = traffic.snapshot();
    let ca_file = place.ca_file();
    let storage = secrets::open(&url, given, ca_file.as_deref(), ui, traffic).await?;
    let mode = wanted.commit.map(|mode| match mode {
        CommitArg::IfMatch => CommitMode::IfMatch,
        CommitArg::Rename => CommitMode::Rename,
        CommitArg::Devices => CommitMode::Devices,
    });
    let which = match (name, place.config.remotes.first()) {
        (Some(_), _) => Which::More,
        (None, None) => Which::First,
        (None, Some(default)) => Which::Own(place.expected_id(default)?),
    };
    let goal = Goal { which, mode, encrypt: wanted.encrypt };
    let (storage, connected) = unlock::connect(place, storage, &goal, ui).await?;
    place.set_remote(name, &url, &connected.id)?;
    place.set_ca_file(ui.given_ca_file())?;
    let requests = traffic.snapshot().since(&before).requests;
    let made = if connected.created { "Made a new remote at" } else { "Joined the remote at" };
    let held = if connected.created {
        String::new()
    } else {
        format!(", which holds about {}", count(connected.entities, "record", "records"))
    };
    let mirror = storage.capabilities().mirrored_by;
    let mirror = mirror.filter(|_| connected.mode == CommitMode::Devices);
    let why = mirror.map_or_else(String::new, |name| format!(", as {name} mirrors the folder"));
    let (mode, requests) = (connected.mode.name(), grouped(requests));
    let is_encrypted = unlock::is_encrypted(&place.root, Some(&connected.id))?;
    let encrypted = if is_encrypted { "encrypted, " } else { "" };
    ui.line(format!(
        "{made} {url}{held}. {}",
        ui.dim(&format!("({encrypted}commit mode {mode}{why}, {requests} requests)"))
    ));
    if let Some(program) = mirror.filter(|_| connected.created) {
        ui.line(format!("Connect the next device once {program} has copied this folder there."));
    }
    Ok((Way { id: connected.id.clone(), storage }, connected))
}

/// Reads an address and takes the password out of it.
pub(super) fn take_address(
    address: &str,
    ui: &Ui,
) -> Result<(RemoteUrl, Option<Password>), CliError> {
    let (url, password) = RemoteUrl::given(address)?;
    warn_of_exposed(&url, ui);
    Ok((url, password))
}

/// Warns of an address to which everything travels in the open.
pub(super) fn warn_of_exposed(url: &RemoteUrl, ui: &Ui) {
    if url.is_exposed() {
        ui.note(format!(
            "warning: {url} is not encrypted on its way; use {} if the server can",
            url.encrypted()
        ));
    }
}
