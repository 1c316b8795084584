//! `larder init`: a folder becomes a vault with a remote.

use larder_providers::{SharedStorage, Traffic};
use serde::Serialize;

use super::{
    Ended,
    args::{Args, CommitArg, InitArgs},
    env,
    error::CliError,
    remote_url::RemoteUrl,
    secrets,
    ui::{Ui, count, grouped},
    workplace::Workplace,
};
use crate::{engine::Connected, model::RemoteId, remote::CommitMode};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    vault: String,
    remote: String,
    remote_id: &'a RemoteId,
    device: &'a str,
    created: bool,
    commit_mode: CommitMode,
    entities: u64,
    requests: u64,
}

/// Runs the command.
pub(super) async fn run(args: &Args, ui: &Ui, options: &InitArgs) -> Result<Ended, CliError> {
    let here = env::current_dir()?;
    let dir = options.dir.as_ref().or(args.vault.as_ref());
    let root = dir.map_or_else(|| here.clone(), |dir| here.join(dir));
    let mut place = Workplace::make(&root, options.device.as_deref())?;
    let traffic = Traffic::new();
    let (_, connected) = connect(&mut place, ui, &options.remote, options.commit, &traffic).await?;
    ui.object(&Told {
        vault: place.root.display().to_string(),
        remote: place.config.remote.clone().unwrap_or_default(),
        remote_id: &connected.id,
        device: &place.config.device,
        created: connected.created,
        commit_mode: connected.mode,
        entities: connected.entities,
        requests: traffic.snapshot().requests,
    });
    ui.line("No note has moved yet; `larder sync` does that.");
    Ok(Ended::Done)
}

/// Connects a vault to the remote at `address` and says what was found there.
pub(super) async fn connect(
    place: &mut Workplace,
    ui: &Ui,
    address: &str,
    commit: Option<CommitArg>,
    traffic: &Traffic,
) -> Result<(SharedStorage, Connected), CliError> {
    let url = take_address(address, ui)?;
    refuse_inside(place, &url)?;
    let before = traffic.snapshot();
    let storage = url.open(secrets::find(&url, ui)?, traffic)?;
    let mode = commit.map(|mode| match mode {
        CommitArg::IfMatch => CommitMode::IfMatch,
        CommitArg::Rename => CommitMode::Rename,
    });
    let connected = place.engine.connect(&storage, mode).await?;
    place.set_remote(&url)?;
    let requests = traffic.snapshot().since(&before).requests;
    let made = if connected.created { "Made a new remote at" } else { "Joined the remote at" };
    let held = if connected.created {
        String::new()
    } else {
        format!(", which holds about {}", count(connected.entities, "record", "records"))
    };
    ui.line(format!(
        "{made} {url}{held}. {}",
        ui.dim(&format!("(commit mode {}, {} requests)", connected.mode.name(), grouped(requests)))
    ));
    Ok((storage, connected))
}

/// Reads an address and puts a password in it away.
pub(super) fn take_address(address: &str, ui: &Ui) -> Result<RemoteUrl, CliError> {
    let (url, password) = RemoteUrl::parse(address)?;
    if let Some(password) = password {
        secrets::keep(&url, &password, ui)?;
    }
    if url.is_exposed() {
        ui.note(format!(
            "warning: {url} is not encrypted on its way; use webdavs:// if the server can"
        ));
    }
    Ok(url)
}

/// A remote inside the vault would sync itself, and a vault inside the remote litters it.
fn refuse_inside(place: &Workplace, url: &RemoteUrl) -> Result<(), CliError> {
    let RemoteUrl::Folder(folder) = url else { return Ok(()) };
    let real = |path: &std::path::Path| {
        // What is not there yet lies where its nearest parent lies.
        let there = path.ancestors().find_map(|up| Some((up, up.canonicalize().ok()?)));
        there.map_or_else(
            || path.to_owned(),
            |(up, real)| path.strip_prefix(up).map_or(real.clone(), |rest| real.join(rest)),
        )
    };
    let (remote, vault) = (real(folder), real(&place.root));
    if remote.starts_with(&vault) || vault.starts_with(&remote) {
        return Err(CliError::Usage(format!(
            "the remote {} and the vault {} lie in each other; choose a folder apart from it",
            folder.display(),
            place.root.display()
        )));
    }
    Ok(())
}
