//! `larder status`: what a turn would send, without asking the remote.

use serde::Serialize;

use super::{
    Ended,
    args::Args,
    error::CliError,
    ui::{Ui, count, duration},
    unlock,
    workplace::{Access, Workplace, is_busy},
};
use crate::{clock::Clock, model::Stamp};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    state: &'static str,
    pending_changes: u64,
    conflicts: u64,
    last_sync_at: Option<Stamp>,
    generation: Option<u64>,
    device: String,
    device_id: Option<String>,
    remote: Option<String>,
    encrypted: bool,
    vault: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Stamp>,
}

/// Runs the command.
pub(super) fn run(args: &Args, ui: &Ui) -> Result<Ended, CliError> {
    let place = Workplace::find(args, Access::Look)?;
    let engine = &place.engine;
    let pending = engine.pending_changes()? as u64;
    let (waiting, decided) = engine.store().conflict_counts()?;
    let mark = engine.store().remote_mark()?;
    // What a brake, a remote that is gone or another, or a folder without a head has stopped stays so
    // until a turn goes well.
    let trouble = engine.store().trouble()?;
    let state = match () {
        () if is_busy(&place.root) => "syncing",
        () if trouble.as_ref().is_some_and(|trouble| !trouble.is_temporary) => "error",
        () if trouble.is_some() => "offline",
        () if waiting > 0 => "conflict",
        () if pending > 0 || mark.is_none() => "pending",
        () => "synced",
    };
    let told = Told {
        state,
        pending_changes: pending,
        conflicts: waiting + decided,
        last_sync_at: mark.as_ref().map(|mark| Stamp::from_millis(mark.synced_ms)),
        generation: mark.as_ref().map(|mark| mark.generation),
        device: place.config.device.clone(),
        device_id: engine.store().replica()?.map(|replica| replica.device.to_string()),
        remote: place.config.remote.clone(),
        encrypted: unlock::is_encrypted(&place)?,
        vault: place.root.display().to_string(),
        since: trouble.as_ref().map(|trouble| Stamp::from_millis(trouble.since_ms)),
        reason: trouble.map(|trouble| trouble.message),
    };
    ui.object(&told);
    ui.answer(format!("vault      {}", told.vault));
    let encrypted = if told.encrypted { " (encrypted)" } else { "" };
    ui.answer(format!("remote     {}{encrypted}", told.remote.as_deref().unwrap_or("none yet")));
    ui.answer(format!("device     {}", told.device));
    let last = told.last_sync_at.map_or_else(
        || "never".to_owned(),
        |at| {
            let ago = Clock::system().now().millis().saturating_sub(at.millis());
            format!("{} ago, generation {}", duration(ago), told.generation.unwrap_or(0))
        },
    );
    ui.answer(format!("synced     {last}"));
    if let Some(reason) = &told.reason {
        ui.answer(ui.warning(&format!("{:<11}{reason}", told.state)));
    }
    ui.answer(format!("pending    {}", pending_text(pending)));
    if told.conflicts > 0 {
        let parts = [(waiting, "waiting for you"), (decided, "decided by a rule")];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<String> = parts.map(|(number, what)| format!("{number} {what}")).collect();
        ui.answer(format!("conflicts  {}: `larder conflicts`", parts.join(", ")));
    }
    Ok(Ended::Done)
}

fn pending_text(pending: u64) -> String {
    match pending {
        0 => "nothing to send".to_owned(),
        _ => count(pending, "change to send", "changes to send"),
    }
}
