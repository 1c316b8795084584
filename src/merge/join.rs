//! Joining two states of one record.

use std::collections::BTreeMap;

use crate::{
    model::{Clock, Entity, Sibling},
    mutant::{self, Mutant},
};

/// Joins two states of one record: commutative, associative and idempotent.
///
/// The clock is the maximum. Of each field a value stays if both sides have it, or if one has it
/// and the other has not seen the edit that set it: a value that the other side has seen and no
/// longer holds was replaced there. (Multi-value registers with a causal context per record, after
/// Almeida, Shoker, Baquero, "Delta State Replicated Data Types", 2018.)
#[must_use]
pub fn join(a: &Entity, b: &Entity) -> Entity {
    debug_assert_eq!(a.id, b.id);
    let mut fields = BTreeMap::new();
    for field in a.fields.keys().chain(b.fields.keys()) {
        if !fields.contains_key(field) {
            let siblings = join_field(a, b, field);
            fields.insert(field.clone(), siblings);
        }
    }
    fields.retain(|_, siblings| !siblings.is_empty());
    Entity { id: a.id.clone(), clock: join_clocks(&a.clock, &b.clock), fields }
}

fn join_field(a: &Entity, b: &Entity, field: &str) -> Vec<Sibling> {
    let (ours, theirs) = (a.siblings(field), b.siblings(field));
    let mut joined: Vec<Sibling> = Vec::with_capacity(ours.len().max(theirs.len()));
    for sibling in ours {
        match theirs.iter().find(|other| other.dot == sibling.dot) {
            Some(other) => joined.push(same_dot(sibling, other).clone()),
            None if !b.covers(&sibling.dot) => joined.push(sibling.clone()),
            None => {}
        }
    }
    for sibling in theirs {
        let is_ours = ours.iter().any(|other| other.dot == sibling.dot);
        if !is_ours && (!a.covers(&sibling.dot) || mutant::is(Mutant::JoinRevives)) {
            joined.push(sibling.clone());
        }
    }
    joined.sort_by(|x, y| x.dot.cmp(&y.dot));
    if joined.len() > 1 && mutant::is(Mutant::JoinDropsSibling) {
        joined.remove(0);
    }
    joined
}

/// One dot names one edit, so both are the same, unless a remote lies. Then all devices must still
/// agree, and any order of the contents will do.
fn same_dot<'a>(x: &'a Sibling, y: &'a Sibling) -> &'a Sibling {
    let spelled = |sibling: &Sibling| serde_json::to_string(sibling).unwrap_or_default();
    if x == y || spelled(x) >= spelled(y) { x } else { y }
}

fn join_clocks(a: &Clock, b: &Clock) -> Clock {
    let mut joined = a.clone();
    for (device, theirs) in b {
        let ours = joined.entry(device.clone()).or_insert(*theirs);
        ours.counter = ours.counter.max(theirs.counter);
        ours.edits = ours.edits.max(theirs.edits);
        ours.at = ours.at.max(theirs.at);
    }
    joined
}
