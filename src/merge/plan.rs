//! The plan of a turn: from what was observed to what is to be done. Pure.

mod ancestor;
mod beside;
mod files;
mod held;
mod twins;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    anew::{all_anew, outlive, revive, revived},
    conflict::{conflicts, settled},
    join::join,
    resolve::{Ancestor, Beside, Resolved, resolve, resolve_joined, split_contents},
    sides::{Flags, Sides},
    snapshot::{LocalEdit, Pen, Snapshot},
    view::view,
};
use crate::{
    model::{
        Agreed, Change, Changes, Conflict, Content, Entity, EntityId, Record, Update,
        VersionVector, View,
        entity::{BLOB, DELETED, LAYOUT},
        limits::{BRAKE_FILES_MIN, STAMP_AHEAD_MS_MAX},
    },
    mutant::{self, Mutant},
};

pub use files::FileAction;

/// What is to be done, in order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What changes in the replica, by id.
    pub updates: Vec<Update>,
    /// What changes in the vault.
    pub files: Vec<FileAction>,
    /// What the remote lacks.
    pub send: Vec<EntityId>,
    /// The edits that the replica will hold.
    pub knows: VersionVector,
    /// The maker of edits, after those of this turn.
    pub pen: Option<Pen>,
    /// Records that this turn left in the wrong place of the vault, for the next to mend.
    pub revisit: Vec<EntityId>,
    /// Stamps too far ahead to be believed: on which records.
    pub ahead: Vec<EntityId>,
    /// How many records came, went, or were brought together.
    pub counts: Counts,
    /// Set when the plan would take more than half of the vault's files away.
    pub brake: Option<IncomingBrake>,
}

/// A plan that would remove more of the vault than it should without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncomingBrake {
    /// How many files would go.
    pub removed: usize,
    /// Of how many.
    pub known: usize,
}

/// How many records a turn touched, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that changed here because of the remote.
    pub pulled: usize,
    /// Records with edits of both sides.
    pub merged: usize,
    /// Conflicts that came up.
    pub conflicts: usize,
    /// Records that were deleted, here or there.
    pub deleted: usize,
    /// Files that moved, here or there.
    pub renamed: usize,
}

/// Plans a turn.
#[must_use]
pub fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let mut planner = Planner::new(snapshot);
    for id in planner.touched() {
        planner.plan_record(id);
    }
    planner.finish()
}

struct Planner<'a> {
    snapshot: &'a Snapshot<'a>,
    news: BTreeMap<&'a EntityId, Cow<'a, Entity>>,
    pen: Pen,
    plan: Plan,
    /// New records that are what their file says and nothing more: that is not to be kept a second
    /// time, nor spelled to be compared.
    as_found: BTreeSet<&'a EntityId>,
    /// Records that go because another is the same.
    twins: BTreeSet<EntityId>,
    /// What lost against another content of its file: of which record, and what.
    beside: Vec<(Entity, Beside)>,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot<'a>) -> Self {
        let mut news: BTreeMap<&EntityId, Cow<'_, Entity>> = BTreeMap::new();
        let mut pen = snapshot.pen.clone();
        let mut plan = Plan::default();
        for entity in &snapshot.remote.entities {
            let latest = entity.clock.values().map(|last| last.at).max().unwrap_or_default();
            pen.see(latest, snapshot.now);
            if latest.millis() > snapshot.now.millis() + STAMP_AHEAD_MS_MAX {
                plan.ahead.push(entity.id.clone());
            }
            news.entry(&entity.id)
                .and_modify(|known| *known = Cow::Owned(join(known, entity)))
                .or_insert(Cow::Borrowed(entity));
        }
        let (as_found, twins) = (BTreeSet::new(), BTreeSet::new());
        Self { snapshot, news, pen, plan, as_found, twins, beside: Vec::new() }
    }

    fn touched(&self) -> BTreeSet<&'a EntityId> {
        let snapshot = self.snapshot;
        let ids = snapshot.records.keys().chain(snapshot.local.keys());
        ids.chain(self.news.keys().copied()).collect()
    }

    fn plan_record(&mut self, id: &'a EntityId) {
        let snapshot = self.snapshot;
        let record = snapshot.records.get(id);
        let local = snapshot.local.get(id);
        let mut sides = Sides::new(id, record);
        // A turn may have ended after its commit: what was sent before its type was kept here is what
        // the remote is to have of it.
        if record.is_some_and(|record| !record.kept && self.remote_has(&record.state)) {
            sides.agreed = Agreed::Current;
        }
        if let Some(edit) = local {
            self.apply_local(&mut sides, edit);
        }
        if let Some(news) = self.news.remove(id) {
            self.apply_news(&mut sides, record, news);
        }
        self.release_kept(record, &mut sides);
        if sides.as_found {
            self.as_found.insert(id);
        }
        self.note(record, sides);
    }

    /// The edit is made on what its maker saw, and then meets what the replica has learned since.
    fn apply_local(&mut self, sides: &mut Sides, edit: &'a LocalEdit) {
        let seen = match edit {
            LocalEdit::Changed { seen: false, .. } | LocalEdit::Found(..) => None,
            LocalEdit::Changed { .. } | LocalEdit::Vanished => {
                sides.shown.clone().or_else(|| sides.state.clone())
            }
            LocalEdit::Made(_) | LocalEdit::Deleted => sides.state.clone(),
        };
        let mut edited = seen.clone().unwrap_or_else(|| Entity::new(sides.id.clone()));
        let mut changes = self.changes_of(sides, edit, &edited);
        revive(&mut changes, &edited, sides.state.as_ref(), self.snapshot.rules);
        let is_file = matches!(edit, LocalEdit::Changed { .. });
        if changes.is_empty() {
            if matches!(edit, LocalEdit::Changed { seen: false, .. }) {
                sides.shown = Some(edited);
            }
            return;
        }
        let (dot, now) = self.pen.next(self.snapshot.now);
        // What was found is an edit of when it was made: where the newer wins, it is no newer than that.
        let at = if let LocalEdit::Found(_, made_at) = edit { now.min(*made_at) } else { now };
        sides.unsettle();
        let Some(state) = sides.state.take() else {
            edited.edit(&dot, at, changes);
            edited.date(&dot, edit.set_at());
            sides.as_found = is_file && seen.is_none();
            if is_file && !sides.as_found {
                sides.shown = Some(edited.clone());
            }
            sides.state = Some(edited);
            return;
        };
        edited.edit(&dot, at, changes.clone());
        edited.date(&dot, edit.set_at());
        let mut joined = state.clone();
        joined.edit_seeing(seen.as_ref(), &dot, at, changes);
        joined.date(&dot, edit.set_at());
        let rules = self.snapshot.rules;
        let base = Ancestor { state: seen.as_ref(), is_latest: true };
        let resolved = resolve_joined(base, &edited, &state, joined, rules);
        sides.state = Some(self.finish_merge(&edited, resolved));
        if is_file {
            sides.shown = Some(edited);
        }
    }

    fn changes_of(&self, sides: &mut Sides, edit: &LocalEdit, seen: &Entity) -> Changes {
        match edit {
            LocalEdit::Changed { changes, file, .. } => {
                // A file that was put back as it was.
                let is_back = sides.file.is_none() && view(seen, self.snapshot.rules).is_deleted;
                sides.file = Some(file.clone());
                let mut changes = changes.clone();
                if (!changes.is_empty() || is_back) && seen.fields.contains_key(DELETED) {
                    changes.insert(DELETED.to_owned(), Change::Remove);
                }
                changes
            }
            LocalEdit::Vanished => {
                sides.file = None;
                sides.shown = None;
                self.deletion_of(sides, seen)
            }
            LocalEdit::Made(changes) | LocalEdit::Found(changes, _) => changes.clone(),
            LocalEdit::Deleted => self.deletion_of(sides, seen),
        }
    }

    /// A deletion of what is not deleted yet; it remembers what the deleter had seen.
    fn deletion_of(&self, sides: &Sides, seen: &Entity) -> Changes {
        let is_gone = |state: &Entity| view(state, self.snapshot.rules).is_deleted;
        if sides.state.as_ref().is_none_or(is_gone) {
            return Changes::new();
        }
        let clock = serde_json::to_value(seen.seen()).unwrap_or_default();
        Changes::from([(DELETED.to_owned(), Change::set(Content::new(clock)))])
    }

    fn apply_news(&mut self, sides: &mut Sides, record: Option<&Record>, news: Cow<'_, Entity>) {
        sides.pulled = true;
        sides.keep_shown();
        let agreed = sides.agreed_state();
        if agreed.is_none() && sides.state.is_none() {
            sides.state = Some(news.into_owned());
            sides.agreed = Agreed::Current;
            return;
        }
        // The news may come from a device that had not seen what is agreed. The remote holds both,
        // and only of their join is the agreed state an ancestor.
        let (rules, now) = (self.snapshot.rules, self.snapshot.now);
        let state = sides.state.as_ref();
        let revived = state.and_then(|state| revived(state, &news, rules, &mut self.pen, now));
        let remote = match &agreed {
            Some(agreed) => Cow::Owned(join(agreed, &news)),
            None => Cow::Borrowed(&*news),
        };
        let state = match sides.state.take() {
            Some(mut state) => {
                if let Some(revived) = revived {
                    state = revived;
                }
                // What is committed already outlives a deletion, too, whose maker had not seen it.
                let own = &self.pen.device;
                let is_unmet = news.seen().get(own) < state.seen().get(own);
                let deleted = if is_unmet { &news } else { &remote };
                outlive(&mut state, deleted, rules, &mut self.pen, now);
                let unmet = self.unmet_ancestor(agreed.as_ref(), &state, &news);
                let joined = if let Some(base) = unmet {
                    self.bring_together(Some(&base), &state, &news)
                } else {
                    let base = self.ancestor(record, agreed.as_ref(), &state, &remote);
                    self.bring_together(base.as_deref(), &state, &remote)
                };
                sides.merged = joined.seen() != state.seen() && joined.seen() != remote.seen();
                joined
            }
            None => remote.clone().into_owned(),
        };
        sides.state = Some(if state.siblings(BLOB).len() > 1 {
            let split = split_contents(state.clone(), self.snapshot.rules);
            self.finish_merge(&state, split)
        } else {
            state
        });
        sides.agreed = Agreed::Earlier(Box::new(remote.into_owned()));
    }

    /// Joins two sides and makes the edit that finishes the merge, if one is needed.
    fn bring_together(&mut self, base: Option<&Entity>, a: &Entity, b: &Entity) -> Entity {
        self.finish_merge(a, resolve(base, a, b, self.snapshot.rules))
    }

    /// Makes the edit that finishes a merge, if one is needed, in the style of one side's file.
    fn finish_merge(&mut self, a: &Entity, resolved: Resolved) -> Entity {
        let mut joined = resolved.joined;
        let beside = resolved.beside.into_iter();
        self.beside.extend(beside.map(|beside| (joined.clone(), beside)));
        if resolved.changes.is_empty() {
            return joined;
        }
        let before = view(a, self.snapshot.rules);
        let path = view(&joined, self.snapshot.rules).path().unwrap_or_default().to_owned();
        let mut changes = resolved.changes;
        for (field, change) in &mut changes {
            if let Change::Set(content, _) = change
                && content.source.is_none()
                && field != LAYOUT
                && field != BLOB
            {
                let like = before.fields.get(field);
                *content = self.snapshot.vault.respell(&path, content.clone(), like);
            }
        }
        let (dot, at) = self.pen.next(self.snapshot.now);
        joined.edit(&dot, at, changes);
        joined
    }

    /// A record that was kept on this device and now may leave it gets a dot that no remote has.
    fn release_kept(&mut self, record: Option<&Record>, sides: &mut Sides) {
        let Some(state) = &mut sides.state else { return };
        if !record.is_some_and(|record| record.kept) {
            return;
        }
        let rules = self.snapshot.rules;
        if rules.syncs(&view(state, rules).type_name) {
            let changes = all_anew(state, rules);
            let (dot, at) = self.pen.next(self.snapshot.now);
            state.edit(&dot, at, changes);
        }
    }

    /// Writes down what became of one record.
    fn note(&mut self, record: Option<&Record>, sides: Sides) {
        let rules = self.snapshot.rules;
        let flags = sides.flags();
        let Some(state) = sides.state else { return };
        // Until its file is written, the file shows what the record was.
        let before = record.map(|record| &record.state).filter(|before| **before != state);
        let shown = sides.shown.or_else(|| before.filter(|_| sides.file.is_some()).cloned());
        let new_view = view(&state, rules);
        let is_covered = self.remote_has(&state);
        let syncs = rules.syncs(&new_view.type_name);
        let is_foreign = || !state.clock.contains_key(&self.pen.device);
        let is_there = is_covered || self.remote_keeps(&state, &sides.agreed);
        if !is_there && syncs && !(mutant::is(Mutant::SendsOwnOnly) && is_foreign()) {
            self.plan.send.push(state.id.clone());
        }
        let old = record.map(|record| &record.state);
        let old_view = old.map(|old| view(old, rules));
        let standing = conflicts(&state, rules);
        let before = old.map(|old| conflicts(old, rules)).unwrap_or_default();
        let is_new = |c: &&Conflict| !before.iter().any(|b| b.id == c.id);
        self.count(flags, old_view.as_ref(), &new_view);
        self.plan.counts.conflicts += standing.iter().filter(is_new).count();
        let is_known = syncs && is_covered;
        let agreed = match sides.agreed {
            _ if is_known => Agreed::Current,
            Agreed::Earlier(earlier) if *earlier == state => Agreed::Current,
            other => other,
        };
        let replaced = old.filter(|_| old_view.as_ref() != Some(&new_view)).cloned();
        self.plan.updates.push(Update {
            agreed,
            shown,
            replaced,
            settled: settled(&before, &standing),
            conflicts: standing,
            view: new_view,
            kept: !syncs,
            file: sides.file,
            state,
        });
    }

    fn count(&mut self, flags: Flags, old: Option<&View>, new: &View) {
        let counts = &mut self.plan.counts;
        counts.pulled += usize::from(flags.pulled && old != Some(new));
        counts.merged += usize::from(flags.merged);
        counts.deleted += usize::from(new.is_deleted && old.is_some_and(|old| !old.is_deleted));
        counts.renamed +=
            usize::from(old.is_some_and(|old| old.path() != new.path() && !new.is_deleted));
    }

    fn finish(mut self) -> Plan {
        self.set_beside();
        self.drop_twins();
        self.place_files();
        let mut plan = self.plan;
        plan.knows = self.snapshot.knows.clone();
        if self.snapshot.remote.complete || mutant::is(Mutant::KnowsUnread) {
            plan.knows.join(&self.snapshot.remote.knows);
        }
        plan.knows.raise(&self.pen.device, self.pen.counter);
        plan.pen = Some(self.pen);
        let goes = |file: &&FileAction| matches!(file, FileAction::Remove { id, .. } if !self.twins.contains(id));
        let removed = plan.files.iter().filter(goes).count();
        let known = self.snapshot.known_files;
        if known >= BRAKE_FILES_MIN && removed * 2 > known {
            plan.brake = Some(IncomingBrake { removed, known });
        }
        plan
    }
}
