//! `larder put`, `rm`, `restore`: edits by command.

use std::io::{IsTerminal as _, Read as _};

use serde_json::Value;

use super::{
    Ended,
    args::{Args, PutArgs, RestoreArgs},
    error::CliError,
    show,
    ui::{Ui, count, one_line, quoted},
    workplace::{Access, Workplace},
};
use crate::{
    engine::{At, Restored},
    merge::view,
    model::{
        EntityId, Stamp,
        entity::{BODY, PATH, TYPE},
        json,
    },
    vault::document::Format,
};

/// Runs `larder put`.
pub(super) fn put(args: &Args, ui: &Ui, options: &PutArgs) -> Result<Ended, CliError> {
    let text = if options.fields == "-" {
        if std::io::stdin().is_terminal() {
            ui.note("Type a JSON object with the fields, then Ctrl-D:");
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        options.fields.clone()
    };
    let fields = match json::parse(&text) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => {
            let text = "the fields must be one JSON object, like {\"title\": \"Buy milk\"}";
            return Err(CliError::Usage(text.to_owned()));
        }
        Err(error) => return Err(CliError::Usage(format!("the fields are not JSON: {error}"))),
    };
    let names: Vec<String> = fields.keys().map(|name| one_line(name)).collect();
    let mut place = Workplace::find(args, Access::Change)?;
    let id = place.engine.put(&options.type_name, options.id.as_deref(), fields)?;
    show::tell(&place, ui, &id)?;
    tell_hidden(&place, ui, &id, &names)
}

/// Says which of these fields the record's file does not show, as it has no place for fields.
fn tell_hidden(
    place: &Workplace,
    ui: &Ui,
    id: &EntityId,
    names: &[String],
) -> Result<Ended, CliError> {
    let shown = |name: &&str| [TYPE, PATH, BODY].contains(name);
    let hidden: Vec<&str> = names.iter().map(String::as_str).filter(|name| !shown(name)).collect();
    match show::path_of(place, id)?.filter(|path| Format::of_path(path) == Format::Text) {
        Some(path) if !hidden.is_empty() => ui.note(format!(
            "note: the record alone keeps {}, as a file like {path} has no fields: `larder show {}`",
            hidden.join(", "),
            quoted(&path)
        )),
        _ => {}
    }
    Ok(Ended::Done)
}

/// Runs `larder rm`.
pub(super) fn remove(args: &Args, ui: &Ui, record: &str) -> Result<Ended, CliError> {
    let mut place = Workplace::find(args, Access::Change)?;
    let id = place.record(record)?;
    place.engine.remove(&id)?;
    if ui.json() {
        show::tell(&place, ui, &id)?;
    }
    // One that lay beside its place is not found there any more, and another one may be.
    let is_found = place.record(record).is_ok_and(|found| found == id);
    let name = if is_found { record } else { id.as_str() };
    ui.line(format!("Deleted {record}; `larder restore {}` brings it back.", quoted(name)));
    Ok(Ended::Done)
}

/// Runs `larder restore`.
pub(super) fn restore(args: &Args, ui: &Ui, options: &RestoreArgs) -> Result<Ended, CliError> {
    let at = match &options.at {
        None => At::Before,
        Some(text) => match (text.trim_start_matches('v').parse(), Stamp::parse(text)) {
            (Ok(version), _) => At::Version(version),
            (_, Ok(time)) => At::Time(time),
            _ => {
                return Err(CliError::Usage(format!(
                    "{text:?} is neither a version nor a time like 2026-11-20T10:30:00Z"
                )));
            }
        },
    };
    let mut place = Workplace::find(args, Access::Change)?;
    let Some(record) = &options.record else {
        return restore_missing(&mut place, ui);
    };
    let id = place.record(record)?;
    let back = place.engine.restore(&id, at)?;
    if ui.json() {
        show::tell(&place, ui, &id)?;
    }
    let later = later(&place, &id)?;
    ui.line(match back {
        Restored::AsItWas => format!("{record} is back as it was{later}."),
        Restored::Version(version) => format!("Restored {record} as of v{version}{later}."),
    });
    Ok(Ended::Done)
}

/// What of a record's file is left to the next sync, to be said at the end of a line.
fn later(place: &Workplace, id: &EntityId) -> Result<&'static str, CliError> {
    if !place.engine.waiting_files()?.contains_key(id) {
        return Ok("");
    }
    let record = place.engine.store().record(id)?;
    let blob = record.and_then(|record| view(&record.state, place.engine.rules()).blob());
    Ok(match blob {
        Some(_) => "; its content is not here, and comes with the next sync",
        None => "; its file waits for the next sync",
    })
}

fn restore_missing(place: &mut Workplace, ui: &Ui) -> Result<Ended, CliError> {
    let before = place.engine.waiting_files()?;
    let files = place.engine.restore_missing()?;
    let now = place.engine.waiting_files()?;
    let waiting = now.keys().filter(|id| !before.contains_key(*id)).count();
    ui.object(&serde_json::json!({ "files": files, "filesWaiting": waiting }));
    let done = count(files.saturating_sub(waiting) as u64, "file", "files");
    ui.line(match (files, waiting) {
        (0, _) => "No file is missing.".to_owned(),
        (_, 0) => format!("Put {done} back."),
        _ => {
            let waiting = count(waiting as u64, "waits", "wait");
            format!("Put {done} back; {waiting} for the next sync.")
        }
    });
    Ok(Ended::Done)
}
