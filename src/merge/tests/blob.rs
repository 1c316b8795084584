//! Files that are no records of fields: which content is shown, and what becomes of the other.

use serde_json::Value;

use crate::{
    merge::{conflicts, join, resolve, view},
    model::{
        Blob, Change, Changes, ConflictState, Content, DeviceId, Dot, Entity, EntityId, Rules,
        Stamp,
        entity::{BLOB, BODY, PATH},
    },
};

fn blob(content: char, salt: &str) -> Value {
    let sha256 = String::from(content).repeat(64);
    let file = format!("blobs/{sha256}-{salt}");
    Blob { sha256, bytes: 7, file }.to_value()
}

fn set(field: &str, value: impl Into<Value>) -> (String, Change) {
    (field.to_owned(), Change::set(Content::new(value)))
}

fn edited(
    state: &Entity,
    device: &str,
    at: i64,
    changes: impl IntoIterator<Item = (String, Change)>,
) -> Entity {
    let device = DeviceId::new(device).unwrap();
    let counter = state.clock.get(&device).map_or(0, |last| last.counter) + 1;
    let mut state = state.clone();
    let changes: Changes = changes.into_iter().collect();
    state.edit(&Dot::new(device, counter), Stamp::from_millis(at), changes);
    state
}

fn photo() -> Entity {
    let new = Entity::new(EntityId::new("e").unwrap());
    edited(&new, "aaaa", 1, [set(PATH, "photo.jpg"), set(BLOB, blob('0', "a"))])
}

fn finished(resolved: crate::merge::Resolved) -> Entity {
    let mut state = resolved.joined;
    if !resolved.changes.is_empty() {
        let device = DeviceId::new("mmmm").unwrap();
        state.edit(&Dot::new(device, 1), Stamp::from_millis(90), resolved.changes);
    }
    state
}

#[test]
fn the_same_content_in_two_files_is_no_conflict() {
    let (rules, base) = (Rules::default(), photo());
    let ours = edited(&base, "aaaa", 5, [set(BLOB, blob('1', "qq"))]);
    let theirs = edited(&base, "bbbb", 9, [set(BLOB, blob('1', "cc"))]);
    for (a, b) in [(&ours, &theirs), (&theirs, &ours)] {
        let resolved = resolve(Some(&base), a, b, &rules);
        assert!(resolved.changes.is_empty() && resolved.beside.is_empty(), "{resolved:?}");
        let shown = view(&resolved.joined, &rules);
        assert_eq!(shown.fields[BLOB].value, blob('1', "cc"), "the lesser name");
        assert_eq!(conflicts(&resolved.joined, &rules), []);
    }
}

#[test]
fn of_two_contents_the_newest_is_shown_and_the_other_gets_a_record() {
    let (rules, base) = (Rules::default(), photo());
    let ours = edited(&base, "aaaa", 5, [set(BLOB, blob('1', "a"))]);
    let theirs = edited(&base, "bbbb", 9, [set(BLOB, blob('2', "b"))]);
    for (a, b) in [(&ours, &theirs), (&theirs, &ours)] {
        let resolved = resolve(Some(&base), a, b, &rules);
        assert_eq!(resolved.beside.len(), 1);
        assert_eq!(resolved.beside[0].dot.to_string(), "aaaa:2");
        assert_eq!(resolved.beside[0].fields[BLOB].value, blob('1', "a"));
        let state = finished(resolved);
        assert_eq!(view(&state, &rules).fields[BLOB].value, blob('2', "b"));
        let listed = conflicts(&state, &rules);
        assert_eq!((listed.len(), listed[0].state), (1, ConflictState::Decided));
        assert_eq!((listed[0].rule.as_str(), listed[0].values.len()), ("newest", 2));
        assert!(resolve(Some(&base), &state, &state, &rules).beside.is_empty());
    }
}

#[test]
fn a_new_name_and_a_new_content_are_both_kept() {
    let (rules, base) = (Rules::default(), photo());
    let ours = edited(&base, "aaaa", 5, [set(PATH, "sun.jpg")]);
    let theirs = edited(&base, "bbbb", 9, [set(BLOB, blob('2', "b"))]);
    let resolved = resolve(Some(&base), &ours, &theirs, &rules);
    assert!(resolved.changes.is_empty() && resolved.beside.is_empty());
    let shown = view(&join(&ours, &theirs), &rules);
    assert_eq!((shown.path(), shown.blob().unwrap().bytes), (Some("sun.jpg"), 7));
    assert_eq!(shown.fields[BLOB].value, blob('2', "b"));
}

#[test]
fn a_text_that_met_another_content_gets_a_record() {
    let rules = Rules::default();
    let new = Entity::new(EntityId::new("e").unwrap());
    let text = [set(PATH, "a.md"), set(BODY, "one\n"), set("title", "T")];
    let base = edited(&new, "aaaa", 1, text);
    let without = [(BODY.to_owned(), Change::Remove), ("title".to_owned(), Change::Remove)];
    let ours = edited(&base, "aaaa", 5, without.into_iter().chain([set(BLOB, blob('1', "a"))]));
    let theirs = edited(&base, "bbbb", 9, [set(BODY, "one\ntwo\n")]);
    for (a, b) in [(&ours, &theirs), (&theirs, &ours)] {
        let resolved = resolve(Some(&base), a, b, &rules);
        let beside = resolved.beside[0].clone();
        assert_eq!((beside.dot.to_string(), beside.fields.len()), ("bbbb:1".to_owned(), 2));
        assert_eq!(beside.fields[BODY].value, "one\ntwo\n");
        let shown = view(&finished(resolved), &rules);
        let left: Vec<&str> = shown.fields.keys().map(String::as_str).collect();
        assert_eq!(left, [BLOB, PATH]);
    }
    let back = edited(&ours, "aaaa", 7, [set(BODY, "x\n"), (BLOB.to_owned(), Change::Remove)]);
    let resolved = resolve(Some(&ours), &back, &ours, &rules);
    assert!(resolved.beside.is_empty() && resolved.changes.is_empty());
}
