//! `larder devices`: who takes part, and how far each has read.

use larder_providers::Traffic;
use serde::Serialize;

use super::{
    Ended,
    args::{Args, DevicesAction},
    error::CliError,
    ui::{Ui, count, one_line},
    workplace::{Access, Workplace},
};
use crate::{engine::Device, model::Stamp};

/// How long the name of a device may be.
const NAME_BYTES_MAX: usize = 200;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    id: &'a str,
    name: &'a str,
    last_seen: Stamp,
    read_generation: u64,
    /// The generation of the remote.
    generation: u64,
    is_this: bool,
}

/// Runs the command.
pub(super) async fn run(
    args: &Args,
    ui: &Ui,
    action: Option<&DevicesAction>,
    remote: Option<&str>,
) -> Result<Ended, CliError> {
    match action {
        None | Some(DevicesAction::List) => list(args, ui, remote).await,
        Some(DevicesAction::Rename { name }) => rename(args, ui, name, remote).await,
        Some(DevicesAction::Forget { device }) => forget(args, ui, device, remote).await,
    }
}

async fn list(args: &Args, ui: &Ui, remote: Option<&str>) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Look)?;
    let storage = place.storage(remote, ui, &Traffic::new()).await?;
    let (devices, generation) = place.engine.devices(&storage).await?;
    for device in &devices {
        let told = Told {
            id: device.id.as_str(),
            name: &device.name,
            last_seen: device.last_seen,
            read_generation: device.read_generation,
            generation,
            is_this: device.is_this,
        };
        ui.object(&told);
        ui.answer(line(device, generation));
    }
    if devices.is_empty() {
        ui.answer("No device has synced yet.");
    }
    Ok(Ended::Done)
}

fn line(device: &Device, generation: u64) -> String {
    let Device { id, last_seen, .. } = device;
    let name = one_line(&device.name);
    // Its own last commit is one that it need not read.
    let behind = generation.saturating_sub(device.read_generation.saturating_add(1));
    let reading = match behind {
        0 => "up to date".to_owned(),
        behind => format!("{} since then", count(behind, "commit", "commits")),
    };
    let own = if device.is_this { ", this device" } else { "" };
    format!("{name} ({id}{own}): last seen {last_seen}, {reading}")
}

/// What a device may be called.
pub(super) fn checked_name(name: &str) -> Result<&str, CliError> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let text = format!("a device's name is one line of 1 to {NAME_BYTES_MAX} bytes");
        return Err(CliError::Usage(text));
    }
    Ok(name)
}

async fn rename(args: &Args, ui: &Ui, name: &str, remote: Option<&str>) -> Result<Ended, CliError> {
    let name = checked_name(name)?;
    let mut place = Workplace::find(args, Access::Change)?;
    let storage = place.storage(remote, ui, &Traffic::new()).await?;
    place.engine.rename_device(&storage, name).await?;
    place.set_device(name)?;
    ui.object(&serde_json::json!({ "device": name }));
    ui.line(format!("This device is now called {name}."));
    Ok(Ended::Done)
}

async fn forget(
    args: &Args,
    ui: &Ui,
    wanted: &str,
    remote: Option<&str>,
) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Change)?;
    let storage = place.storage(remote, ui, &Traffic::new()).await?;
    let (devices, _) = place.engine.devices(&storage).await?;
    let is_meant = |device: &&Device| device.id.as_str() == wanted || device.name == wanted;
    let meant: Vec<&Device> = devices.iter().filter(is_meant).collect();
    let device = match meant.as_slice() {
        [device] if device.is_this => {
            let text = "this is the device you are on; `larder devices` lists the others";
            return Err(CliError::Usage(text.to_owned()));
        }
        [device] => *device,
        [] => {
            let text = format!("no device is called {wanted}; `larder devices` lists them");
            return Err(CliError::Usage(text));
        }
        several => {
            let text = format!("{} devices are called {wanted}; name one by its id", several.len());
            return Err(CliError::Usage(text));
        }
    };
    place.engine.forget_device(&storage, &device.id).await?;
    ui.object(&serde_json::json!({ "id": device.id.as_str(), "name": device.name }));
    ui.line(format!(
        "{} ({}) is off the list. Its edits stay; if it syncs again, it is back.",
        one_line(&device.name),
        device.id
    ));
    Ok(Ended::Done)
}
