//! The exact record of every edit, and what must be true at the end because of it.
//!
//! Every value that somebody types holds words that nobody else ever types (`t17`). An edit is
//! logged by the words it brought into a field and those it took out, as its author saw them. A
//! word may leave a field only by an edit that took it out: whatever merges, races and crashes do,
//! each word must otherwise still stand there, in sight or among the values that wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use larder::{
    merge::{conflicts, is_deleted, view},
    model::{
        DeleteRule, DeviceId, Dot, Entity, EntityId, Rule, Rules, Stamp, Strategy, VersionVector,
        entity::{BODY, DELETED, LAYOUT, TYPE},
    },
    store::Store,
};
use serde_json::Value;

use super::{
    promise::{Promise, Verdict},
    rest::rules,
};

/// The field that counts, in records of a type with such a rule.
const COUNT: &str = "count";

/// A word that is typed once in the whole simulation.
pub(crate) type Word = String;

/// One edit of one field.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) replica: usize,
    pub(crate) step: usize,
    /// Its names: a replica that starts a new life names its unsent edits anew.
    pub(crate) dots: Vec<Dot>,
    pub(crate) entity: EntityId,
    pub(crate) field: String,
    pub(crate) adds: BTreeSet<Word>,
    pub(crate) drops: BTreeSet<Word>,
    /// The edits of the record that its author had seen.
    pub(crate) seen: VersionVector,
    /// Those of them that it is sure to have seen.
    pub(crate) knew: VersionVector,
    pub(crate) at: Stamp,
    /// Whether the field has a value after it.
    pub(crate) sets: bool,
    /// What it added to a counter.
    pub(crate) added: i64,
    /// A count made where several stood beside each other, of which its author saw one; or one that was
    /// taken up from what its maker may send again.
    pub(crate) is_choice: bool,
    /// Made by a merge and by nobody.
    pub(crate) is_merge: bool,
    /// A turn was acknowledged after it.
    pub(crate) sent: bool,
    /// Its replica lost its disk before anybody else had it.
    pub(crate) excused: bool,
}

/// Every edit that was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) edits: Vec<Edit>,
    /// The names under which a replica came back from an older copy, or was copied: a dot of theirs
    /// may name two edits.
    pub(crate) doubtful: BTreeSet<DeviceId>,
    /// Words that a merge of two texts put into one text twice: two people may each take out one.
    pub(crate) doubled: BTreeSet<Word>,
    /// Words that stand in a file of somebody's vault because they were typed there.
    pub(crate) typed: BTreeSet<Word>,
    /// Words that somebody removed from a file they saw.
    pub(crate) untyped: BTreeSet<Word>,
    /// Words of a record in whose place somebody put another file.
    pub(crate) replaced: BTreeSet<Word>,
    /// Words that changed places with those of another file, and with whom.
    pub(crate) swapped: BTreeMap<Word, BTreeSet<usize>>,
    /// So much time has passed that what was deleted is gone for good.
    pub(crate) trash_is_emptied: bool,
    /// What only the torn head of a lost device named was taken up.
    pub(crate) took_up_torn: bool,
    /// By replica and step, which edits each backup lacks.
    backups: BTreeMap<(usize, usize), BTreeSet<usize>>,
    /// Some device's clock was set.
    pub(crate) has_set_clock: bool,
}

pub(crate) type States = BTreeMap<EntityId, Entity>;

impl Log {
    /// Logs what `device` did to the records between two moments.
    pub(crate) fn note(
        &mut self,
        (replica, step): (usize, usize),
        device: &DeviceId,
        (before, after): (&States, &States),
        is_merge: bool,
    ) {
        for (id, state) in after {
            let empty = Entity::new(id.clone());
            let old = before.get(id).unwrap_or(&empty);
            let Some(last) = state.clock.get(device) else { continue };
            if old.clock.get(device).is_some_and(|old| old.counter >= last.counter) {
                continue;
            }
            self.doubled.extend(doubled(state));
            let dot = Dot::new(device.clone(), last.counter);
            let seen = if is_merge { state.seen() } else { old.seen() };
            // A merge that met a deletion late has all that it finished set anew: then the record has
            // two edits, and the first had seen what was there before, or some of what came.
            let before = old.clock.get(device).map_or(0, |old| old.edits);
            let made = last.edits.saturating_sub(before);
            let knew = if made > 1 { old.seen() } else { seen.clone() };
            for field in old.fields.keys().chain(state.fields.keys()).collect::<BTreeSet<_>>() {
                if old.siblings(field) == state.siblings(field) {
                    continue;
                }
                let is_own = state.siblings(field).iter().any(|sibling| sibling.dot == dot);
                if is_merge && !is_own {
                    continue;
                }
                let (had, has) = (words_of(old, field), words_of(state, field));
                let added = count_of(state) - count_of(old);
                self.edits.push(Edit {
                    replica,
                    step,
                    dots: vec![dot.clone()],
                    entity: id.clone(),
                    field: field.clone(),
                    adds: if is_merge { BTreeSet::new() } else { &has - &had },
                    drops: if is_merge { BTreeSet::new() } else { &had - &has },
                    seen: seen.clone(),
                    knew: knew.clone(),
                    at: last.at,
                    sets: !state.siblings(field).is_empty(),
                    added: if is_merge || field != COUNT { 0 } else { added },
                    is_choice: field == COUNT
                        && (old.siblings(field).len() > 1
                            || is_merge && old.siblings(field).is_empty()),
                    is_merge,
                    sent: false,
                    excused: false,
                });
            }
        }
    }

    /// Whether a word that nobody took out may be in a history only: two who swap files at once each
    /// put something else in its place.
    pub(crate) fn is_out(&self, word: &Word) -> bool {
        let is_swapped = self.swapped.get(word).is_some_and(|by| by.len() > 1);
        is_swapped || self.replaced.contains(word)
    }

    /// A turn of this replica was acknowledged.
    pub(crate) fn sent(&mut self, replica: usize) {
        let own = self.edits.iter_mut().filter(|edit| edit.replica == replica);
        for edit in own.filter(|edit| !edit.excused) {
            edit.sent = true;
        }
    }

    /// The replica has a copy now, which sends what was unsent as well, under names of its own: also
    /// if the first goes back behind that.
    pub(crate) fn copied(&mut self, replica: usize, copy: usize, device: DeviceId) {
        self.doubtful.insert(device);
        let unsent = self.edits.iter().filter(|edit| edit.replica == replica && !edit.sent);
        let twins: Vec<Edit> = unsent
            .map(|edit| Edit { replica: copy, adds: BTreeSet::new(), ..edit.clone() })
            .collect();
        self.edits.extend(twins);
    }

    /// The replica's database is again what it was at `step`.
    pub(crate) fn went_back(&mut self, replica: usize, step: usize, device: DeviceId) {
        self.doubtful.insert(device);
        let lacks = self.backups.get(&(replica, step)).cloned().unwrap_or_default();
        let own = self.edits.iter_mut().enumerate().filter(|(_, edit)| edit.replica == replica);
        for (nth, edit) in own.filter(|(_, edit)| !edit.sent) {
            // What went after the backup was made is back with it.
            let is_gone = edit.step >= step || lacks.contains(&nth);
            edit.excused = is_gone;
        }
    }

    /// A backup of the replica is made; what is gone by then is not in it.
    pub(crate) fn backed_up(&mut self, replica: usize, step: usize) {
        let own = self.edits.iter().enumerate().filter(|(_, edit)| edit.replica == replica);
        let gone = own.filter(|(_, edit)| edit.excused).map(|(nth, _)| nth).collect();
        self.backups.insert((replica, step), gone);
    }

    /// The replica started a new life: its unsent edits have new names.
    pub(crate) fn renamed(&mut self, replica: usize, device: &DeviceId, states: &States) {
        let own = self.edits.iter_mut().filter(|edit| edit.replica == replica && !edit.sent);
        let own = own.filter(|edit| !edit.excused);
        for edit in own.filter(|edit| edit.dots.iter().all(|dot| dot.device != *device)) {
            let last = states.get(&edit.entity).and_then(|state| state.clock.get(device));
            if let Some(last) = last {
                edit.dots.push(Dot::new(device.clone(), last.counter));
            }
        }
    }

    /// Whether the state in which everybody agrees in the end is right.
    pub(crate) fn judge(&self, states: &States, rules: &Rules) -> Verdict {
        Promise::EditsStay.holds_unless(self.lost_words(states, rules))?;
        let is_clear = |id: &&EntityId| {
            !self.edits.iter().any(|edit| edit.entity == **id && self.is_doubtful(edit))
        };
        let clear: BTreeSet<&EntityId> = states.keys().filter(is_clear).collect();
        Promise::NoResurrection.holds_unless(self.zombies(states, &clear))?;
        Promise::NoResurrection.holds_unless(self.revenants(states, rules, &clear))?;
        Promise::NoResurrection.holds_unless(self.deletions(states, rules, &clear))
    }

    /// Whether one of its names may be another edit's as well.
    fn is_doubtful(&self, edit: &Edit) -> bool {
        edit.dots.iter().any(|dot| self.doubtful.contains(&dot.device))
    }

    /// Whether a replica, or the remote, has all edits that it claims to know.
    pub(crate) fn check_claims(
        &self,
        who: Option<usize>,
        knows: &VersionVector,
        states: &States,
    ) -> Verdict {
        let is_hollow = |edit: &&Edit| {
            let dot = &edit.dots[0];
            !self.doubtful.contains(&dot.device)
                && knows.covers(dot)
                && !states.get(&edit.entity).is_some_and(|state| state.covers(dot))
        };
        let Some(edit) = self.edits.iter().find(is_hollow) else { return Ok(()) };
        let who = who.map_or("the remote".to_owned(), |index| format!("replica {index}"));
        let text = format!("{who} claims to know {:?} of {}", edit.dots, edit.entity);
        Err(Promise::HonestClaims.broken(text + " and has it not"))
    }

    /// Words that nobody took out and that are gone.
    fn lost_words(&self, states: &States, rules: &Rules) -> Vec<String> {
        let mut lost = Vec::new();
        for edit in self.edits.iter().filter(|edit| !edit.excused) {
            let there = states.get(&edit.entity).map(|state| words_of(state, &edit.field));
            let there = there.unwrap_or_default();
            let is_gone = |word: &&Word| !there.contains(*word) && !self.doubled.contains(*word);
            for word in edit.adds.iter().filter(is_gone) {
                let is_taken = |other: &&Edit| {
                    other.entity == edit.entity
                        && other.field == edit.field
                        && other.drops.contains(word)
                        // A copy made the edit, too, which nobody has seen there.
                        && (self.is_doubtful(edit) || self.is_doubtful(other) || !saw(edit, other))
                        && (is_standing(other, states) || is_taken_up(other, states))
                };
                let is_trash = self.trash_is_emptied && self.was_let_go(edit, states, rules);
                let is_trash = is_trash || self.went_with_its_deletion(edit);
                if !is_trash && !self.edits.iter().any(|other| is_taken(&other)) {
                    lost.push(format!("{word} is lost, typed in {}", told(edit)));
                }
            }
        }
        lost
    }

    /// Whether its author deleted the record, too, and then lost their disk: where what they sent was
    /// taken up from files that no head names, that brings nothing back.
    fn went_with_its_deletion(&self, edit: &Edit) -> bool {
        let is_deletion = |other: &&Edit| {
            let is_same = other.entity == edit.entity && other.replica == edit.replica;
            is_same && other.field == DELETED && other.sets
        };
        let mut deletions = self.edits.iter().filter(is_deletion);
        self.took_up_torn && deletions.any(|other| other.excused && saw(other, edit))
    }

    /// Whether somebody deleted the record who had seen this edit, and nobody brought it back but
    /// people who may have had the mark of the deletion only.
    fn was_let_go(&self, edit: &Edit, states: &States, rules: &Rules) -> bool {
        let own = || self.edits.iter().filter(|other| other.entity == edit.entity);
        let mut deletions =
            own().filter(|other| other.field == DELETED && other.sets && saw(other, edit));
        let is_gone = states
            .get(&edit.entity)
            .is_none_or(|state| is_deleted(state, rules, &view(state, rules).type_name));
        // Whoever edits the record without knowing of the deletion brings back what they have of it;
        // not what a command set anew that then deleted it.
        let revivers = |deletion: &Edit| {
            // A name of what was taken up may be another edit's as well.
            let is_unaware =
                |o: &&Edit| is_taken_up(o, states) || !saw(o, deletion) && !saw(deletion, o);
            let others = own().filter(|o| !o.is_merge && o.field != DELETED);
            let others =
                others.filter(|o| !o.excused && is_standing(o, states) || is_taken_up(o, states));
            others.filter(|o| o.dots != deletion.dots).filter(is_unaware).collect::<Vec<_>>()
        };
        // Once it is back by one who had not this edit, others bring along only what they changed.
        let outlives = |deletion: &Edit| {
            let revivers = revivers(deletion);
            let brings = |o: &&Edit| saw(o, edit) && !is_taken_up(o, states);
            !revivers.is_empty() && revivers.iter().all(brings)
        };
        let knows = |deletion: &Edit| own().any(|o| !o.is_merge && saw(o, deletion));
        deletions.any(|deletion| is_gone || knows(deletion) || !outlives(deletion))
    }

    /// Whether these remotes have every edit of a replica whose turn through them was acknowledged. Of
    /// several remotes one may have been gone to before the last merges; if they are all, some one has
    /// them.
    pub(crate) fn check_sent(
        &self,
        replica: usize,
        remotes: &[Rc<States>],
        are_all: bool,
    ) -> Verdict {
        let own = self.edits.iter().filter(|edit| edit.replica == replica && edit.sent);
        let is_there = |edit: &Edit| {
            let mut standing = remotes.iter().map(|states| is_standing(edit, states));
            if edit.is_merge { !are_all || standing.any(|is| is) } else { standing.all(|is| is) }
        };
        let own = own.filter(|edit| !edit.excused && !self.is_doubtful(edit));
        let missing = own.filter(|edit| !is_there(edit));
        let told = missing.map(|edit| format!("acknowledged and not there: {}", told(edit)));
        Promise::EditsStay.holds_unless(told.take(3).collect())
    }

    /// Whether every word that a replica's user replaced can be looked up there.
    pub(crate) fn check_history(&self, replica: usize, store: &Store) -> Verdict {
        let own = self.edits.iter().filter(|edit| edit.replica == replica && !edit.excused);
        let own = own.filter(|edit| !self.is_doubtful(edit));
        for edit in own.filter(|edit| !edit.drops.is_empty()) {
            let mut past = BTreeSet::new();
            for state in store.history(&edit.entity).unwrap().into_iter().map(|past| past.state) {
                past.extend(words_of(&state, &edit.field));
            }
            for settled in store.conflicts(true).unwrap() {
                let values = settled.conflict.values.iter().filter_map(|v| v.content.as_ref());
                values.for_each(|content| collect(&content.value, &mut past));
            }
            if let Some(word) = edit.drops.difference(&past).next() {
                let text = format!("{word} is in no history, taken out in {}", told(edit));
                return Err(Promise::Restorable.broken(text));
            }
        }
        Ok(())
    }

    /// Counters of records that one person made and nobody ever deleted, and that do not show what was
    /// added to them.
    pub(crate) fn miscounted<'a>(
        &self,
        states: impl Iterator<Item = &'a Entity>,
        rules: &Rules,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for state in states {
            let counts = rules.field(&view(state, rules).type_name, COUNT, std::iter::empty());
            let own = || self.edits.iter().filter(|edit| edit.entity == state.id);
            // Where two made the record, nobody knows whether they counted the same.
            let made: BTreeSet<_> = own().filter(|e| e.seen.is_empty()).map(|e| &e.dots).collect();
            // Who could not read what others sent leaves both counts there.
            let is_clear = made.len() < 2 && state.siblings(COUNT).len() < 2;
            // Who counts on outdoes who takes the field out.
            let is_murky = |edit: &Edit| {
                let is_taken_out = edit.field == COUNT && !edit.sets;
                edit.field == DELETED || is_taken_out || edit.is_choice || self.is_doubtful(edit)
            };
            let is_clear = is_clear && !own().any(is_murky);
            if counts != Rule::Counter || !is_clear {
                continue;
            }
            let (shown, added) = (count_of(state), own().map(|edit| edit.added).sum::<i64>());
            if shown != added {
                wrong.push(format!("{} counts {shown}, and {added} were added", state.id));
            }
        }
        wrong
    }

    /// Values that somebody replaced, who had seen them, and that stand there nevertheless.
    fn zombies(&self, states: &States, clear: &BTreeSet<&EntityId>) -> Vec<String> {
        let mut found = Vec::new();
        let clear = self.edits.iter().filter(|edit| clear.contains(&edit.entity));
        for edit in clear.filter(|edit| !edit.is_merge) {
            let Some(state) = states.get(&edit.entity) else { continue };
            let mut siblings = state.siblings(&edit.field).iter();
            let standing = siblings.find(|sibling| edit.dots.contains(&sibling.dot));
            let Some(standing) = standing else { continue };
            // Who takes a new id names all that one record waits to send as one edit: the last says it.
            let is_another = |later: &&Edit| !later.dots.contains(&standing.dot);
            if let Some(killer) = self.successors(edit, states).find(is_another) {
                found.push(format!("{} stands, but see {}", told(edit), told(killer)));
            }
        }
        found
    }

    /// Words that are in sight again although their field was edited by one after the other only, and
    /// one took them out.
    fn revenants(
        &self,
        states: &States,
        rules: &Rules,
        clear: &BTreeSet<&EntityId>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        for edit in self.edits.iter().filter(|e| clear.contains(&e.entity) && !e.drops.is_empty()) {
            let own = || self.edits.iter().filter(|other| other.entity == edit.entity);
            let Some(state) = states.get(&edit.entity) else { continue };
            let shown = view(state, rules);
            let mut others = own().filter(|o| o.field == edit.field && o.dots != edit.dots);
            let is_alone = others.all(|other| saw(other, edit) || saw(edit, other));
            let is_merged = rules.strategy(&shown.type_name) == Strategy::Merge;
            let was_deleted = own().any(|other| other.field == DELETED);
            // From an ancestor before both nobody knows who is right: a person is asked.
            let is_asked = waiting(state, &edit.field).any(|dot| edit.dots.contains(dot));
            if !is_alone || !is_merged || was_deleted || is_asked || !is_standing(edit, states) {
                continue;
            }
            let mut words = BTreeSet::new();
            shown.fields.get(&edit.field).into_iter().for_each(|c| collect(&c.value, &mut words));
            for word in edit.drops.intersection(&words) {
                if !own().any(|other| other.adds.contains(word) && saw(other, edit)) {
                    found.push(format!("{word} is back, taken out in {}", told(edit)));
                }
            }
        }
        found
    }

    /// Edits of the same field that had seen this one, as far as they arrived.
    fn successors<'a>(
        &'a self,
        edit: &'a Edit,
        states: &'a States,
    ) -> impl Iterator<Item = &'a Edit> {
        self.edits.iter().filter(move |other| {
            let is_same = other.entity == edit.entity && other.field == edit.field;
            let saw = || edit.dots.iter().any(|dot| other.seen.covers(dot));
            is_same && !other.is_merge && saw() && is_standing(other, states)
        })
    }

    /// Records that are deleted or not against what the edits and the rules say.
    fn deletions(
        &self,
        states: &States,
        rules: &Rules,
        clear: &BTreeSet<&EntityId>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for (id, state) in states.iter().filter(|(id, _)| clear.contains(id)) {
            let own: Vec<&Edit> = self.edits.iter().filter(|edit| edit.entity == *id).collect();
            let standing: Vec<&Edit> = own
                .iter()
                .copied()
                .filter(|edit| edit.field == DELETED && edit.sets && is_standing(edit, states))
                .filter(|edit| self.successors(edit, states).next().is_none())
                .collect();
            let found: BTreeSet<&Dot> = state.siblings(DELETED).iter().map(|s| &s.dot).collect();
            // Each stands by one of its names.
            let is_there = |edit: &&Edit| edit.dots.iter().any(|dot| found.contains(dot));
            let is_made = |dot: &&Dot| standing.iter().any(|edit| edit.dots.contains(dot));
            if !standing.iter().all(is_there) || !found.iter().all(is_made) {
                let made: BTreeSet<&Dot> = standing.iter().flat_map(|edit| &edit.dots).collect();
                wrong.push(format!("{id}: deletions {found:?}, but made were {made:?}"));
                continue;
            }
            let type_name = view(state, rules).type_name;
            let rule = rules.delete(&type_name, false);
            let is_deleted = is_deleted(state, rules, &type_name);
            if is_deleted && is_bare(state) {
                // An edit that was taken back leaves nothing to be brought back.
                continue;
            }
            if is_deleted != expect_deleted(&standing, &own, rule) {
                wrong.push(format!("{id}: deleted is {is_deleted} by {rule:?}, {standing:?}"));
            }
        }
        wrong
    }
}

/// Whether a record is deleted, by the edits that people made. A merge that had seen the deletion
/// is nobody's edit; one that had not counts as the edit it finishes, also where the deleter had seen
/// that edit, and the same merge of it by another device: nothing in a state tells so.
fn expect_deleted(standing: &[&Edit], own: &[&Edit], rule: DeleteRule) -> bool {
    let Some(newest) = standing.iter().map(|edit| (edit.at, &edit.dots[0].device)).max() else {
        return false;
    };
    let covers = |edit: &Edit| {
        let is_seen = |deletion: &&&Edit| {
            edit.dots.iter().any(|dot| deletion.seen.covers(dot) || deletion.dots.contains(dot))
        };
        standing.iter().any(|deletion| is_seen(&deletion))
    };
    let knew = |edit: &Edit| {
        standing.iter().all(|deletion| deletion.dots.iter().any(|dot| edit.knew.covers(dot)))
    };
    let unseen = own.iter().filter(|edit| !(covers(edit) || edit.is_merge && knew(edit)));
    match rule {
        DeleteRule::DeleteWins => true,
        DeleteRule::EditWins => unseen.count() == 0,
        DeleteRule::Newest => {
            Some(newest) >= unseen.map(|edit| (edit.at, &edit.dots[0].device)).max()
        }
    }
}

/// Whether a record says nothing but what it is.
pub(crate) fn is_bare(state: &Entity) -> bool {
    state.fields.keys().all(|field| field == DELETED || field == TYPE)
}

/// Whether the edit arrived.
fn is_standing(edit: &Edit, states: &States) -> bool {
    let state = states.get(&edit.entity);
    state.is_some_and(|state| edit.dots.iter().any(|dot| state.covers(dot)))
}

/// Whether a lost disk had sent the edit and never committed it, and it was taken up under another name.
fn is_taken_up(edit: &Edit, states: &States) -> bool {
    let there = states.get(&edit.entity).map(|state| words_of(state, &edit.field));
    edit.excused && there.is_some_and(|there| edit.adds.iter().any(|word| there.contains(word)))
}

/// Whether the author of an edit had seen another.
fn saw(edit: &Edit, other: &Edit) -> bool {
    other.dots.iter().any(|dot| edit.seen.covers(dot))
}

fn told(edit: &Edit) -> String {
    let Edit { replica, step, dots, entity, field, .. } = edit;
    format!("step {step} by {replica} as {dots:?} on {entity}.{field}")
}

/// The edits whose values of a field wait for a person.
fn waiting<'a>(state: &'a Entity, field: &str) -> impl Iterator<Item = &'a Dot> {
    state.siblings(field).iter().flat_map(|sibling| &sibling.alternatives).map(|value| &value.dot)
}

/// The words in all values of a field, in sight or waiting.
pub(crate) fn words_of(state: &Entity, field: &str) -> BTreeSet<Word> {
    let mut words = BTreeSet::new();
    for sibling in state.siblings(field) {
        collect(&sibling.content.value, &mut words);
        for alternative in &sibling.alternatives {
            collect(&alternative.content.value, &mut words);
        }
    }
    words
}

/// The words that stand more than once in the text that is shown.
fn doubled(state: &Entity) -> Vec<Word> {
    let shown = view(state, &Rules::default());
    let text = shown.fields.get(BODY).and_then(|body| body.value.as_str()).unwrap_or_default();
    let times = |word: &Word| text.split_whitespace().filter(|part| part == word).count();
    words_in(text).into_iter().filter(|word| times(word) > 1).collect()
}

/// The words in a text. Where the text of a JSON file became that of another, a line before a word
/// ends in `\n` as two letters.
pub(crate) fn words_in(text: &str) -> BTreeSet<Word> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric());
    let parts = parts.map(|part| part.strip_prefix('n').unwrap_or(part));
    let is_word = |part: &&str| {
        part.strip_prefix('t')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    parts.filter(is_word).map(str::to_owned).collect()
}

/// What the counter of a record shows.
fn count_of(state: &Entity) -> i64 {
    let shown = view(state, &rules());
    shown.fields.get(COUNT).and_then(|count| count.value.as_i64()).unwrap_or(0)
}

/// Takes the words in a value.
pub(crate) fn collect(value: &Value, words: &mut BTreeSet<Word>) {
    match value {
        Value::String(text) => words.extend(words_in(text)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, words)),
        Value::Object(map) => map.values().for_each(|value| collect(value, words)),
        _ => {}
    }
}

/// The conflicts that a state holds, as the journal should list them.
pub(crate) fn conflict_ids(states: &States, rules: &Rules) -> BTreeSet<String> {
    let all = states.values().flat_map(|state| conflicts(state, rules));
    all.map(|conflict| conflict.id).collect()
}

/// Words that are not in sight, and that no conflict lists.
pub(crate) fn hidden_words(states: &States, rules: &Rules) -> Vec<String> {
    let mut hidden = Vec::new();
    for state in states.values() {
        let shown = view(state, rules);
        if shown.is_deleted {
            continue;
        }
        let listed = conflicts(state, rules);
        for field in state.fields.keys().filter(|field| *field != LAYOUT) {
            let mut told = BTreeSet::new();
            let own = listed.iter().filter(|conflict| conflict.field == *field);
            let values =
                own.flat_map(|conflict| &conflict.values).filter_map(|v| v.content.as_ref());
            for content in values.chain(shown.fields.get(field)) {
                collect(&content.value, &mut told);
            }
            for word in words_of(state, field).difference(&told) {
                hidden.push(format!("{word} of {}.{field} is not in sight, nor listed", state.id));
            }
        }
    }
    hidden
}

/// Two states of a record, both without what was deleted if one may have emptied its trash already.
pub(crate) fn alike(
    a: Option<&Entity>,
    b: Option<&Entity>,
    rules: &Rules,
    is_emptied: bool,
) -> (Option<Entity>, Option<Entity>) {
    let is_gone = |state: &Entity| is_deleted(state, rules, &view(state, rules).type_name);
    let both_gone = is_emptied && a.is_some_and(is_gone) && b.is_some_and(is_gone);
    let emptied = |state: &Entity| {
        let mut state = state.clone();
        state.fields.retain(|field, _| !both_gone || field == DELETED);
        state
    };
    (a.map(emptied), b.map(emptied))
}
