//! `larder list`: the records of a vault.

use serde::Serialize;

use super::{
    Ended,
    args::{Args, ListArgs},
    error::CliError,
    ui::{Ui, one_line},
    workplace::{Access, Workplace},
};
use crate::{
    merge::view,
    model::{DeviceId, Entity, EntityId, Stamp, View},
};

/// One record in a list, as programs get it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub(super) id: EntityId,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) path: Option<String>,
    pub(super) version: u64,
    pub(super) last_modified_at: Option<Stamp>,
    pub(super) last_modified_by: Option<DeviceId>,
    pub(super) is_deleted: bool,
}

impl Told {
    /// What there is to tell of a record.
    pub(super) fn new(state: &Entity, view: &View) -> Self {
        let last = state.last_modified();
        Self {
            id: state.id.clone(),
            type_name: view.type_name.clone(),
            path: view.path().map(str::to_owned),
            version: state.version(),
            last_modified_at: last.map(|(at, _)| at),
            last_modified_by: last.map(|(_, by)| by.clone()),
            is_deleted: view.is_deleted,
        }
    }
}

/// Runs the command.
pub(super) fn run(args: &Args, ui: &Ui, options: &ListArgs) -> Result<Ended, CliError> {
    let place = Workplace::find(args, Access::Look)?;
    let rules = place.engine.rules();
    let mut rows = Vec::new();
    place.engine.store().each_state(|state| {
        let view = view(&state, rules);
        let is_wanted = options.deleted || !view.is_deleted;
        let is_typed = options.type_name.as_ref().is_none_or(|name| *name == view.type_name);
        if is_wanted && is_typed {
            rows.push(Told::new(&state, &view));
        }
        Ok(())
    })?;
    rows.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
    let of_one_place = rows.chunk_by(|a, b| a.path == b.path);
    for (row, of_one_place) in
        of_one_place.flat_map(|rows| rows.iter().map(|row| (row, rows.len())))
    {
        ui.object(row);
        let name = one_line(row.path.as_deref().unwrap_or(row.id.as_str()));
        let type_name = one_line(&row.type_name);
        let mark = if row.is_deleted { "  deleted" } else { "" };
        // Only by its id can one of several be told that want, or had, one place.
        let is_one_of_several = row.path.is_some() && of_one_place > 1;
        let id = if is_one_of_several {
            format!("  {}", ui.dim(row.id.as_str()))
        } else {
            String::new()
        };
        ui.answer(format!("{type_name:10} v{:<4} {name}{mark}{id}", row.version));
    }
    if rows.is_empty() {
        ui.line("No records.");
    }
    Ok(Ended::Done)
}
