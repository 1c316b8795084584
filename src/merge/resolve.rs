//! Bringing two sides of one record together with the help of their common ancestor.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    join::join,
    object, set, text,
    view::{
        age_order, differ, field_rule, fitting, is_deleted, is_marker, is_same, newest, shown,
        type_name, view, without_ancestor,
    },
};
use crate::{
    model::{
        Alternative, Change, Changes, Content, Dot, Entity, Rule, Rules, Sibling, Stamp, Strategy,
        entity::{BLOB, DELETED, LAYOUT, PATH, TYPE},
        limits::{COUNT_MAX, SIBLINGS_MAX},
    },
    mutant::{self, Mutant},
};

/// Two sides of a record, joined, and the edit that finishes what the join alone cannot.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The join of both sides.
    pub joined: Entity,
    /// The edit to make on top of it, by the device that met the two sides; often empty.
    pub changes: Changes,
    /// What cannot stay in one file with the rest, and gets a record of its own.
    pub beside: Vec<Beside>,
}

/// The content of a file that lost against another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// The edit that had set it: the new record is named by it, the same on every device.
    pub dot: Dot,
    /// When that was.
    pub at: Stamp,
    /// What the new record says, but for its place.
    pub fields: BTreeMap<String, Content>,
}

impl Resolved {
    /// Where the join says everything.
    fn joined(joined: Entity) -> Self {
        Self { joined, changes: Changes::new(), beside: Vec::new() }
    }
}

/// The state that both sides grew from, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ancestor<'a> {
    pub(super) state: Option<&'a Entity>,
    /// Whether both sides share nothing beyond it, or there is none. Of an older one nobody can tell
    /// whether a value in which it agrees with one side was left alone there, or taken out and brought
    /// back.
    pub(super) is_latest: bool,
}

impl Ancestor<'_> {
    /// Whether it has different values of a field.
    fn is_contested(&self, field: &str) -> bool {
        self.state.is_some_and(|state| differ(field, state.siblings(field)))
    }
}

/// Joins `local` and `remote` and merges what needs `base`, the state both sides grew from.
///
/// Only fields that both sides changed are touched; the rules that merely choose leave the choice
/// to the view. Without a base the merges fall back to their symmetric two-way form.
#[must_use]
pub fn resolve(base: Option<&Entity>, local: &Entity, remote: &Entity, rules: &Rules) -> Resolved {
    let common = local.seen().meet(&remote.seen());
    let is_latest = base.is_none_or(|base| base.seen() == common);
    let is_latest = is_latest || mutant::is(Mutant::OldAncestor);
    resolve_joined(Ancestor { state: base, is_latest }, local, remote, join(local, remote), rules)
}

/// [`resolve`] where both sides are joined already.
pub(super) fn resolve_joined(
    base: Ancestor<'_>,
    local: &Entity,
    remote: &Entity,
    joined: Entity,
    rules: &Rules,
) -> Resolved {
    if joined == *local || joined == *remote {
        return Resolved::joined(joined);
    }
    let type_name = type_name(&joined, rules);
    if is_deleted(&joined, rules, &type_name) {
        // A merge is an edit, and would bring back what nobody edited.
        return Resolved::joined(joined);
    }
    let sides = Sides { base, local, remote, joined: &joined, rules, type_name: &type_name };
    let mut changes = match rules.strategy(&type_name) {
        Strategy::Merge => sides.merge(None),
        Strategy::Manual => sides.merge(Some(Rule::Manual)),
        Strategy::LocalWins => sides.take(local, remote),
        Strategy::RemoteWins => sides.take(remote, local),
        Strategy::NewestWins if local.last_modified() > remote.last_modified() => {
            sides.take(local, remote)
        }
        Strategy::NewestWins => sides.take(remote, local),
    };
    let beside = match rules.strategy(&type_name) {
        Strategy::Merge | Strategy::Manual => beaten_contents(joined.siblings(BLOB)),
        _ => Vec::new(),
    };
    let text = sides.text_beside(&mut changes);
    Resolved { joined, changes, beside: beside.into_iter().chain(text).collect() }
}

/// Finishes what nobody has finished: where a device committed without having been able to read what
/// others sent, different contents of one file stand beside each other. All devices that meet them make
/// the same of them.
#[must_use]
pub(super) fn split_contents(state: Entity, rules: &Rules) -> Resolved {
    let siblings = state.siblings(BLOB);
    let beaten = beaten_contents(siblings);
    let is_gone = || is_deleted(&state, rules, &type_name(&state, rules));
    let Some(content) = shown(Rule::Blob, siblings).filter(|_| !beaten.is_empty() && !is_gone())
    else {
        return Resolved::joined(state);
    };
    let values = siblings.iter().flat_map(|sibling| {
        std::iter::once(Alternative::from(sibling)).chain(sibling.alternatives.iter().cloned())
    });
    let changes = Changes::from([(BLOB.to_owned(), Change::Set(content, each_once(values)))]);
    Resolved { joined: state, changes, beside: beaten }
}

/// The contents of a file that the newest one beats: each gets a record of its own.
fn beaten_contents(siblings: &[Sibling]) -> Vec<Beside> {
    let Some(shown) = shown(Rule::Blob, siblings) else { return Vec::new() };
    let mut beaten: Vec<&Sibling> = Vec::new();
    for sibling in siblings {
        let is_same = |other: &Value| is_same(BLOB, other, &sibling.content.value);
        if !is_same(&shown.value) && !beaten.iter().any(|b| is_same(&b.content.value)) {
            beaten.push(sibling);
        }
    }
    let beside = |sibling: &Sibling| Beside {
        dot: sibling.dot.clone(),
        at: sibling.at,
        fields: BTreeMap::from([(BLOB.to_owned(), sibling.content.clone())]),
    };
    beaten.into_iter().map(beside).collect()
}

struct Sides<'a> {
    base: Ancestor<'a>,
    local: &'a Entity,
    remote: &'a Entity,
    joined: &'a Entity,
    rules: &'a Rules,
    type_name: &'a str,
}

impl Sides<'_> {
    /// Field by field; `forced` replaces the rules of the fields.
    fn merge(&self, forced: Option<Rule>) -> Changes {
        let mut changes = BTreeMap::new();
        for (field, siblings) in &self.joined.fields {
            let own = field_rule(self.rules, self.type_name, field, siblings);
            if field == DELETED || !self.both_changed(field, own, siblings) {
                continue;
            }
            let is_form = matches!(own, Rule::Layout | Rule::Blob);
            let rule = if is_form { own } else { forced.unwrap_or(own) };
            if let Some(change) = self.merge_field(field, rule) {
                changes.insert(field.clone(), change);
            }
        }
        changes
    }

    /// Whether both sides hold values of this field that the other lacks.
    fn both_changed(&self, field: &str, rule: Rule, joined: &[Sibling]) -> bool {
        joined.len() > 1
            && self.local.siblings(field) != joined
            && self.remote.siblings(field) != joined
            && (differ(field, joined) || self.counts_twice(field, rule))
    }

    /// Whether equal counts are two additions: to one and the same count that both sides had, or to
    /// none. What else is equal may be one merge that two devices made.
    fn counts_twice(&self, field: &str, rule: Rule) -> bool {
        rule == Rule::Counter
            && !is_one_count(self.joined.siblings(field))
            && self.base.is_latest
            && self.ancestor_of(field, rule).is_some()
            && !self.base.is_contested(field)
    }

    /// The value that both sides of a field grew from. A record without the field has counted nothing;
    /// one whose trash was emptied says nothing of what it had counted. Shown again, a value must not be
    /// one that both sides know to be replaced.
    fn ancestor_of(&self, field: &str, rule: Rule) -> Option<Content> {
        let base = self.base.state?;
        match rule {
            Rule::Counter if is_marker(base) => None,
            Rule::Manual if !self.base.is_latest => None,
            Rule::Counter if base.siblings(field).is_empty() => Some(Content::new(0)),
            _ => shown(rule, base.siblings(field)),
        }
    }

    /// Where one side made a file of text into one of other content and the other side edited the
    /// text: the text moves out of the record into one of its own.
    fn text_beside(&self, changes: &mut Changes) -> Option<Beside> {
        let has = |state: &Entity, field: &str| state.fields.contains_key(field);
        let is_said = |field: &String| ![PATH, TYPE, BLOB, DELETED].contains(&field.as_str());
        let has_text = |state: &Entity| state.fields.keys().any(is_said);
        let has_both = |state: &Entity| has_text(state) && has(state, BLOB);
        if !has_both(self.joined) || has_both(self.local) || has_both(self.remote) {
            return None;
        }
        let (text, blob) = if has_text(self.local) {
            (self.local, self.remote)
        } else {
            (self.remote, self.local)
        };
        let is_of_file = |field: &str| ![PATH, BLOB, DELETED].contains(&field);
        let fields = view(text, self.rules).fields.into_iter();
        let fields: BTreeMap<_, _> = fields.filter(|(field, _)| is_of_file(field)).collect();
        let last = fields.keys().filter_map(|field| newest(text.siblings(field)));
        let last = last.max_by(|a, b| age_order((a.at, &a.dot), (b.at, &b.dot)))?;
        for field in self.joined.fields.keys().filter(|field| is_of_file(field)) {
            if !has(blob, field) && field != TYPE {
                changes.insert(field.clone(), Change::Remove);
            }
        }
        Some(Beside { dot: last.dot.clone(), at: last.at, fields })
    }

    fn merge_field(&self, field: &str, rule: Rule) -> Option<Change> {
        let local = Side::of(self.local.siblings(field), rule)?;
        let remote = Side::of(self.remote.siblings(field), rule)?;
        let local_first =
            age_order((local.newest.at, &local.newest.dot), (remote.newest.at, &remote.newest.dot))
                .is_lt();
        let (first, second) = if local_first { (local, remote) } else { (remote, local) };
        let base = self.ancestor_of(field, rule);
        let merged = merge_values(rule, base.as_ref(), &first.content, &second.content)?;
        // What an older ancestor and one side lack, that side may have taken out since. What one of an
        // ancestor's values lacks, somebody may have taken out before, and somebody else brought back.
        let is_unsure = |side: &Side<'_>| is_unsure(rule, &merged.content, &side.content);
        let is_doubtful = if self.base.is_latest {
            self.base.is_contested(field) && (is_unsure(&first) || is_unsure(&second))
        } else {
            rule != Rule::Layout
        };
        // Of counts that compete already nobody knows which was counted on; equal ones may be two
        // additions, or one merge that two devices made.
        let competes = |base: &Entity| !is_one_count(base.siblings(field));
        let is_contested = first.is_contested(rule)
            || second.is_contested(rule)
            || rule == Rule::Counter && self.base.state.is_some_and(competes);
        let lost = merged.lost || is_doubtful || is_contested;
        let sides = first.siblings.iter().chain(second.siblings);
        let kept = sides.flat_map(|sibling| {
            let own = lost.then(|| Alternative::from(sibling));
            own.into_iter().chain(sibling.alternatives.iter().cloned())
        });
        Some(Change::Set(merged.content, each_once(kept)))
    }

    /// The winner's fields over the joined ones, the loser's kept as alternatives.
    fn take(&self, winner: &Entity, loser: &Entity) -> Changes {
        let both = view(self.joined, self.rules);
        let won = view(winner, self.rules);
        let mut changes = BTreeMap::new();
        for field in both.fields.keys().filter(|field| *field != LAYOUT) {
            let is_single = self.joined.siblings(field).len() == 1;
            if won.fields.get(field) == both.fields.get(field) && is_single {
                continue;
            }
            // A field that only the other side has would go without a trace: it stays.
            let Some(content) = won.fields.get(field) else { continue };
            let sides = winner.siblings(field).iter().chain(loser.siblings(field));
            let beaten = sides.flat_map(|sibling| {
                let is_same = is_same(field, &sibling.content.value, &content.value);
                let own = (!is_same).then(|| Alternative::from(sibling));
                own.into_iter().chain(sibling.alternatives.iter().cloned())
            });
            let change = Change::Set(content.clone(), each_once(beaten));
            changes.insert(field.clone(), change);
        }
        changes
    }
}

/// One side's value of a field, with the edit that is to be named for it.
struct Side<'a> {
    content: Content,
    newest: &'a Sibling,
    siblings: &'a [Sibling],
}

impl<'a> Side<'a> {
    fn of(siblings: &'a [Sibling], rule: Rule) -> Option<Self> {
        Some(Self { content: shown(rule, siblings)?, newest: newest(siblings)?, siblings })
    }

    /// Whether this side alone has values that its content does not hold: those would go unseen.
    fn is_contested(&self, rule: Rule) -> bool {
        let all = |is: fn(&Value) -> bool| self.siblings.iter().all(|s| is(&s.content.value));
        let is_whole = match rule {
            Rule::Counter => return !is_one_count(self.siblings),
            Rule::Text => all(Value::is_string),
            Rule::Union => all(Value::is_array),
            Rule::Layout => true,
            _ => false,
        };
        !is_whole && self.siblings.iter().any(|s| s.content.value != self.content.value)
    }
}

/// Values that are to wait for a person, each once, and not more than a reader takes.
pub(crate) fn each_once(values: impl Iterator<Item = Alternative>) -> Vec<Alternative> {
    let mut waiting: Vec<Alternative> = Vec::new();
    for value in values {
        if !waiting.contains(&value) {
            waiting.push(value);
        }
    }
    waiting.sort_by(|a, b| age_order((a.at, &a.dot), (b.at, &b.dot)));
    waiting.drain(..waiting.len().saturating_sub(SIBLINGS_MAX));
    waiting
}

/// Whether counts are one and the same. Equal ones may be two additions, but not where they were made
/// at one moment: what a compaction took up of a cut turn has another name there than with its maker.
fn is_one_count(siblings: &[Sibling]) -> bool {
    let mut pairs = siblings.windows(2);
    pairs.all(|pair| matches!(pair, [a, b] if a.at == b.at && a.content.value == b.content.value))
}

/// Whether a merge may have left out something that a side has, or counted it twice.
fn is_unsure(rule: Rule, merged: &Content, side: &Content) -> bool {
    match rule {
        Rule::Text => !has_words(&merged.value, &side.value),
        Rule::Union | Rule::Nested => !holds(&merged.value, &side.value),
        Rule::Counter => true,
        _ => false,
    }
}

/// Whether all words of a text are in another, as often.
fn has_words(whole: &Value, part: &Value) -> bool {
    let (Some(whole), Some(part)) = (whole.as_str(), part.as_str()) else { return false };
    set::has_all(whole.split_whitespace(), part.split_whitespace())
}

/// Whether all items and fields of `part` are in `whole`, as often.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Array(whole), Value::Array(part)) => set::has_all(whole, part),
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(field, value)| whole.get(field).is_some_and(|own| holds(own, value)))
        }
        _ => whole == part,
    }
}

struct MergedValue {
    content: Content,
    lost: bool,
}

/// The merged value under a rule that makes one; nothing under a rule that only chooses.
fn merge_values(
    rule: Rule,
    base: Option<&Content>,
    first: &Content,
    second: &Content,
) -> Option<MergedValue> {
    let made = |content, lost| Some(MergedValue { content, lost });
    match (rule, base.map(|base| &base.value), &first.value, &second.value) {
        (Rule::Blob, _, _, _) => made(second.clone(), true),
        (Rule::Manual, _, _, _) => made(base.unwrap_or(first).clone(), true),
        (Rule::Text, Some(Value::String(base)), Value::String(a), Value::String(b)) => {
            let (content, lost) = fitting(text::merge3(base, a, b), second);
            made(content, lost)
        }
        (Rule::Layout, Some(Value::String(base)), Value::String(a), Value::String(b)) => {
            made(merge_layouts(base, a, b).unwrap_or_else(|| second.clone()), false)
        }
        (Rule::Layout, _, _, _) => made(second.clone(), false),
        (Rule::Union, Some(Value::Array(base)), Value::Array(a), Value::Array(b)) => {
            made(Content::new(set::merge3(Some(base), a, b)), false)
        }
        (Rule::Counter, Some(base), Value::Number(_), Value::Number(_)) => {
            made(merge_counters(base, &first.value, &second.value)?, false)
        }
        (Rule::Nested, Some(Value::Object(base)), Value::Object(a), Value::Object(b)) => {
            let mut lost = false;
            let merged = object::merge3(Some(base), a, b, &mut |_, _, _, second| {
                lost = true;
                second.clone()
            });
            made(Content::new(merged), lost)
        }
        (Rule::Text, _, Value::String(_), Value::String(_))
        | (Rule::Union, _, Value::Array(_), Value::Array(_))
        | (Rule::Nested, _, Value::Object(_), Value::Object(_)) => {
            let (content, lost) = without_ancestor(rule, first, second);
            made(content, lost)
        }
        _ => None,
    }
}

/// Merges two layouts by lines; nothing if that would put a field into the file twice or leave the
/// result open to doubt. Nothing is lost then: the newest layout is taken, and fields that it has
/// no place for are added to it when the file is written.
fn merge_layouts(base: &str, first: &str, second: &str) -> Option<Content> {
    let merged = text::merge3(base, first, second);
    if !merged.overlaps.is_empty() {
        return None;
    }
    let mut places: Vec<&str> = merged.text.split('\0').skip(1).step_by(2).collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    (places.len() == count).then(|| Content::new(merged.text))
}

/// What both sides added to the base, together.
fn merge_counters(base: &Value, first: &Value, second: &Value) -> Option<Content> {
    if let (Some(base), Some(a), Some(b)) = (base.as_i64(), first.as_i64(), second.as_i64())
        && let Some(sum) = a.checked_sub(base).and_then(|added| added.checked_add(b))
        && sum.unsigned_abs() <= COUNT_MAX
    {
        return Some(Content::new(sum));
    }
    let sum = first.as_f64()? - base.as_f64()? + second.as_f64()?;
    serde_json::Number::from_f64(sum).map(Content::new)
}
