//! `larder log`: what a vault or a record was before.

use serde::Serialize;

use super::{
    Ended,
    args::Args,
    error::CliError,
    show::device_label,
    ui::{Ui, one_line},
    workplace::{Access, Workplace},
};
use crate::{
    merge::view,
    model::{DeviceId, Entity, EntityId, Stamp, View},
};

/// How many changes of a whole vault are shown.
const RECENT: u32 = 50;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: EntityId,
    path: Option<String>,
    version: u64,
    at: Option<Stamp>,
    by: Option<DeviceId>,
    is_deleted: bool,
    is_current: bool,
    fields: Vec<String>,
    #[serde(skip)]
    was_deleted: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, ui: &Ui, record: Option<&str>) -> Result<Ended, CliError> {
    let place = Workplace::find(args, Access::Look)?;
    let rows = match record {
        Some(record) => one(&place, &place.record(record)?)?,
        None => recent(&place)?,
    };
    let name = |row: &Told| one_line(row.path.as_deref().unwrap_or(row.id.as_str()));
    let width = rows.iter().map(|row| name(row).chars().count()).max().unwrap_or(0).min(40);
    for row in &rows {
        ui.object(row);
        let at = row.at.map_or_else(String::new, |at| at.to_string());
        let by = row.by.as_ref().map_or_else(String::new, |by| device_label(&place, by.as_str()));
        let what = match (row.is_deleted, row.fields.is_empty()) {
            (true, _) => "deleted".to_owned(),
            (false, _) if row.was_deleted => "restored".to_owned(),
            (false, true) if row.version == 1 => "created".to_owned(),
            (false, true) => String::new(),
            (false, false) => one_line(&row.fields.join(", ")),
        };
        let (version, name) = (row.version, name(row));
        let mark = if row.is_current { "now" } else { "" };
        let line = format!("{at}  v{version:<4} {mark:4} {name:width$}  {by}  {}", ui.dim(&what));
        ui.answer(line.trim_end());
    }
    if rows.is_empty() {
        ui.line("No history yet.");
    }
    Ok(Ended::Done)
}

/// All states of one record, the present one first, each with the fields it changed.
fn one(place: &Workplace, id: &EntityId) -> Result<Vec<Told>, CliError> {
    let store = place.engine.store();
    let Some(record) = store.record(id)? else { return Ok(Vec::new()) };
    let mut states = vec![record.state];
    states.extend(store.history(id)?.into_iter().map(|past| past.state));
    let views: Vec<View> = states.iter().map(|state| view(state, place.engine.rules())).collect();
    let rows = states.iter().zip(&views).enumerate().map(|(index, (state, view))| {
        let before = views.get(index + 1);
        told(state, view, before, index == 0)
    });
    Ok(rows.collect())
}

/// The latest changes in the vault: what replaced an earlier state, and what came up.
fn recent(place: &Workplace) -> Result<Vec<Told>, CliError> {
    let store = place.engine.store();
    let mut rows = untouched(place)?;
    for past in store.recent_history(RECENT)? {
        let before = view(&past.state, place.engine.rules());
        let row = match store
            .history(&past.state.id)?
            .into_iter()
            .rev()
            .find(|next| next.state.version() > past.state.version())
        {
            Some(next) => {
                told(&next.state, &view(&next.state, place.engine.rules()), Some(&before), false)
            }
            None => match store.record(&past.state.id)? {
                Some(now) => {
                    told(&now.state, &view(&now.state, place.engine.rules()), Some(&before), true)
                }
                None => continue,
            },
        };
        rows.push(row);
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.at));
    rows.truncate(RECENT as usize);
    Ok(rows)
}

/// The latest of the records that are as they came: they have no history to be found by.
fn untouched(place: &Workplace) -> Result<Vec<Told>, CliError> {
    let store = place.engine.store();
    let mut all = Vec::new();
    store.each_state(|state| {
        all.push((state.last_modified().map(|(at, _)| at), state.id));
        Ok(())
    })?;
    all.sort_by(|a, b| b.cmp(a));
    let mut rows = Vec::new();
    for (_, id) in all {
        if rows.len() == RECENT as usize {
            break;
        }
        if store.history(&id)?.is_empty()
            && let Some(record) = store.record(&id)?
        {
            rows.push(told(&record.state, &view(&record.state, place.engine.rules()), None, true));
        }
    }
    Ok(rows)
}

fn told(state: &Entity, view: &View, before: Option<&View>, is_current: bool) -> Told {
    let last = state.last_modified();
    let changed = |field: &&String| {
        let old = before.and_then(|before| before.fields.get(*field));
        !field.starts_with('$') && before.is_some() && old != view.fields.get(*field)
    };
    let gone = before.into_iter().flat_map(|before| before.fields.keys());
    let mut fields: Vec<String> = view.fields.keys().chain(gone).filter(changed).cloned().collect();
    fields.sort();
    fields.dedup();
    Told {
        id: state.id.clone(),
        path: view.path().map(str::to_owned),
        version: state.version(),
        at: last.map(|(at, _)| at),
        by: last.map(|(_, by)| by.clone()),
        is_deleted: view.is_deleted,
        is_current,
        fields,
        was_deleted: before.is_some_and(|before| before.is_deleted),
    }
}
