//! Merges from a common state that is older than the latest: what was brought back since looks as if
//! it had been left alone.

use serde_json::{Value, json};

use super::{device, rules, words_of};
use crate::{
    merge::{conflicts, join, resolve},
    model::{Change, Changes, Content, Dot, Entity, EntityId, Rules, Stamp, entity::DELETED},
};

fn note() -> Rules {
    rules("edit_wins", "merge", "newest")
}

fn edited(state: &Entity, number: usize, counter: u64, value: &Value) -> Entity {
    let mut state = state.clone();
    let field = match value {
        Value::String(_) => "body",
        Value::Array(_) => "tags",
        _ => "geo",
    };
    let changes = Changes::from([(field.to_owned(), Change::set(Content::new(value.clone())))]);
    state.edit(&Dot::new(device(number), counter), Stamp::from_millis(1), changes);
    state
}

/// Both sides after `base`, `common` and what each made of that, merged from `base`.
fn merged(base: &Entity, [common, ours, theirs]: [Value; 3], from_common: bool) -> Entity {
    let common = edited(base, 0, 2, &common);
    let (ours, theirs) = (edited(&common, 0, 3, &ours), edited(&common, 1, 1, &theirs));
    let base = if from_common { &common } else { base };
    let resolved = resolve(Some(base), &ours, &theirs, &note());
    let mut joined = resolved.joined;
    joined.edit(&Dot::new(device(0), 4), Stamp::from_millis(2), resolved.changes);
    joined
}

#[test]
fn what_was_brought_back_is_not_lost_to_an_older_ancestor() {
    let cases = [
        (json!("t1 a\n"), [json!("a\n"), json!("t1 a\n"), json!("a\nt2\n")]),
        (json!(["t1"]), [json!(["t3"]), json!(["t1"]), json!(["t3", "t2"])]),
        (
            json!({"x": "t1"}),
            [json!({"x": "t3"}), json!({"x": "t1"}), json!({"x": "t3", "y": "t2"})],
        ),
    ];
    for (start, steps) in cases {
        let field = ["body", "tags", "geo"][[Value::is_string, Value::is_array, Value::is_object]
            .iter()
            .position(|is| is(&start))
            .unwrap()];
        let base = edited(&Entity::new(EntityId::new("e").unwrap()), 0, 1, &start);
        for from_common in [true, false] {
            let merged = merged(&base, steps.clone(), from_common);
            let words = words_of(&merged, field);
            assert!(["t1", "t2"].iter().all(|word| words.contains(*word)), "{merged:?}");
            let waits = merged.siblings(field).iter().any(|value| !value.alternatives.is_empty());
            assert_eq!(waits, !from_common, "{merged:?}");
        }
    }
}

/// Two sides know `t1`, and one took it out: since an older ancestor it looks as if the other added it.
#[test]
fn what_one_side_has_that_an_older_ancestor_lacks_may_be_back() {
    let base = edited(&Entity::new(EntityId::new("e").unwrap()), 0, 1, &json!("a\n"));
    for from_common in [true, false] {
        let steps = [json!("t1\na\n"), json!("t1\na\nt2\n"), json!("a\n")];
        let merged = merged(&base, steps, from_common);
        let [body] = merged.siblings("body") else { panic!("{merged:?}") };
        let waits = body.alternatives.iter().map(|value| value.content.value.clone());
        let (shown, waiting) = if from_common {
            (json!("a\nt2\n"), vec![])
        } else {
            (json!("t1\na\nt2\n"), vec![json!("a\n"), json!("t1\na\nt2\n")])
        };
        assert_eq!((&body.content.value, waits.collect::<Vec<_>>()), (&shown, waiting));
    }
}

#[test]
fn what_stands_elsewhere_too_is_not_taken_for_what_was_brought_back() {
    let cases = [
        (json!("b\nb a\n"), [json!("b a\n"), json!("b\nb a\n"), json!("b a\nt2\n")]),
        (json!(["b", "b"]), [json!(["b"]), json!(["b", "b"]), json!(["b", "t2"])]),
        (json!({"x": "a"}), [json!({"x": "a b"}), json!({"x": "a"}), json!({"x": "a b", "y": 1})]),
    ];
    for (start, steps) in cases {
        let base = edited(&Entity::new(EntityId::new("e").unwrap()), 0, 1, &start);
        let merged = merged(&base, steps, false);
        let values = merged.fields.values().flatten();
        assert!(values.into_iter().any(|value| !value.alternatives.is_empty()), "{merged:?}");
    }
}

/// The state after a device counted, each at another moment.
fn counted(state: &Entity, number: usize, counter: u64, count: i64) -> Entity {
    let mut state = state.clone();
    let changes = Changes::from([("status".to_owned(), Change::set(Content::new(count)))]);
    let at = Stamp::from_millis(i64::try_from(number).unwrap() + 1);
    state.edit(&Dot::new(device(number), counter), at, changes);
    state
}

#[test]
fn two_who_count_to_the_same_have_both_counted() {
    let rules = rules("edit_wins", "merge", "counter");
    let base = counted(&Entity::new(EntityId::new("e").unwrap()), 0, 1, 1);
    let (ours, theirs) = (counted(&base, 0, 2, 2), counted(&base, 1, 1, 2));
    let resolved = resolve(Some(&base), &ours, &theirs, &rules);
    assert_eq!(resolved.changes.get("status"), Some(&Change::set(Content::new(3))));
    // One merge that two devices made is one, and without an ancestor nobody knows.
    let (a, b) = (counted(&base, 0, 2, 12), counted(&base, 1, 1, 13));
    let both = join(&a, &b);
    let (ours, theirs) = (counted(&both, 2, 1, 24), counted(&both, 3, 1, 24));
    for base in [Some(&base), Some(&both), None] {
        assert_eq!(resolve(base, &ours, &theirs, &rules).changes, Changes::new());
    }
}

/// A compaction took up what its maker then sent as well.
#[test]
fn a_count_under_two_names_is_one() {
    let rules = rules("edit_wins", "merge", "counter");
    let base = counted(&Entity::new(EntityId::new("e").unwrap()), 0, 1, 1);
    let at_once = |number: usize, count: i64| {
        let mut state = base.clone();
        let changes = Changes::from([("status".to_owned(), Change::set(Content::new(count)))]);
        state.edit(&Dot::new(device(number), 1), Stamp::from_millis(9), changes);
        state
    };
    let (made, taken_up) = (at_once(1, 2), at_once(2, 2));
    let one = resolve(Some(&base), &made, &taken_up, &rules);
    assert_eq!(one.changes, Changes::new());
    assert_eq!(conflicts(&one.joined, &rules), []);
    // Whoever counts on from there has counted, and so has who did not know of it.
    let (ours, theirs) = (counted(&one.joined, 0, 2, 3), counted(&one.joined, 3, 1, 5));
    let sum = resolve(Some(&one.joined), &ours, &theirs, &rules);
    assert_eq!(sum.changes.get("status"), Some(&Change::set(Content::new(6))));
    let sum = resolve(Some(&base), &counted(&base, 3, 1, 4), &one.joined, &rules);
    assert_eq!(sum.changes.get("status"), Some(&Change::set(Content::new(5))));
    // Different counts are two, whenever they were made.
    let sum = resolve(Some(&base), &made, &at_once(2, 3), &rules);
    assert_eq!(sum.changes.get("status"), Some(&Change::set(Content::new(4))));
}

#[test]
fn what_both_know_to_be_replaced_is_not_shown_again() {
    let rules = rules("edit_wins", "merge", "manual");
    let set = counted;
    let old = set(&Entity::new(EntityId::new("e").unwrap()), 0, 1, 1);
    let common = set(&old, 0, 2, 2);
    let (ours, theirs) = (set(&common, 0, 3, 3), set(&common, 1, 1, 4));
    for (base, shown) in [(&common, 2), (&old, 3)] {
        let resolved = resolve(Some(base), &ours, &theirs, &rules);
        let Some(Change::Set(content, waiting)) = resolved.changes.get("status") else {
            panic!("{resolved:?}")
        };
        assert_eq!((content.value.as_i64(), waiting.len()), (Some(shown), 2));
    }
}

#[test]
fn who_counts_first_counts_from_nothing() {
    let rules = rules("edit_wins", "merge", "counter");
    let mut base = Entity::new(EntityId::new("e").unwrap());
    base.edit(&Dot::new(device(0), 1), Stamp::from_millis(1), Changes::new());
    for (ours, theirs, sum) in [(1, 1, 2), (2, 5, 7)] {
        let (ours, theirs) = (counted(&base, 0, 2, ours), counted(&base, 1, 1, theirs));
        let resolved = resolve(Some(&base), &ours, &theirs, &rules);
        assert_eq!(resolved.changes.get("status"), Some(&Change::set(Content::new(sum))));
    }
}

#[test]
fn who_counts_on_from_one_merge_that_two_devices_made_has_counted() {
    let rules = rules("edit_wins", "merge", "counter");
    let base = counted(&Entity::new(EntityId::new("e").unwrap()), 0, 1, 12);
    let twins = join(&counted(&base, 0, 2, 13), &counted(&base, 1, 1, 13));
    let (ours, theirs) = (counted(&twins, 0, 3, 14), counted(&twins, 1, 2, 14));
    let resolved = resolve(Some(&twins), &ours, &theirs, &rules);
    let Some(Change::Set(sum, waiting)) = resolved.changes.get("status") else {
        panic!("{resolved:?}")
    };
    // Nobody can tell the twins from two additions.
    assert_eq!((sum, waiting.len()), (&Content::new(15), 2));
}

#[test]
fn a_count_that_was_contested_when_both_counted_on_is_left_to_a_person() {
    let rules = rules("edit_wins", "merge", "counter");
    let base = counted(&Entity::new(EntityId::new("e").unwrap()), 0, 1, 10);
    let contested = join(&counted(&base, 0, 2, 12), &counted(&base, 1, 1, 13));
    let (ours, theirs) = (counted(&contested, 0, 3, 15), counted(&contested, 1, 2, 16));
    let resolved = resolve(Some(&contested), &ours, &theirs, &rules);
    let Some(Change::Set(_, waiting)) = resolved.changes.get("status") else {
        panic!("{resolved:?}")
    };
    assert_eq!(waiting.len(), 2);
}

#[test]
fn a_count_whose_trash_was_emptied_is_no_zero() {
    let rules = rules("edit_wins", "merge", "counter");
    let mut base = Entity::new(EntityId::new("e").unwrap());
    let mark = Changes::from([(DELETED.to_owned(), Change::set(Content::new(json!({}))))]);
    base.edit(&Dot::new(device(0), 1), Stamp::from_millis(1), mark);
    let back = |number, counter| {
        let mut state = counted(&base, number, counter, 5);
        state.fields.remove(DELETED);
        state
    };
    let resolved = resolve(Some(&base), &back(0, 2), &back(1, 1), &rules);
    assert_eq!(resolved.changes, Changes::new());
}

#[test]
fn one_merge_that_two_devices_made_is_listed_as_one() {
    let rules = rules("edit_wins", "merge", "text");
    let base = Entity::new(EntityId::new("e").unwrap());
    let set = |state: &Entity, number: usize, counter: u64, change: Change| {
        let mut state = state.clone();
        let changes = Changes::from([("status".to_owned(), change)]);
        state.edit(&Dot::new(device(number), counter), Stamp::from_millis(1), changes);
        state
    };
    let word = |number: usize, word: &str| set(&base, number, 1, Change::set(Content::new(word)));
    let (ours, theirs) = (word(0, "one"), word(1, "two"));
    let merged = resolve(None, &ours, &theirs, &rules);
    let change = merged.changes.get("status").unwrap();
    let one = set(&merged.joined, 0, 2, change.clone());
    let both = join(&one, &set(&merged.joined, 1, 2, change.clone()));
    assert_eq!(conflicts(&both, &rules), conflicts(&one, &rules));
    assert_eq!(conflicts(&one, &rules)[0].values.len(), 2);
}

#[test]
fn counts_without_an_ancestor_are_both_listed() {
    let rules = rules("edit_wins", "merge", "counter");
    let nothing = Entity::new(EntityId::new("e").unwrap());
    let (ours, theirs) = (counted(&nothing, 0, 1, 4), counted(&nothing, 1, 1, 6));
    let resolved = resolve(None, &ours, &theirs, &rules);
    assert_eq!(resolved.changes, Changes::new());
    let listed = conflicts(&resolved.joined, &rules);
    let [conflict] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(conflict.chosen, Some(Content::new(6)));
    assert_eq!(conflict.values.len(), 2);
}

#[test]
fn counts_that_compete_on_one_side_are_not_lost_in_the_sum() {
    let rules = rules("edit_wins", "merge", "counter");
    let base = counted(&Entity::new(EntityId::new("e").unwrap()), 0, 1, 10);
    let theirs = join(&counted(&base, 1, 1, 12), &counted(&base, 2, 1, 13));
    let changes = resolve(Some(&base), &counted(&base, 0, 2, 11), &theirs, &rules).changes;
    let Some(Change::Set(_, waiting)) = changes.get("status") else { panic!("{changes:?}") };
    assert_eq!(waiting.len(), 3);
}

#[test]
fn what_is_no_list_under_the_rule_for_lists_is_listed() {
    let rules = rules("edit_wins", "merge", "union");
    let set = |number: usize, value: Value| {
        let mut state = Entity::new(EntityId::new("e").unwrap());
        let changes = Changes::from([("status".to_owned(), Change::set(Content::new(value)))]);
        state.edit(&Dot::new(device(number), 1), Stamp::from_millis(1), changes);
        state
    };
    let (list, word) = (set(0, json!(["a"])), set(1, json!("x")));
    let both = join(&list, &word);
    assert_eq!(conflicts(&both, &rules).len(), 1);
    assert_eq!(conflicts(&join(&list, &set(1, json!(["x"]))), &rules), []);
    let merged = resolve(None, &both, &set(2, json!(["b"])), &rules);
    let mut state = merged.joined;
    state.edit(&Dot::new(device(9), 1), Stamp::from_millis(2), merged.changes);
    let kept = format!("{state:?}");
    assert!(["\"a\"", "\"b\"", "\"x\""].iter().all(|value| kept.contains(value)), "{kept}");
}

#[test]
fn a_count_from_an_older_ancestor_is_left_to_a_person() {
    let rules = rules("edit_wins", "merge", "counter");
    let set = counted;
    let base = set(&Entity::new(EntityId::new("e").unwrap()), 0, 1, 10);
    let common = set(&base, 0, 2, 12);
    let (ours, theirs) = (set(&common, 0, 3, 15), set(&common, 1, 1, 13));
    for (from, waits) in [(&common, false), (&base, true)] {
        let changes = resolve(Some(from), &ours, &theirs, &rules).changes;
        let Some(Change::Set(_, alternatives)) = changes.get("status") else {
            panic!("{changes:?}")
        };
        assert_eq!(!alternatives.is_empty(), waits);
    }
}

/// Two devices made values that compete; each of the two sides merged them, by what they had grown from.
#[test]
fn what_was_brought_back_is_not_lost_to_an_ancestor_whose_values_compete() {
    let start = edited(&Entity::new(EntityId::new("e").unwrap()), 0, 1, &json!(["t5", "t3"]));
    // One side takes a tag out, the other adds one.
    let base = join(
        &edited(&start, 0, 2, &json!(["t3"])),
        &edited(&start, 1, 1, &json!(["t5", "t3", "t1"])),
    );
    // The merge of the two lacks what was taken out; elsewhere it is brought back.
    let merge = edited(&base, 0, 3, &json!(["t3", "t1"]));
    let back = edited(&base, 1, 2, &json!(["t3", "t1", "t5", "t2"]));
    let resolved = resolve(Some(&base), &merge, &back, &note());
    let mut joined = resolved.joined;
    joined.edit(&Dot::new(device(0), 4), Stamp::from_millis(2), resolved.changes);
    let words = words_of(&joined, "tags");
    assert!(["t1", "t2", "t3", "t5"].iter().all(|word| words.contains(*word)), "{joined:?}");
}
