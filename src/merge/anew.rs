//! Setting a record anew, where the edits that set it once do not count any more.

use super::view::view;
use crate::model::{
    Alternative, Change, Changes, Content, Entity, Rules, Sibling, Stamp, entity::DELETED,
    limits::STAMP_AHEAD_MS_MAX,
};

/// For how long after a deletion every replica still has what was deleted, in milliseconds: half of
/// the time after which trash is emptied, for clocks differ.
const TRASH_SAFE_MS: i64 = 45 * STAMP_AHEAD_MS_MAX;

/// All fields of a state, to be set by one edit to what they show. What competes there or waits for
/// a person goes along.
pub(super) fn all_anew(state: &Entity, rules: &Rules) -> Changes {
    let shown = view(state, rules);
    let mut changes = Changes::new();
    for (field, content) in shown.fields {
        let siblings = state.siblings(&field);
        let competing = siblings.iter().filter(|_| siblings.len() > 1).map(|s| Alternative {
            dot: s.dot.clone(),
            at: s.at,
            content: s.content.clone(),
        });
        let waiting = siblings.iter().flat_map(|sibling| sibling.alternatives.iter().cloned());
        let alternatives = competing.chain(waiting).collect();
        changes.insert(field, Change::Set(content, alternatives));
    }
    if shown.is_deleted {
        // Else the new edit would be one that the deletion had not seen.
        let seen = serde_json::to_value(state.seen()).unwrap_or_default();
        changes.insert(DELETED.to_owned(), Change::set(Content::new(seen)));
    }
    changes
}

/// Makes an edit that takes a deletion back set everything: other replicas may have emptied their
/// trash, and what was set before the deletion is gone there.
pub(super) fn revive(changes: &mut Changes, seen: &Entity, rules: &Rules) {
    if changes.get(DELETED) != Some(&Change::Remove) {
        return;
    }
    for (field, change) in all_anew(seen, rules) {
        changes.entry(field).or_insert(change);
    }
}

/// Whether other replicas may hold nothing but the mark of this deletion by now, whatever is left
/// of the record here.
pub(super) fn is_long_deleted(state: &Entity, rules: &Rules, now: Stamp) -> bool {
    let is_old = |mark: &Sibling| now.millis() - mark.at.millis() > TRASH_SAFE_MS;
    is_marker(state) || state.siblings(DELETED).iter().any(is_old) && view(state, rules).is_deleted
}

/// Whether of a record only the mark of its deletion is left.
pub(super) fn is_marker(state: &Entity) -> bool {
    state.fields.keys().eq([DELETED])
}
