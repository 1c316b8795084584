//! Laws of merging, on states that random scripts of edits and joins reach.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{conflicts, is_deleted, join, resolve, view};
use crate::model::{
    Alternative, Change, Changes, Content, DeviceId, Dot, Entity, EntityId, Rules, Stamp,
    VersionVector, entity::DELETED,
};

mod anew;
mod blob;
mod older;

const REPLICAS: usize = 3;
const FIELDS: [&str; 5] = ["title", "body", "tags", "geo", "status"];

const RULES: &str = r#"
[[type]]
name = "note"
delete = "DELETE"
conflict = "CONFLICT"
[type.fields]
status = "FIELD"
"#;

#[derive(Debug, Clone)]
enum Op {
    Set { by: usize, field: usize },
    Unset { by: usize, field: usize },
    Delete { by: usize },
    Undelete { by: usize },
    Join { from: usize, to: usize },
}

/// What one edit did, and the edits its author had seen.
#[derive(Debug, Clone)]
struct Write {
    dot: Dot,
    at: Stamp,
    fields: BTreeSet<String>,
    sets: bool,
    seen: VersionVector,
}

#[derive(Debug, Clone)]
struct World {
    states: Vec<Entity>,
    /// Every state after an edit, in order.
    past: Vec<Entity>,
    writes: Vec<Write>,
}

fn device(number: usize) -> DeviceId {
    DeviceId::new(format!("dev{number}")).unwrap()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let by = 0..REPLICAS;
    let op = prop_oneof![
        6 => (by.clone(), 0..FIELDS.len()).prop_map(|(by, field)| Op::Set { by, field }),
        1 => (by.clone(), 0..FIELDS.len()).prop_map(|(by, field)| Op::Unset { by, field }),
        1 => by.clone().prop_map(|by| Op::Delete { by }),
        1 => by.clone().prop_map(|by| Op::Undelete { by }),
        4 => (by.clone(), by).prop_map(|(from, to)| Op::Join { from, to }),
    ];
    proptest::collection::vec(op, 1..40)
}

/// A value that holds a word which nobody else ever writes.
fn value(field: &str, number: usize, old: Option<&Value>) -> Value {
    let word = format!("w{number}");
    match (field, old) {
        ("body", Some(Value::String(old))) => Value::from(format!("{old}{word}\n")),
        ("body", _) => Value::from(format!("start\n{word}\n")),
        ("tags", Some(Value::Array(old))) => {
            Value::from([old.iter().skip(1).cloned().collect(), vec![json!(word)]].concat())
        }
        ("tags", _) => json!([word]),
        ("geo", _) => json!({ format!("k{}", number % 3): word }),
        _ => json!(word),
    }
}

fn replay(ops: &[Op]) -> World {
    let id = EntityId::new("e").unwrap();
    let rules = Rules::default();
    let states = vec![Entity::new(id); REPLICAS];
    let mut world = World { states, past: Vec::new(), writes: Vec::new() };
    for (number, op) in ops.iter().enumerate() {
        let (by, changes) = match op {
            Op::Join { from, to } => {
                world.states[*to] = join(&world.states[*to], &world.states[*from]);
                continue;
            }
            Op::Set { by, field } => {
                let field = FIELDS[*field];
                let old = view(&world.states[*by], &rules).fields.get(field).cloned();
                let value = value(field, number, old.as_ref().map(|old| &old.value));
                (*by, Changes::from([(field.to_owned(), Change::set(Content::new(value)))]))
            }
            Op::Unset { by, field } => {
                (*by, Changes::from([(FIELDS[*field].to_owned(), Change::Remove)]))
            }
            Op::Delete { by } => {
                let seen = serde_json::to_value(world.states[*by].seen()).unwrap();
                (*by, Changes::from([(DELETED.to_owned(), Change::set(Content::new(seen)))]))
            }
            Op::Undelete { by } => (*by, Changes::from([(DELETED.to_owned(), Change::Remove)])),
        };
        let state = &mut world.states[by];
        let counter = state.clock.get(&device(by)).map_or(0, |last| last.counter) + 1;
        let dot = Dot::new(device(by), counter);
        let last = state.clock.values().map(|last| last.at).max().unwrap_or_default();
        let at = Stamp::next(Stamp::from_millis(number as i64 * 37 % 50), last);
        world.writes.push(Write {
            dot: dot.clone(),
            at,
            fields: changes.keys().cloned().collect(),
            sets: changes.values().all(|change| matches!(change, Change::Set(..))),
            seen: state.seen(),
        });
        let version = state.version();
        state.edit(&dot, at, changes);
        assert_eq!(state.version(), version + 1);
        world.past.push(state.clone());
    }
    world
}

fn bytes(entity: &Entity) -> String {
    serde_json::to_string(entity).unwrap()
}

fn all(states: &[Entity]) -> Entity {
    states[1..].iter().fold(states[0].clone(), |joined, state| join(&joined, state))
}

/// The edits of a field that reached a state and that no later edit of it there had seen.
fn expected<'a>(writes: &'a [Write], state: &Entity, field: &str) -> Vec<&'a Write> {
    let of_field = |write: &&Write| write.fields.contains(field) && state.covers(&write.dot);
    let own: Vec<&Write> = writes.iter().filter(of_field).collect();
    let is_replaced = |write: &Write| own.iter().any(|later| later.seen.covers(&write.dot));
    let mut left: Vec<&Write> =
        own.iter().copied().filter(|write| write.sets && !is_replaced(write)).collect();
    left.sort_by(|a, b| a.dot.cmp(&b.dot));
    left
}

fn rules(delete: &str, conflict: &str, field: &str) -> Rules {
    let text = RULES.replace("DELETE", delete).replace("CONFLICT", conflict);
    Rules::parse(&text.replace("FIELD", field)).unwrap()
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let delete = prop_oneof![Just("edit_wins"), Just("delete_wins"), Just("newest")];
    let conflict = prop_oneof![
        Just("merge"),
        Just("newest_wins"),
        Just("manual"),
        Just("local_wins"),
        Just("remote_wins")
    ];
    let field = prop_oneof![
        Just("newest"),
        Just("oldest"),
        Just("longest"),
        Just("done_wins"),
        Just("manual"),
        Just("immutable"),
        Just("text")
    ];
    (delete, conflict, field).prop_map(|(d, c, f)| rules(d, c, f))
}

fn words_of(state: &Entity, field: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for sibling in state.siblings(field) {
        words_in(&sibling.content.value, &mut words);
        sibling.alternatives.iter().for_each(|a| words_in(&a.content.value, &mut words));
    }
    words
}

fn words_in(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => words.extend(text.split_whitespace().map(str::to_owned)),
        Value::Array(list) => list.iter().for_each(|value| words_in(value, words)),
        Value::Object(map) => map.values().for_each(|value| words_in(value, words)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn join_is_commutative_associative_and_idempotent(ops in ops()) {
        let states = replay(&ops).states;
        for a in &states {
            prop_assert_eq!(&join(a, a), a);
            for b in &states {
                let ab = join(a, b);
                prop_assert_eq!(bytes(&ab), bytes(&join(b, a)));
                prop_assert_eq!(&join(&ab, a), &ab);
                for c in &states {
                    prop_assert_eq!(join(&ab, c), join(a, &join(b, c)));
                }
            }
        }
    }

    #[test]
    fn whoever_hears_of_everything_holds_the_same(
        ops in ops(),
        gossip in proptest::collection::vec((0..REPLICAS, 0..REPLICAS), 0..12),
    ) {
        let world = replay(&ops);
        let whole = bytes(&all(&world.states));
        let mut states = world.states;
        let ring = (0..2 * REPLICAS).map(|step| (step % REPLICAS, (step + 1) % REPLICAS));
        for (from, to) in gossip.into_iter().chain(ring) {
            states[to] = join(&states[from], &states[to]);
        }
        for state in &states {
            prop_assert_eq!(bytes(state), whole.clone());
        }
    }

    #[test]
    fn an_edit_goes_only_by_one_that_had_seen_it(ops in ops()) {
        let world = replay(&ops);
        let whole = all(&world.states);
        for state in world.states.iter().chain([&whole]) {
            for field in FIELDS.into_iter().chain([DELETED]) {
                let found: Vec<&Dot> = state.siblings(field).iter().map(|s| &s.dot).collect();
                let expected = expected(&world.writes, state, field);
                let expected: Vec<&Dot> = expected.iter().map(|write| &write.dot).collect();
                prop_assert_eq!(found, expected, "{}", field);
            }
        }
    }

    #[test]
    fn what_is_seen_follows_from_the_state_alone(ops in ops(), rules in any_rules()) {
        let states = replay(&ops).states;
        for (a, b) in states.iter().zip(states.iter().skip(1)) {
            let (ab, ba) = (join(a, b), join(b, a));
            prop_assert_eq!(view(&ab, &rules), view(&ba, &rules));
            prop_assert_eq!(conflicts(&ab, &rules), conflicts(&ba, &rules));
        }
    }

    #[test]
    fn versions_count_edits(ops in ops()) {
        let world = replay(&ops);
        prop_assert_eq!(all(&world.states).version(), world.writes.len() as u64);
    }

    #[test]
    fn a_deletion_holds_as_its_rule_says(ops in ops(), rule in 0..3usize) {
        let world = replay(&ops);
        let whole = all(&world.states);
        let deletions = expected(&world.writes, &whole, DELETED);
        let covers = |write: &Write| {
            let by = |deletion: &&Write| deletion.seen.covers(&write.dot) || deletion.dot == write.dot;
            deletions.iter().any(by)
        };
        let unseen: Vec<&Write> = world.writes.iter().filter(|write| !covers(write)).collect();
        // Of each device the last edit speaks for those before it.
        let latest: BTreeMap<&DeviceId, &Write> =
            unseen.iter().map(|write| (&write.dot.device, *write)).collect();
        let last_edit = latest.values().map(|write| (write.at, &write.dot.device)).max();
        let last_deletion = deletions.iter().map(|write| (write.at, &write.dot.device)).max();
        let is_marker = whole.fields.keys().eq([DELETED]);
        let (name, expected) = match rule {
            0 => ("edit_wins", is_marker || unseen.is_empty()),
            1 => ("delete_wins", true),
            _ => ("newest", is_marker || last_deletion >= last_edit),
        };
        let rules = rules(name, "merge", "newest");
        prop_assert_eq!(is_deleted(&whole, &rules, "note"), expected && !deletions.is_empty());
    }

    /// A word may be missing only where one side, which had the ancestor before it, took it out; and
    /// only the latest ancestor tells that.
    #[test]
    fn resolving_keeps_every_value_in_sight_or_waiting(
        ops in ops(),
        rules in any_rules(),
        knows_base in any::<bool>(),
    ) {
        let world = replay(&ops);
        let (local, remote) = (&world.states[0], &world.states[1]);
        let base = knows_base.then(|| common(&world)).flatten();
        let resolved = resolve(base.as_ref(), local, remote, &rules);
        let mut merged = resolved.joined.clone();
        merged.edit(&Dot::new(device(9), 1), Stamp::from_millis(99), resolved.changes);
        for field in FIELDS {
            let had = words_of(&resolved.joined, field);
            let has = words_of(&merged, field);
            let common = local.seen().meet(&remote.seen());
            let latest = base.as_ref().filter(|base| base.seen() == common);
            let old = latest.map(|base| words_of(base, field)).unwrap_or_default();
            let (a, b) = (words_of(local, field), words_of(remote, field));
            let taken = |word: &&String| old.contains(*word) && !(a.contains(*word) && b.contains(*word));
            let lost: Vec<_> = had.difference(&has).filter(|word| !taken(word)).collect();
            prop_assert!(lost.is_empty(), "{}: {:?} of {:?} are gone: {:?}", field, lost, had, merged);
        }
    }
}

/// A state that both of the first two replicas grew from, if the script has one.
fn common(world: &World) -> Option<Entity> {
    let grew = |from: &Entity, to: &Entity| join(from, to) == *to;
    let is_common =
        |state: &&Entity| grew(state, &world.states[0]) && grew(state, &world.states[1]);
    world.past.iter().rev().find(is_common).cloned()
}

#[test]
fn two_edits_of_version_5_meet_at_7() {
    let id = EntityId::new("e").unwrap();
    let mut base = Entity::new(id);
    let set = |text: &str| Changes::from([("title".to_owned(), Change::set(Content::new(text)))]);
    for counter in 1..=5 {
        base.edit(&Dot::new(device(0), counter), Stamp::from_millis(1), set("old"));
    }
    let (mut a, mut b) = (base.clone(), base);
    a.edit(&Dot::new(device(1), 1), Stamp::from_millis(2), set("a"));
    b.edit(&Dot::new(device(2), 1), Stamp::from_millis(2), set("b"));
    assert_eq!((a.version(), b.version(), join(&a, &b).version()), (6, 6, 7));
}

#[test]
fn a_value_that_was_found_stands_beside_what_is_there() {
    let set = |text: &str| Changes::from([("title".to_owned(), Change::set(Content::new(text)))]);
    let mut ours = Entity::new(EntityId::new("e").unwrap());
    ours.edit(&Dot::new(device(0), 1), Stamp::from_millis(1), set("ours"));
    let before = ours.clone();
    ours.edit_seeing(None, &Dot::new(device(0), 2), Stamp::from_millis(2), set("found"));
    let mut theirs = before.clone();
    theirs.edit(&Dot::new(device(1), 1), Stamp::from_millis(3), set("theirs"));
    let values = |state: &Entity| {
        let values = state.siblings("title").iter().map(|s| s.content.value.clone());
        values.collect::<Vec<_>>()
    };
    assert_eq!(values(&join(&before, &ours)), [json!("ours"), json!("found")]);
    assert_eq!(values(&join(&ours, &theirs)), [json!("found"), json!("theirs")]);
}

#[test]
fn values_that_are_all_the_same_are_no_conflict_unless_they_count() {
    let state = |other: &str| {
        let mut state = Entity::new(EntityId::new("e").unwrap());
        let waiting = |counter: u64, value: &str| Alternative {
            dot: Dot::new(device(1), counter),
            at: Stamp::from_millis(1),
            content: Content::new(value),
        };
        let change = Change::Set(Content::new("Oats"), vec![waiting(1, "Oats"), waiting(2, other)]);
        let changes = Changes::from([("status".to_owned(), change)]);
        state.edit(&Dot::new(device(0), 1), Stamp::from_millis(2), changes);
        state
    };
    let newest = rules("edit_wins", "merge", "newest");
    assert_eq!(conflicts(&state("Oats"), &newest), []);
    assert_eq!(conflicts(&state("Rye"), &newest).len(), 1);
    assert_eq!(conflicts(&state("Oats"), &rules("edit_wins", "merge", "counter")).len(), 1);
}
