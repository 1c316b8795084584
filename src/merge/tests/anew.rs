//! Records that come back after a deletion, where some device has let go of what they were.

use serde_json::json;

use super::{device, rules};
use crate::{
    merge::{
        Pen,
        anew::{outlive, revived},
        join, set_anew, view,
    },
    model::{
        Change, Changes, Content, Dot, Entity, EntityId, Rules, Stamp,
        entity::{DELETED, TYPE},
    },
};

fn dot(number: usize, counter: u64) -> Dot {
    Dot::new(device(number), counter)
}

fn set<const N: usize>(fields: [(&str, &str); N]) -> Changes {
    fields.map(|(field, text)| (field.to_owned(), Change::set(Content::new(text)))).into()
}

fn edited(state: &Entity, dot: &Dot, at: i64, changes: Changes) -> Entity {
    let mut state = state.clone();
    state.edit(dot, Stamp::from_millis(at), changes);
    state
}

fn empty() -> Entity {
    Entity::new(EntityId::new("e").unwrap())
}

fn newest() -> Rules {
    rules("newest", "merge", "newest")
}

/// What the first device made and deleted, and then let go of.
fn mark() -> (Entity, Entity) {
    let whole =
        edited(&empty(), &dot(0, 1), 1, set([("title", "old"), ("status", "a"), (TYPE, "note")]));
    let seen = Content::new(json!({ device(0).as_str(): 1 }));
    let deletion = Changes::from([(DELETED.to_owned(), Change::set(seen))]);
    let whole = edited(&whole, &dot(0, 2), 10, deletion);
    let mut mark = whole.clone();
    mark.fields.retain(|field, _| field == DELETED || field == TYPE);
    (whole, mark)
}

#[test]
fn a_mark_that_met_an_older_edit_still_gets_back_what_it_let_go_of() {
    let (whole, mark) = mark();
    // Two others made a record under this id: one before the deletion, one after it.
    let older = edited(&empty(), &dot(1, 1), 5, set([("status", "b")]));
    let newer = edited(&empty(), &dot(2, 1), 20, set([("status", "c")]));
    let state = join(&mark, &older);
    let news = join(&join(&whole, &older), &newer);
    assert!(view(&state, &newest()).is_deleted && !view(&news, &newest()).is_deleted);
    let mut pen = Pen::new(device(0), 2, Stamp::from_millis(10));
    let now = Stamp::from_millis(30);
    let back = revived(&state, &news, &newest(), &mut pen, now).unwrap();
    assert_eq!(view(&back, &newest()).fields, view(&news, &newest()).fields);
    assert_eq!(join(&back, &news), back, "who has it whole comes to the same");
    assert_eq!(revived(&back, &news, &newest(), &mut pen, now), None);
}

#[test]
fn who_let_go_of_nothing_sets_nothing_anew() {
    let (whole, _) = mark();
    let news = edited(&empty(), &dot(2, 1), 20, set([("status", "c")]));
    let mut pen = Pen::new(device(0), 2, Stamp::from_millis(10));
    assert_eq!(revived(&whole, &news, &newest(), &mut pen, Stamp::from_millis(30)), None);
}

#[test]
fn what_was_set_anew_here_was_not_let_go_of() {
    let (whole, _) = mark();
    // It outlived the deletion: all of it was set anew, and one field is another now.
    let mut state = whole.clone();
    state.edit(
        &dot(1, 1),
        Stamp::from_millis(20),
        set([("title", "new"), ("status", "a"), (TYPE, "note")]),
    );
    let mut made = empty();
    made.edit(
        &dot(0, 1),
        Stamp::from_millis(1),
        set([("title", "old"), ("status", "a"), (TYPE, "note")]),
    );
    let news = edited(&made, &dot(2, 1), 21, set([("status", "c")]));
    let mut pen = Pen::new(device(1), 1, Stamp::from_millis(20));
    assert_eq!(revived(&state, &news, &newest(), &mut pen, Stamp::from_millis(30)), None);
}

#[test]
fn what_waits_is_kept_once_however_often_it_is_set_anew() {
    let one = edited(&empty(), &dot(0, 1), 1, set([("title", "one")]));
    let two = edited(&empty(), &dot(1, 1), 2, set([("title", "two")]));
    let mut state = join(&one, &two);
    for counter in 2..12 {
        let other = edited(&join(&one, &two), &dot(2, counter), 3, Changes::new());
        let before = state.clone();
        set_anew(&mut state, &before, &dot(0, counter), Stamp::from_millis(4), &newest());
        state = join(&state, &other);
    }
    let waiting = state.siblings("title").iter().map(|sibling| sibling.alternatives.len());
    assert_eq!(waiting.collect::<Vec<_>>(), [2]);
}

#[test]
fn what_is_set_anew_is_no_newer_than_the_edit_that_the_deletion_had_not_seen() {
    let (device_id, at) = (device(2), Stamp::from_millis);
    // Somebody whose clock was ahead had set the title, which the deleter saw; the status came after.
    let base = edited(&empty(), &dot(0, 1), 100, set([("title", "one")]));
    let mut deleted = base.clone();
    let seen = Content::new(json!({ device(0).as_str(): 1 }));
    let deletion = Changes::from([(DELETED.to_owned(), Change::set(seen))]);
    deleted.edit(&dot(1, 1), at(50), deletion);
    for (edited_at, rule) in [(40, "newest"), (60, "newest"), (40, "delete_wins")] {
        let mut state = edited(&base, &dot(2, 1), edited_at, set([("status", "a")]));
        let mut pen = Pen::new(device(2), 1, at(100));
        outlive(&mut state, &deleted, &rules(rule, "merge", "newest"), &mut pen, at(200));
        assert_eq!(state.clock[&device_id].at, at(edited_at));
        let joined = join(&state, &deleted);
        assert_eq!(view(&joined, &newest()).is_deleted, edited_at < 50, "{rule}");
    }
}

#[test]
fn an_edit_under_a_clock_that_was_ahead_makes_no_other_device_s_newer_than_now() {
    let (whole, mark) = mark();
    let news =
        edited(&whole, &dot(1, 1), 900, Changes::from([(DELETED.to_owned(), Change::Remove)]));
    let mut pen = Pen::new(device(2), 0, Stamp::from_millis(10));
    let back = revived(&mark, &news, &newest(), &mut pen, Stamp::from_millis(30)).unwrap();
    let ages = [device(1), device(2)].map(|device| back.clock[&device].at.millis());
    assert_eq!(ages, [900, 30]);
}
