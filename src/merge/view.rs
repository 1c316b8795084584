//! What a person sees of a record: one value per field, chosen or combined by the rules.

use std::cmp::Ordering;

use serde_json::Value;

use super::{object, set, text};
use crate::model::{
    Blob, Content, DeleteRule, Dot, Entity, Rule, Rules, Sibling, Stamp, View,
    entity::{BLOB, DELETED, PATH, TYPE},
    limits::TEXT_BYTES_MAX,
};

/// How much of a file is left to its front matter when texts are merged, in bytes.
const FRONT_MATTER_BYTES: u64 = 64 << 10;

/// Shows one state by the rules: deterministic, and the same whichever side is asked.
#[must_use]
pub fn view(entity: &Entity, rules: &Rules) -> View {
    let type_name = type_name(entity, rules);
    let fields = entity
        .fields
        .iter()
        .filter(|(field, _)| *field != DELETED)
        .filter_map(|(field, siblings)| {
            if let [only] = siblings.as_slice() {
                return Some((field.clone(), only.content.clone()));
            }
            let rule = field_rule(rules, &type_name, field, siblings);
            Some((field.clone(), shown(rule, siblings)?))
        })
        .collect();
    View { is_deleted: is_deleted(entity, rules, &type_name), type_name, fields }
}

/// The type of a record: its own word for it, or by the path it lies on.
#[must_use]
pub fn type_name(entity: &Entity, rules: &Rules) -> String {
    let own = newest(entity.siblings(TYPE)).map(|sibling| &sibling.content.value);
    let path = newest(entity.siblings(PATH)).and_then(|sibling| sibling.content.value.as_str());
    rules.type_name(own, path)
}

/// The rule for a field that has these concurrent values.
pub(super) fn field_rule(
    rules: &Rules,
    type_name: &str,
    field: &str,
    siblings: &[Sibling],
) -> Rule {
    rules.field(type_name, field, siblings.iter().map(|sibling| &sibling.content.value))
}

/// Whether the record is deleted, by the rule of its type.
///
/// A deletion covers the edits that the deleter had seen, and the deleter's own up to it. What
/// no deletion covers is an edit made without knowing of any of them.
#[must_use]
pub fn is_deleted(entity: &Entity, rules: &Rules, type_name: &str) -> bool {
    let deletions = entity.siblings(DELETED);
    if deletions.is_empty() || is_marker(entity) {
        // Of a mark there is nothing to bring back, whatever was edited once.
        return !deletions.is_empty();
    }
    let covered = entity.seen_by_deletions();
    let unseen = entity.clock.iter().filter(|(device, last)| covered.get(device) < last.counter);
    match rules.delete(type_name, entity.fields.contains_key(PATH)) {
        DeleteRule::DeleteWins => true,
        DeleteRule::EditWins => unseen.count() == 0,
        DeleteRule::Newest => {
            let deleted = deletions.iter().map(|sibling| (sibling.at, &sibling.dot.device)).max();
            let edited = unseen.map(|(device, last)| (last.at, device)).max();
            deleted >= edited
        }
    }
}

/// Whether of a record only the mark of its deletion is left, with the type that it had.
#[must_use]
pub(crate) fn is_marker(entity: &Entity) -> bool {
    let covered = entity.seen_by_deletions();
    let is_bare = entity.fields.keys().all(|field| field == DELETED || field == TYPE);
    let is_seen = |sibling: &Sibling| covered.covers(&sibling.dot);
    is_bare && entity.fields.contains_key(DELETED) && entity.siblings(TYPE).iter().all(is_seen)
}

/// The value that a rule shows for these concurrent values; nothing for none.
#[must_use]
pub(super) fn shown(rule: Rule, siblings: &[Sibling]) -> Option<Content> {
    if rule == Rule::Blob {
        return shown_blob(siblings);
    }
    let (first, rest) = siblings.split_first()?;
    if rest.iter().all(|sibling| sibling.content.value == first.content.value) {
        return newest(siblings).map(|sibling| sibling.content.clone());
    }
    match rule {
        Rule::Text | Rule::Union | Rule::Nested => Some(combined(rule, siblings)),
        _ => chosen(rule, siblings).map(|sibling| sibling.content.clone()),
    }
}

/// The newest content; of several files of the remote that hold it, the first by name.
fn shown_blob(siblings: &[Sibling]) -> Option<Content> {
    let newest = newest(siblings)?;
    let same = siblings.iter().filter(|s| is_same(BLOB, &s.content.value, &newest.content.value));
    let file = |sibling: &Sibling| sibling.content.value.get("file")?.as_str().map(str::to_owned);
    same.min_by_key(|sibling| file(sibling)).map(|sibling| sibling.content.clone())
}

/// Whether two values of a field mean the same.
pub(super) fn is_same(field: &str, a: &Value, b: &Value) -> bool {
    if field == BLOB { Blob::is_same(a, b) } else { a == b }
}

/// Whether these concurrent values of a field are not all the same.
pub(super) fn differ(field: &str, siblings: &[Sibling]) -> bool {
    let mut pairs = siblings.windows(2);
    pairs.any(|pair| matches!(pair, [a, b] if !is_same(field, &a.content.value, &b.content.value)))
}

/// The one of these concurrent values that a rule chooses.
fn chosen(rule: Rule, siblings: &[Sibling]) -> Option<&Sibling> {
    siblings.iter().max_by(|a, b| {
        let (x, y) = (&a.content.value, &b.content.value);
        let by_rule = match rule {
            Rule::Oldest | Rule::Immutable | Rule::Manual => return by_age(b, a),
            Rule::Longest => length(x).cmp(&length(y)),
            Rule::Shortest => length(y).cmp(&length(x)),
            Rule::Highest | Rule::Counter => by_number(x, y),
            Rule::Lowest => by_number_down(x, y),
            Rule::Latest => by_date(x, y),
            Rule::Earliest => by_date_down(x, y),
            Rule::DoneWins => is_done(x).cmp(&is_done(y)),
            _ => Ordering::Equal,
        };
        by_rule.then_with(|| by_age(a, b))
    })
}

/// Joins values two at a time in order of their age, for want of a common ancestor.
fn combined(rule: Rule, siblings: &[Sibling]) -> Content {
    let mut ordered: Vec<&Sibling> = siblings.iter().collect();
    ordered.sort_by(|a, b| by_age(a, b));
    let mut contents = ordered.into_iter().map(|sibling| sibling.content.clone());
    let first = contents.next().unwrap_or_else(|| Content::new(Value::Null));
    contents.fold(first, |joined, next| {
        if joined.value == next.value { next } else { without_ancestor(rule, &joined, &next).0 }
    })
}

/// Combines two values that have no known ancestor; says also whether one of them had to give way.
pub(super) fn without_ancestor(rule: Rule, first: &Content, second: &Content) -> (Content, bool) {
    match (rule, &first.value, &second.value) {
        (Rule::Text, Value::String(a), Value::String(b)) => fitting(text::merge2(a, b), second),
        (Rule::Union, Value::Array(a), Value::Array(b)) => {
            (Content::new(set::merge3(None, a, b)), false)
        }
        (Rule::Nested, Value::Object(a), Value::Object(b)) => {
            let mut lost = false;
            let merged = object::merge3(None, a, b, &mut |_, _, _, second| {
                lost = true;
                second.clone()
            });
            (Content::new(merged), lost)
        }
        _ => (second.clone(), true),
    }
}

/// A merged text, and whether words in it exclude each other. Where both versions together are more
/// than a file may hold, which would then be left alone for ever, the later one is shown instead.
pub(super) fn fitting(merged: text::TextMerge, second: &Content) -> (Content, bool) {
    if merged.text.len() as u64 > TEXT_BYTES_MAX - FRONT_MATTER_BYTES {
        return (second.clone(), true);
    }
    (Content::new(merged.text), !merged.overlaps.is_empty())
}

/// The latest of these values.
pub(super) fn newest(siblings: &[Sibling]) -> Option<&Sibling> {
    siblings.iter().max_by(|a, b| by_age(a, b))
}

/// Orders by the time of the edit; of equal times the smaller device counts as later.
fn by_age(a: &Sibling, b: &Sibling) -> Ordering {
    age_order((a.at, &a.dot), (b.at, &b.dot))
}

/// [`by_age`] on its parts.
pub(super) fn age_order(a: (Stamp, &Dot), b: (Stamp, &Dot)) -> Ordering {
    let by_device = || b.1.device.cmp(&a.1.device).then(a.1.counter.cmp(&b.1.counter));
    a.0.cmp(&b.0).then_with(by_device)
}

fn length(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), |text| text.chars().count())
}

/// Numbers by size, and above anything that is none.
fn by_number(a: &Value, b: &Value) -> Ordering {
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y),
        (x, y) => x.is_some().cmp(&y.is_some()),
    }
}

/// Numbers by size downwards, and above anything that is none.
fn by_number_down(a: &Value, b: &Value) -> Ordering {
    match (number(a), number(b)) {
        (Some(x), Some(y)) => y.total_cmp(&x),
        (x, y) => x.is_some().cmp(&y.is_some()),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Dates by time, and above anything that is none.
fn by_date(a: &Value, b: &Value) -> Ordering {
    date(a).cmp(&date(b))
}

/// Dates by time backwards, and above anything that is none.
fn by_date_down(a: &Value, b: &Value) -> Ordering {
    match (date(a), date(b)) {
        (Some(x), Some(y)) => y.cmp(&x),
        (x, y) => x.is_some().cmp(&y.is_some()),
    }
}

fn date(value: &Value) -> Option<(i64, String)> {
    let text = value.as_str()?.trim();
    let time = chrono::DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
    let day = || {
        let day = chrono::NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()?;
        Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
    };
    time.ok().or_else(day).map(|millis| (millis, text.to_owned()))
}

fn is_done(value: &Value) -> bool {
    match value {
        Value::Bool(done) => *done,
        Value::String(text) => {
            let word = text.trim().to_lowercase();
            matches!(word.as_str(), "done" | "completed" | "complete" | "closed" | "x" | "true")
        }
        _ => false,
    }
}
