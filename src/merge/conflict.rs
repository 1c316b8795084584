//! Which values a merge could not keep in sight, read off the state alone, so that every device
//! lists the same.

use super::view::{differ, field_rule, is_deleted, is_same, newest, shown, type_name};
use crate::{
    digest::sha256_hex,
    model::{
        Conflict, ConflictKind, ConflictState, ConflictValue, Content, DeleteRule, Dot, Entity,
        Rule, Rules, Sibling,
        entity::{DELETED, LAYOUT, PATH},
    },
};

/// Lists the conflicts that stand in a state, in order of their fields.
#[must_use]
pub fn conflicts(entity: &Entity, rules: &Rules) -> Vec<Conflict> {
    let type_name = type_name(entity, rules);
    let deleted = is_deleted(entity, rules, &type_name);
    let mut found: Vec<Conflict> =
        contested_deletion(entity, rules, &type_name, deleted).into_iter().collect();
    if !deleted {
        let fields =
            entity.fields.iter().filter(|(field, _)| *field != DELETED && *field != LAYOUT);
        found.extend(fields.filter_map(|(field, siblings)| {
            let rule = field_rule(rules, &type_name, field, siblings);
            field_conflict(entity, field, rule, siblings)
        }));
    }
    found
}

/// Which of the conflicts that there were stand no more, by id.
#[must_use]
pub fn settled(before: &[Conflict], standing: &[Conflict]) -> Vec<String> {
    let is_gone = |old: &&Conflict| !standing.iter().any(|conflict| conflict.id == old.id);
    before.iter().filter(is_gone).map(|old| old.id.clone()).collect()
}

fn field_conflict(
    entity: &Entity,
    field: &str,
    rule: Rule,
    siblings: &[Sibling],
) -> Option<Conflict> {
    let waits = siblings.iter().any(|sibling| !sibling.alternatives.is_empty());
    let differ = differ(field, siblings);
    let unites = rule == Rule::Union && siblings.iter().all(|s| s.content.value.is_array());
    if !waits && (!differ || unites) {
        return None;
    }
    let left = siblings.iter().flat_map(|sibling| {
        let value = |dot: &Dot, at, content: &Content| ConflictValue {
            dot: dot.clone(),
            at,
            content: Some(content.clone()),
        };
        let alternatives = &sibling.alternatives;
        // One merge that two devices made is one, and its values wait.
        let own = (alternatives.is_empty() || differ)
            .then(|| value(&sibling.dot, sibling.at, &sibling.content));
        own.into_iter().chain(alternatives.iter().map(move |a| value(&a.dot, a.at, &a.content)))
    });
    let mut values: Vec<ConflictValue> = Vec::new();
    for value in left {
        if !values.iter().any(|known| known.dot == value.dot) {
            values.push(value);
        }
    }
    // Equal counts may be two additions; of anything else that is equal nobody has to choose.
    let chosen = shown(rule, siblings);
    let is_chosen = |content: &Content| {
        chosen.as_ref().is_some_and(|chosen| is_same(field, &chosen.value, &content.value))
    };
    if rule != Rule::Counter && values.iter().filter_map(|v| v.content.as_ref()).all(is_chosen) {
        return None;
    }
    let kind = if rule == Rule::Text { ConflictKind::Overlap } else { ConflictKind::Values };
    // A content that lost lies in a file of its own.
    let is_open = rule != Rule::Blob && (waits || rule == Rule::Manual);
    Some(Conflict {
        id: conflict_id(entity, field, &values),
        field: field.to_owned(),
        kind,
        rule: rule_name(rule),
        values,
        chosen,
        state: if is_open { ConflictState::Open } else { ConflictState::Decided },
    })
}

fn contested_deletion(
    entity: &Entity,
    rules: &Rules,
    type_name: &str,
    deleted: bool,
) -> Option<Conflict> {
    let deletions = entity.siblings(DELETED);
    let deletion = newest(deletions)?;
    let covered = entity.seen_by_deletions();
    let unseen = entity.clock.iter().filter(|(device, last)| covered.get(device) < last.counter);
    let (device, edit) = unseen.max_by_key(|(device, last)| (last.at, *device))?;
    let values = vec![
        ConflictValue { dot: deletion.dot.clone(), at: deletion.at, content: None },
        ConflictValue {
            dot: Dot::new(device.clone(), edit.counter),
            at: edit.at,
            content: newest(entity.siblings(PATH)).map(|sibling| sibling.content.clone()),
        },
    ];
    let rule = match rules.delete(type_name, entity.fields.contains_key(PATH)) {
        DeleteRule::EditWins => "edit_wins",
        DeleteRule::DeleteWins => "delete_wins",
        DeleteRule::Newest => "newest",
    };
    Some(Conflict {
        id: conflict_id(entity, DELETED, &values),
        field: DELETED.to_owned(),
        kind: ConflictKind::Deletion,
        rule: rule.to_owned(),
        chosen: values.get(1).filter(|_| !deleted).and_then(|value| value.content.clone()),
        values,
        state: ConflictState::Decided,
    })
}

fn conflict_id(entity: &Entity, field: &str, values: &[ConflictValue]) -> String {
    let mut dots: Vec<String> = values.iter().map(|value| value.dot.to_string()).collect();
    dots.sort();
    let named = format!("{}\n{field}\n{}", entity.id, dots.join("\n"));
    let mut id = sha256_hex(named.as_bytes());
    id.truncate(10);
    id
}

fn rule_name(rule: Rule) -> String {
    let rule = if rule == Rule::Blob { Rule::Newest } else { rule };
    let name = serde_json::to_value(rule).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
