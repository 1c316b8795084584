//! `larder remote list`, `add`, `remove` and `set-default`: which remotes a vault has.

use larder_providers::Traffic;
use serde::Serialize;

use crate::{
    cli::{
        Ended,
        args::Args,
        error::CliError,
        init,
        login::Kept,
        status,
        ui::{Ui, quoted},
        unlock,
        workplace::{Access, Workplace},
    },
    model::{RemoteId, Stamp},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a str,
    remote: String,
    remote_id: Option<&'a RemoteId>,
    is_default: bool,
    encrypted: bool,
    last_sync_at: Option<Stamp>,
    generation: Option<u64>,
}

pub(super) fn list(args: &Args, ui: &Ui) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Look)?;
    let remotes = place.config.remotes.clone();
    let name_width = remotes.iter().map(|remote| remote.name.len()).max().unwrap_or(0);
    for (nth, remote) in remotes.iter().enumerate() {
        let id = place.id_of(remote)?;
        let mark = match &id {
            Some(id) if place.engine.look_at(id).is_ok() => place.engine.store().remote_mark()?,
            _ => None,
        };
        let told = Listed {
            name: &remote.name,
            remote: remote.shown(),
            remote_id: id.as_ref(),
            is_default: nth == 0,
            encrypted: place.is_encrypted(remote)?,
            last_sync_at: mark.as_ref().map(|mark| Stamp::from_millis(mark.synced_ms)),
            generation: mark.map(|mark| mark.generation),
        };
        ui.object(&told);
        let default = if told.is_default { '*' } else { ' ' };
        let synced = status::synced(told.last_sync_at, told.generation);
        ui.answer(format!(
            "{default} {:name_width$}  {}{}, synced {synced}",
            remote.name,
            told.remote,
            status::marked(told.encrypted)
        ));
    }
    if remotes.is_empty() {
        ui.answer("This vault has no remote yet: `larder sync --remote URL` connects it to one.");
    }
    Ok(Ended::Done)
}

pub(super) async fn add(
    args: &Args,
    ui: &Ui,
    (name, url): (&str, &str),
    wanted: init::Wanted,
) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Change)?;
    place.config.check_new_name(name)?;
    let traffic = Traffic::new();
    place.name_remotes()?;
    let connected = init::connect(&mut place, ui, (Some(name), url), wanted, &traffic).await;
    // One that was not added has no name that another command would know.
    ui.set_about(None);
    let (way, connected) = connected?;
    let encrypted = unlock::is_encrypted(&place.root, Some(&way.id))?;
    if !encrypted {
        warn_of_clear(&place, ui)?;
    }
    ui.object(&serde_json::json!({
        "name": name,
        "remote": place.config.remote(Some(name))?.shown(),
        "remoteId": connected.id,
        "created": connected.created,
        "commitMode": connected.mode,
        "encrypted": encrypted,
        "entities": connected.entities,
    }));
    ui.line("No note has moved yet; `larder sync` goes through all remotes from now on.");
    Ok(Ended::Done)
}

/// Who has one remote encrypted may not expect the same notes to lie on another in clear.
fn warn_of_clear(place: &Workplace, ui: &Ui) -> Result<(), CliError> {
    for remote in &place.config.remotes {
        if place.is_encrypted(remote)? {
            let name = &remote.name;
            ui.note(format!("warning: {name} is encrypted and this one is not: what is synced lies here in clear"));
        }
    }
    Ok(())
}

pub(super) fn remove(args: &Args, ui: &Ui, name: &str) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Change)?;
    let remote = place.config.remote(Some(name))?.clone();
    let kept = Kept::of(&place, &remote)?;
    place.remove_remote(name)?;
    let key = kept.forget_key();
    let (url, was_kept) = (remote.shown(), matches!(key, Ok(Some(true))));
    ui.object(&serde_json::json!({ "name": name, "remote": url, "keyForgotten": was_kept }));
    ui.line(format!("{name} is forgotten. What lies at {url} stays as it is."));
    if was_kept {
        ui.line("This device has forgotten its key too.");
    }
    if let Err(error) = key {
        ui.note(format!("warning: {}", error.message()));
    }
    if let Some(secret) = kept.rest() {
        let url = quoted(&url);
        ui.line(format!("The {secret} stays kept; `larder remote logout {url}` forgets it."));
    }
    if let Some(default) = place.config.remotes.first() {
        ui.line(format!("The default remote is {}.", default.name));
    }
    Ok(Ended::Done)
}

pub(super) fn set_default(args: &Args, ui: &Ui, name: &str) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Change)?;
    place.set_default(name)?;
    ui.object(&serde_json::json!({ "default": name }));
    ui.line(format!("The default remote is {name}."));
    Ok(Ended::Done)
}
