//! Setting a record anew, where the edits that set it once do not count any more.

use super::{
    join::join,
    resolve::each_once,
    snapshot::Pen,
    view::{is_deleted, is_marker, view},
};
use crate::{
    model::{
        Alternative, Change, Changes, Content, DeleteRule, Dot, Entity, Rules, Sibling, Stamp,
        VersionVector,
        entity::{DELETED, PATH, TYPE},
    },
    mutant::{self, Mutant},
};

/// All fields of a state, to be set by one edit to what they show. What competes there or waits for
/// a person goes along.
pub(super) fn all_anew(state: &Entity, rules: &Rules) -> Changes {
    let shown = view(state, rules);
    let mut changes = Changes::new();
    for (field, content) in shown.fields {
        let siblings = state.siblings(&field);
        let competing = siblings.iter().filter(|_| siblings.len() > 1).map(Alternative::from);
        let waiting = siblings.iter().flat_map(|sibling| sibling.alternatives.iter().cloned());
        changes.insert(field, Change::Set(content, each_once(competing.chain(waiting))));
    }
    if shown.is_deleted {
        // Else the new edit would be one that the deletion had not seen.
        let seen = serde_json::to_value(state.seen()).unwrap_or_default();
        changes.insert(DELETED.to_owned(), Change::set(Content::new(seen)));
    }
    changes
}

/// Makes an edit that takes a deletion back, or had not seen the one that is known by now, set everything:
/// this replica or others may have emptied their trash, and what was set before the deletion is gone there. What competes is taken from the `known`
/// state: in what was seen, all that compete may have the one value that a file showed.
pub(super) fn revive(changes: &mut Changes, seen: &Entity, known: Option<&Entity>, rules: &Rules) {
    let is_partly = mutant::is(Mutant::RevivesPartly);
    let takes_back = changes.get(DELETED) == Some(&Change::Remove);
    let is_gone = |state: &Entity| view(state, rules).is_deleted;
    let outlives = !changes.is_empty() && known.is_some_and(is_gone) && !is_gone(seen);
    if !takes_back && !outlives || is_partly {
        return;
    }
    for (field, mut change) in all_anew(seen, rules) {
        if let (Change::Set(_, waiting), Some(known)) = (&mut change, known) {
            waiting.iter_mut().for_each(|other| other.take_value_from(known.siblings(&field)));
        }
        changes.entry(field).or_insert(change);
    }
}

/// Sets everything anew where this device changed something before it learned of a deletion: what was
/// not changed here is gone wherever the trash was emptied meanwhile. How long ago that was does not
/// matter, for no clock can be trusted to tell.
pub(super) fn outlive(
    state: &mut Entity,
    remote: &Entity,
    rules: &Rules,
    pen: &mut Pen,
    now: Stamp,
) {
    let is_gone = view(remote, rules).is_deleted && !view(state, rules).is_deleted;
    let (ours, theirs) = (state.seen(), remote.seen());
    // What was met before has been outlived then.
    let is_new = !theirs.includes(&ours) && !ours.includes(&theirs);
    if is_gone && is_new && !mutant::is(Mutant::NotSetAnew) && may_return(state, remote, rules) {
        let (dot, at) = pen.next(now);
        let before = state.clone();
        let at = age_of_anew(&before, &remote.seen_by_deletions(), at);
        set_anew(state, &before, &dot, at, rules);
    }
}

/// Sets everything anew that comes back although this device has let go of what a deletion had seen:
/// what was set before that is gone here, and would go wherever this state came to.
pub(super) fn revived(
    state: &Entity,
    news: &Entity,
    rules: &Rules,
    pen: &mut Pen,
    now: Stamp,
) -> Option<Entity> {
    if state.siblings(DELETED).is_empty() || mutant::is(Mutant::RevivesPartly) {
        return None;
    }
    if is_marker(news) || state.seen().includes(&news.seen()) {
        return None;
    }
    // In the joined state, which has what is left here: an edit of the news alone would by its dot
    // claim to have seen this device's own deletion, and take it back.
    let mut joined = join(state, news);
    let mut whole = with_what_was_let_go(state, news, &joined);
    if whole == joined && !is_marker(state) {
        return None;
    }
    if view(news, rules).is_deleted || !may_return(&whole, state, rules) {
        return None;
    }
    whole.fields.remove(DELETED);
    let (dot, at) = pen.next(now);
    let at = age_of_anew(&joined, &VersionVector::default(), at);
    set_anew(&mut joined, &whole, &dot, at, rules);
    Some(joined)
}

/// The joined state with those values of the news that this device had, and let go of when it emptied
/// its trash: of a deletion nothing that it had seen is there any more.
fn with_what_was_let_go(state: &Entity, news: &Entity, joined: &Entity) -> Entity {
    let is_content = |field: &str| field != DELETED && field != TYPE;
    let is_emptied = |seen: &VersionVector| {
        let fields = state.fields.iter().filter(|(field, _)| is_content(field));
        !fields.flat_map(|(_, siblings)| siblings).any(|sibling| seen.covers(&sibling.dot))
    };
    let emptied: Vec<_> = state.seen_by_each_deletion().filter(is_emptied).collect();
    let mut whole = joined.clone();
    for (field, siblings) in news.fields.iter().filter(|(field, _)| is_content(field)) {
        // What the news has not seen of this field may have replaced what it has.
        let is_seen = |own: &Sibling| siblings.iter().any(|other| other.dot == own.dot);
        if !state.siblings(field).iter().all(is_seen) {
            continue;
        }
        let there = joined.siblings(field);
        let was_let_go = |sibling: &&Sibling| {
            !there.iter().any(|other| other.dot == sibling.dot)
                && emptied.iter().any(|seen| seen.covers(&sibling.dot))
        };
        let gone: Vec<Sibling> = siblings.iter().filter(was_let_go).cloned().collect();
        if !gone.is_empty() {
            let now = whole.fields.entry(field.clone()).or_default();
            now.extend(gone);
            now.sort_by(|a, b| a.dot.cmp(&b.dot));
        }
    }
    whole
}

/// Whether a record lives when a whole state of it meets its deletion, or would by another rule for
/// deletions: then it is whole in the trash. What it is counts, which the mark of a deletion does not
/// say.
fn may_return(whole: &Entity, deleted: &Entity, rules: &Rules) -> bool {
    let mut joined = join(whole, deleted);
    for (field, siblings) in &whole.fields {
        joined.fields.entry(field.clone()).or_insert_with(|| siblings.clone());
    }
    let type_name = view(whole, rules).type_name;
    let rule = rules.delete(&type_name, whole.fields.contains_key(PATH));
    rule == DeleteRule::DeleteWins || !is_deleted(&joined, rules, &type_name)
}

/// How old an edit is that sets a state anew: as the latest that no deletion had seen, neither one of the
/// state nor one that had seen these. So it is newer than no deletion that this was older than, and never
/// newer than now, whatever clocks were ahead (but for those of this device: its edits never grow older).
fn age_of_anew(state: &Entity, seen: &VersionVector, now: Stamp) -> Stamp {
    let mut covered = state.seen_by_deletions();
    covered.join(seen);
    let unseen = state.clock.iter().filter(|(device, last)| covered.get(device) < last.counter);
    let latest = unseen.map(|(_, last)| last.at).max();
    latest.map_or(now, |latest| latest.min(now))
}

/// Sets all fields that are in `whole` by one edit of this age. Each keeps the time at which it was set:
/// nothing was said by it that is newer than that.
pub fn set_anew(state: &mut Entity, whole: &Entity, dot: &Dot, at: Stamp, rules: &Rules) {
    state.edit(dot, at, all_anew(whole, rules));
    for (field, siblings) in &mut state.fields {
        let set_at = whole.siblings(field).iter().map(|sibling| sibling.at).max();
        for sibling in siblings.iter_mut().filter(|sibling| sibling.dot == *dot) {
            sibling.at = set_at.unwrap_or(sibling.at);
        }
    }
}
