//! Records for contents that lost against another one.

use uuid::Uuid;

use super::{Planner, Sides};
use crate::{
    merge::view,
    model::{Change, Content, Dot, Entity, EntityId, InvalidId, VaultPath, entity::PATH},
};

impl Planner<'_> {
    /// Gives what lost against another content of its file a record and a file of its own. The id is
    /// the same on every device that brings the two together.
    pub(super) fn set_beside(&mut self) {
        let touched = self.touched();
        for (state, beside) in std::mem::take(&mut self.beside) {
            let id = beside_id(&state.id, &beside.dot);
            let path = view(&state, self.snapshot.rules).path().map(VaultPath::new);
            let Ok(id) = id else { continue };
            let is_there = touched.contains(&id)
                || self.plan.updates.iter().any(|update| update.state.id == id)
                || self.snapshot.vault.knows(&id);
            let Some(Ok(path)) = path.filter(|_| !is_there) else { continue };
            let device = &beside.dot.device;
            let name = self.snapshot.names.get(device).map_or(device.as_str(), String::as_str);
            let path = path
                .with_label(&label(name))
                .or_else(|_| path.with_label(&label(device.as_str())))
                .unwrap_or(path);
            let path = (PATH.to_owned(), Content::new(path.as_str()));
            let changes = beside.fields.into_iter().chain([path]);
            let changes = changes.map(|(field, content)| (field, Change::set(content))).collect();
            let (dot, at) = self.pen.next(self.snapshot.now);
            let mut sides = Sides::new(&id, None);
            let mut state = Entity::new(id);
            state.edit(&dot, at, changes);
            sides.state = Some(state);
            self.note(None, sides);
        }
    }
}

/// The id of the record for what lost against another content of the record `id`.
fn beside_id(id: &EntityId, lost: &Dot) -> Result<EntityId, InvalidId> {
    let named = format!("beside\n{id}\n{lost}");
    EntityId::new(Uuid::new_v5(&Uuid::NAMESPACE_URL, named.as_bytes()).to_string())
}

/// What stands in the name of a file that came from `device`: nothing that a system forbids.
fn label(device: &str) -> String {
    let fold = |c: char| if c.is_alphanumeric() || " -_.".contains(c) { c } else { '-' };
    let name: String = device.chars().map(fold).take(40).collect();
    format!("from {}", name.trim())
}
