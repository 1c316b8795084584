//! `larder show`: one record whole.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    Ended,
    args::Args,
    error::CliError,
    list,
    ui::{Ui, bytes, one_line},
    workplace::{Access, Workplace},
};
use crate::{
    merge::{conflicts, view},
    model::{
        Blob, Conflict, EntityId, Record, Sibling, VaultPath, View,
        entity::{BLOB, BODY, LAYOUT, PATH, TYPE},
    },
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(flatten)]
    row: list::Told,
    fields: BTreeMap<&'a str, ToldField<'a>>,
    conflicts: Vec<Conflict>,
    /// Whether its file is behind it.
    file_waits: bool,
}

#[derive(Serialize)]
struct ToldField<'a> {
    value: &'a Value,
    siblings: &'a [Sibling],
}

/// Runs the command.
pub(super) fn run(args: &Args, ui: &Ui, record: &str) -> Result<Ended, CliError> {
    let place = Workplace::find(args, Access::Look)?;
    let id = place.record(record)?;
    tell(&place, ui, &id)?;
    Ok(Ended::Done)
}

/// Tells everything about a record.
pub(super) fn tell(place: &Workplace, ui: &Ui, id: &EntityId) -> Result<(), CliError> {
    let rules = place.engine.rules();
    let Some(record) = place.engine.store().record(id)? else { return Ok(()) };
    let view = view(&record.state, rules);
    let fields = view.fields.iter().filter(|(name, _)| name.as_str() != LAYOUT);
    let told = Told {
        row: list::Told::new(&record.state, &view),
        fields: fields
            .map(|(name, content)| {
                let siblings = record.state.siblings(name);
                (name.as_str(), ToldField { value: &content.value, siblings })
            })
            .collect(),
        conflicts: conflicts(&record.state, rules),
        file_waits: place.engine.waiting_files()?.contains_key(id),
    };
    ui.object(&told);
    ui.answer(ui.strong(&one_line(lies_at(&record, &view).as_deref().unwrap_or(id.as_str()))));
    ui.answer(format!("id        {id}"));
    ui.answer(format!("type      {}", one_line(&told.row.type_name)));
    let deleted = if told.row.is_deleted { ", deleted" } else { "" };
    ui.answer(format!("version   {}{deleted}", told.row.version));
    if told.file_waits {
        ui.answer(ui.warning("file      waits for the next sync"));
    }
    if let (Some(at), Some(by)) = (&told.row.last_modified_at, &told.row.last_modified_by) {
        ui.answer(format!("modified  {at} by {}", device_label(place, by.as_str())));
    }
    // What the head says already is left out, and the text comes last.
    let is_said = |name: &str| name == TYPE || name == PATH;
    let (text, fields): (Vec<_>, Vec<_>) =
        told.fields.iter().filter(|(name, _)| !is_said(name)).partition(|(name, _)| **name == BODY);
    for (name, field) in fields.into_iter().chain(text) {
        let value = match (field.value, Blob::read(field.value)) {
            (_, Ok(blob)) if **name == *BLOB => {
                ui.answer(format!("content   {}, SHA-256 {}", bytes(blob.bytes), blob.sha256));
                continue;
            }
            (Value::String(text), _) => text.clone(),
            (other, _) => other.to_string(),
        };
        let value = value.trim_end();
        if value.contains('\n') {
            ui.answer(format!("{}:", one_line(name)));
            value.lines().for_each(|line| ui.answer(format!("  {line}")));
        } else {
            ui.answer(format!("{}: {value}", one_line(name)));
        }
    }
    for conflict in &told.conflicts {
        let (id, field) = (&conflict.id, one_line(&conflict.field));
        let text = format!("conflict {id} in {field}: larder conflicts show {id}");
        ui.answer(ui.warning(&text));
    }
    Ok(())
}

/// What a person is told of a record: where it lies, or its id if it lies nowhere.
pub(super) fn record_label(place: &Workplace, id: &EntityId) -> Result<String, CliError> {
    Ok(path_of(place, id)?.unwrap_or_else(|| id.to_string()))
}

/// Where a record lies in the vault.
pub(super) fn path_of(place: &Workplace, id: &EntityId) -> Result<Option<String>, CliError> {
    let record = place.engine.store().record(id)?;
    Ok(record.and_then(|record| lies_at(&record, &view(&record.state, place.engine.rules()))))
}

/// Where the file of a record lies, or where it would lie: its place may be taken.
fn lies_at(record: &Record, view: &View) -> Option<String> {
    let file = record.file.as_ref().map(VaultPath::as_str);
    file.or(view.path()).map(str::to_owned)
}

/// What a person is told of a device: its name, and whether it is this one.
pub(super) fn device_label(place: &Workplace, device: &str) -> String {
    let name = one_line(&device_name(place, device));
    if is_own(place, device) { format!("{name} (this device)") } else { name }
}

fn is_own(place: &Workplace, device: &str) -> bool {
    let own = place.engine.store().replica().ok().flatten();
    own.is_some_and(|replica| replica.device.as_str() == device)
}

/// What a device's owner calls it, as far as known here.
pub(super) fn device_name(place: &Workplace, device: &str) -> String {
    if is_own(place, device) {
        return place.config.device.clone();
    }
    let mark = place.engine.store().remote_mark().ok().flatten();
    let manifest = mark.and_then(|mark| {
        crate::remote::Manifest::decode("the last manifest", mark.manifest.as_bytes()).ok()
    });
    let name = manifest.and_then(|manifest| {
        let mut devices = manifest.devices.into_iter();
        devices.find(|(id, _)| id.as_str() == device).map(|(_, known)| known.name)
    });
    name.unwrap_or_else(|| device.to_owned())
}
