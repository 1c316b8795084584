//! `larder conflicts`: what was decided for the user, or waits for them.

use serde::Serialize;
use serde_json::Value;

use super::{
    Ended,
    args::{Args, ConflictsAction, KeepArg},
    error::CliError,
    show::{device_label, device_name, path_of},
    ui::{Ui, bytes, one_line},
    workplace::{Access, Workplace},
};
use crate::{
    engine::Keep,
    merge::view,
    model::{
        Blob, ConflictKind, ConflictState, EntityId, Stamp,
        entity::{BLOB, DELETED},
    },
    store::StoredConflict,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    id: &'a str,
    entity_id: &'a EntityId,
    path: Option<String>,
    field: &'a str,
    kind: ConflictKind,
    rule: &'a str,
    values: Vec<ToldValue<'a>>,
    chosen: Option<&'a Value>,
    detected_at: Stamp,
    state: ConflictState,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldValue<'a> {
    device: &'a str,
    device_name: String,
    at: Stamp,
    value: Option<&'a Value>,
}

/// Runs the command.
pub(super) fn run(
    args: &Args,
    ui: &Ui,
    action: Option<&ConflictsAction>,
) -> Result<Ended, CliError> {
    match action {
        None => list(args, ui, false),
        Some(ConflictsAction::List { all }) => list(args, ui, *all),
        Some(ConflictsAction::Show { id }) => {
            let place = Workplace::find(args, Access::Look)?;
            let stored = find(&place, id)?;
            let told = told(&place, &stored)?;
            ui.object(&told);
            explain(ui, &place, &told)?;
            Ok(Ended::Done)
        }
        Some(ConflictsAction::Resolve { id, keep }) => {
            let mut place = Workplace::find(args, Access::Change)?;
            let stored = find(&place, id)?;
            let keep = match keep {
                KeepArg::Local => Keep::Local,
                KeepArg::Remote => Keep::Remote,
                KeepArg::Merged => Keep::Merged,
                KeepArg::Both => Keep::Both,
            };
            place.engine.resolve(&stored, keep)?;
            let mut stored = stored;
            stored.conflict.state = ConflictState::Resolved;
            if stored.conflict.field != DELETED
                && let Some(record) = place.engine.store().record(&stored.entity)?
            {
                let view = view(&record.state, place.engine.rules());
                stored.conflict.chosen = view.fields.get(&stored.conflict.field).cloned();
            }
            ui.object(&told(&place, &stored)?);
            ui.line("Resolved; the next sync tells the other devices.");
            Ok(Ended::Done)
        }
    }
}

fn list(args: &Args, ui: &Ui, all: bool) -> Result<Ended, CliError> {
    let place = Workplace::find(args, Access::Look)?;
    let found = place.engine.store().conflicts(all)?;
    for stored in &found {
        let told = told(&place, stored)?;
        ui.object(&told);
        let state = match told.state {
            ConflictState::Open => ui.warning("waits for you"),
            ConflictState::Decided => format!("decided by rule {}", told.rule),
            ConflictState::Resolved => "resolved".to_owned(),
        };
        let name = one_line(told.path.as_deref().unwrap_or(told.entity_id.as_str()));
        ui.answer(format!("{}  {name}: {}  {state}", told.id, field_name(told.field)));
    }
    if found.is_empty() {
        ui.line("No conflicts.");
    } else {
        ui.line(ui.dim("larder conflicts show ID explains one; larder conflicts resolve ID --keep … settles it"));
    }
    Ok(Ended::Done)
}

fn field_name(field: &str) -> String {
    match field {
        DELETED => "deletion".to_owned(),
        BLOB => "content".to_owned(),
        field => one_line(field),
    }
}

/// What a person is told of one content of a file that is no text: how long it is, and where it lies.
fn content(place: &Workplace, blob: &Blob) -> Result<String, CliError> {
    let mut paths = Vec::new();
    for id in place.engine.store().owners_of_blob(&blob.file)? {
        let Some(record) = place.engine.store().record(&id)? else { continue };
        let shown = view(&record.state, place.engine.rules()).blob();
        let file = record.file.filter(|_| shown.is_some_and(|shown| shown.sha256 == blob.sha256));
        paths.extend(file.map(|file| one_line(file.as_str())));
    }
    paths.sort();
    let size = bytes(blob.bytes);
    Ok(match paths.as_slice() {
        [] => format!("{size}, which no file here has"),
        paths => format!("{size}, in {}", paths.join(" and ")),
    })
}

fn explain(ui: &Ui, place: &Workplace, told: &Told<'_>) -> Result<(), CliError> {
    let name = one_line(told.path.as_deref().unwrap_or(told.entity_id.as_str()));
    ui.answer(ui.strong(&format!("{name}: {}", field_name(told.field))));
    ui.answer(match told.kind {
        ConflictKind::Values => {
            "These edits did not know of each other, and only one can be shown:"
        }
        ConflictKind::Overlap => "These edits changed the same words; the text holds both:",
        ConflictKind::Deletion => "One device deleted the record while another edited it:",
    });
    for value in &told.values {
        let is_shown = told.kind == ConflictKind::Values
            && told.state != ConflictState::Resolved
            && told.chosen.is_some()
            && told.chosen == value.value;
        let mark = if is_shown { ", shown now" } else { "" };
        ui.answer(format!("  {} at {}{mark}", device_label(place, value.device), value.at));
        let text = match value.value {
            _ if told.kind == ConflictKind::Deletion && value.value.is_none() => {
                "deleted it".to_owned()
            }
            _ if told.kind == ConflictKind::Deletion => "edited it".to_owned(),
            Some(Value::String(text)) => text.trim_end().to_owned(),
            Some(other) => match Blob::read(other) {
                Ok(blob) if told.field == BLOB => content(place, &blob)?,
                _ => other.to_string(),
            },
            None => "nothing".to_owned(),
        };
        for line in text.lines() {
            ui.answer(format!("    {line}"));
        }
    }
    let verdict = match told.state {
        ConflictState::Open => "It waits for you. Edit the file as it should be, or:".to_owned(),
        ConflictState::Decided => format!("The rule {} decided. To decide otherwise:", told.rule),
        ConflictState::Resolved => "It was resolved since. To decide otherwise:".to_owned(),
    };
    ui.answer(verdict);
    ui.answer(format!("  larder conflicts resolve {} --keep local|remote|merged|both", told.id));
    Ok(())
}

fn find(place: &Workplace, id: &str) -> Result<StoredConflict, CliError> {
    let mut found = place.engine.store().conflicts(true)?;
    found.retain(|stored| !id.is_empty() && stored.conflict.id.starts_with(id));
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CliError::Usage(format!("there is no conflict {id:?}; see `larder conflicts`"))),
        _ => Err(CliError::Usage(format!(
            "several conflicts begin with {id:?}; give more of the id"
        ))),
    }
}

fn told<'a>(place: &Workplace, stored: &'a StoredConflict) -> Result<Told<'a>, CliError> {
    let conflict = &stored.conflict;
    let values = conflict.values.iter().map(|value| ToldValue {
        device: value.dot.device.as_str(),
        device_name: device_name(place, value.dot.device.as_str()),
        at: value.at,
        value: value.content.as_ref().map(|content| &content.value),
    });
    Ok(Told {
        id: &conflict.id,
        entity_id: &stored.entity,
        path: path_of(place, &stored.entity)?,
        field: &conflict.field,
        kind: conflict.kind,
        rule: &conflict.rule,
        values: values.collect(),
        chosen: conflict.chosen.as_ref().map(|content| &content.value),
        detected_at: Stamp::from_millis(stored.detected_ms),
        state: conflict.state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_makes_no_line_of_its_own() {
        assert_eq!((field_name("a\nb"), field_name(DELETED)), ("ab".into(), "deletion".into()));
    }
}
