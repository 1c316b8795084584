//! The plan of a turn: from what was observed to what is to be done. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    conflict::conflicts,
    join::join,
    place::{Wish, place},
    resolve::{Resolved, resolve, resolve_joined},
    snapshot::{LocalEdit, Pen, Snapshot},
    view::view,
};
use crate::{
    digest::sha256_hex,
    model::{
        Agreed, Change, Changes, Conflict, Content, Entity, EntityId, Record, Update, VaultPath,
        VersionVector, View,
        entity::{DELETED, LAYOUT},
        limits::STAMP_AHEAD_MS_MAX,
    },
};

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

/// One change to a file of the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAction {
    /// The file of `id` is to lie at `to` with this text; `from` is where it lies now.
    Write {
        /// Whose file.
        id: EntityId,
        /// Where it lies now; nothing if there is none.
        from: Option<VaultPath>,
        /// Where it is to lie.
        to: VaultPath,
        /// What it is to say.
        text: String,
    },
    /// The file is to go.
    Remove {
        /// Whose file.
        id: EntityId,
        /// Where it lies.
        path: VaultPath,
    },
}

impl FileAction {
    /// Whose file it is.
    #[must_use]
    pub fn owner(&self) -> &EntityId {
        match self {
            Self::Write { id, .. } | Self::Remove { id, .. } => id,
        }
    }
}

/// Plans a turn.
#[must_use]
pub fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let mut planner = Planner::new(snapshot);
    for id in planner.touched() {
        planner.plan_record(&id);
    }
    planner.finish()
}

struct Planner<'a> {
    snapshot: &'a Snapshot<'a>,
    news: BTreeMap<&'a EntityId, Entity>,
    pen: Pen,
    plan: Plan,
    /// The text that the file of a record has on the disk, where this turn read it.
    read: BTreeMap<EntityId, &'a str>,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot<'a>) -> Self {
        let mut news: BTreeMap<&EntityId, Entity> = BTreeMap::new();
        let mut pen = snapshot.pen.clone();
        let mut plan = Plan::default();
        for entity in &snapshot.remote.entities {
            let latest = entity.clock.values().map(|last| last.at).max().unwrap_or_default();
            pen.see(latest, snapshot.now);
            if latest.millis() > snapshot.now.millis() + STAMP_AHEAD_MS_MAX {
                plan.ahead.push(entity.id.clone());
            }
            news.entry(&entity.id)
                .and_modify(|known| *known = join(known, entity))
                .or_insert_with(|| entity.clone());
        }
        Self { snapshot, news, pen, plan, read: BTreeMap::new() }
    }

    fn touched(&self) -> BTreeSet<EntityId> {
        let snapshot = self.snapshot;
        let ids = snapshot.records.keys().chain(snapshot.local.keys());
        ids.chain(self.news.keys().copied()).cloned().collect()
    }

    fn plan_record(&mut self, id: &EntityId) {
        let snapshot = self.snapshot;
        let record = snapshot.records.get(id);
        let local = snapshot.local.get(id);
        let mut sides = Sides::new(id, record);
        if let Some(edit) = local {
            self.apply_local(&mut sides, edit);
        }
        if let Some(news) = self.news.remove(id) {
            self.apply_news(&mut sides, &news);
        }
        self.release_kept(record, &mut sides);
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
        let changes = self.changes_of(sides, edit, &edited);
        if changes.is_empty() {
            if matches!(edit, LocalEdit::Changed { seen: false, .. }) {
                sides.shown = Some(edited);
            }
            return;
        }
        let (dot, at) = self.pen.next(self.snapshot.now);
        edited.edit(&dot, at, changes.clone());
        edited.date(&dot, edit.set_at());
        if matches!(edit, LocalEdit::Changed { .. }) {
            sides.shown = Some(edited.clone());
        }
        sides.unsettle();
        sides.edited = true;
        sides.state = Some(match sides.state.take() {
            Some(state) => {
                let mut joined = state.clone();
                joined.edit_seeing(seen.as_ref(), &dot, at, changes);
                joined.date(&dot, edit.set_at());
                let rules = self.snapshot.rules;
                let resolved = resolve_joined(seen.as_ref(), &edited, &state, joined, rules);
                self.finish_merge(&edited, resolved)
            }
            None => edited,
        });
    }

    fn changes_of(&mut self, sides: &mut Sides, edit: &'a LocalEdit, seen: &Entity) -> Changes {
        match edit {
            LocalEdit::Changed { changes, file, text, .. } => {
                sides.file = Some(file.clone());
                self.read.insert(sides.id.clone(), text);
                let mut changes = changes.clone();
                if !changes.is_empty() && seen.fields.contains_key(DELETED) {
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

    fn apply_news(&mut self, sides: &mut Sides, news: &Entity) {
        sides.pulled = true;
        let agreed = sides.agreed_state();
        // The news may come from a device that had not seen what is agreed. The remote holds both,
        // and only of their join is the agreed state an ancestor.
        let remote = agreed.as_ref().map_or_else(|| news.clone(), |agreed| join(agreed, news));
        sides.state = Some(match sides.state.take() {
            Some(state) => {
                let joined = self.bring_together(agreed.as_ref(), &state, &remote);
                sides.merged = joined.seen() != state.seen() && joined.seen() != remote.seen();
                joined
            }
            None => remote.clone(),
        });
        sides.agreed = Agreed::Earlier(Box::new(remote));
    }

    /// Joins two sides and makes the edit that finishes the merge, if one is needed.
    fn bring_together(&mut self, base: Option<&Entity>, a: &Entity, b: &Entity) -> Entity {
        self.finish_merge(a, resolve(base, a, b, self.snapshot.rules))
    }

    /// Makes the edit that finishes a merge, if one is needed, in the style of one side's file.
    fn finish_merge(&mut self, a: &Entity, resolved: Resolved) -> Entity {
        let mut joined = resolved.joined;
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
        let rules = self.snapshot.rules;
        let shown = view(state, rules);
        if record.is_some_and(|record| record.kept) && rules.syncs(&shown.type_name) {
            let changes =
                shown.fields.into_iter().map(|(field, content)| (field, Change::set(content)));
            let mut changes: Changes = changes.collect();
            if shown.is_deleted {
                // Else the new dots would be an edit that the deletion had not seen.
                let seen = serde_json::to_value(state.seen()).unwrap_or_default();
                changes.insert(DELETED.to_owned(), Change::set(Content::new(seen)));
            }
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
        let is_covered = self.snapshot.remote.knows.includes(&state.seen());
        let syncs = rules.syncs(&new_view.type_name);
        if !is_covered && syncs {
            self.plan.send.push(state.id.clone());
        }
        let old = record.map(|record| &record.state);
        let old_view = old.map(|old| view(old, rules));
        let standing = conflicts(&state, rules);
        let before = old.map(|old| conflicts(old, rules)).unwrap_or_default();
        let is_new = |c: &&Conflict| !before.iter().any(|b| b.id == c.id);
        let is_gone = |c: &&Conflict| !standing.iter().any(|s| s.id == c.id);
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
            settled: before.iter().filter(is_gone).map(|c| c.id.clone()).collect(),
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
        self.place_files();
        let mut plan = self.plan;
        plan.knows = self.snapshot.knows.clone();
        if self.snapshot.remote.complete {
            plan.knows.join(&self.snapshot.remote.knows);
        }
        plan.knows.raise(&self.pen.device, self.pen.counter);
        plan.pen = Some(self.pen);
        let removed = plan.files.iter().filter(|f| matches!(f, FileAction::Remove { .. })).count();
        let known = self.snapshot.known_files;
        if known >= 10 && removed * 2 > known {
            plan.brake = Some(IncomingBrake { removed, known });
        }
        plan
    }

    /// Whether the file of a record says this already.
    fn on_disk(&self, id: &EntityId, text: &str) -> bool {
        if let Some(read) = self.read.get(id) {
            return *read == text;
        }
        let record = self.snapshot.records.get(id);
        let known = record.and_then(|record| record.file_sha256.as_deref());
        known == Some(sha256_hex(text.as_bytes()).as_str())
    }

    /// Decides where each file is to lie and which files have to be written for it.
    fn place_files(&mut self) {
        let wishes: Vec<Wish> = self.plan.updates.iter().map(wish_of).collect();
        let mut places = place(&wishes, self.snapshot.vault);
        let mut files = Vec::new();
        let mut updates = std::mem::take(&mut self.plan.updates);
        for update in &mut updates {
            let to = places.remove(&update.state.id);
            let text = to.as_ref().map(|to| self.snapshot.vault.spell(to, &update.view));
            let is_right = text.as_deref().is_some_and(|text| self.on_disk(&update.state.id, text));
            match (to, text) {
                (Some(to), Some(_)) if update.file.as_ref() == Some(&to) && is_right => {
                    update.shown = None;
                }
                (Some(to), Some(text)) => files.push(FileAction::Write {
                    id: update.state.id.clone(),
                    from: update.file.clone(),
                    to,
                    text,
                }),
                _ => {
                    if let Some(path) = update.file.clone() {
                        files.push(FileAction::Remove { id: update.state.id.clone(), path });
                    }
                }
            }
        }
        self.plan.updates = updates;
        self.plan.files = files;
        self.plan.revisit = places.into_keys().collect();
    }
}

fn wish_of(update: &Update) -> Wish {
    let path = update.view.path().filter(|_| !update.view.is_deleted);
    Wish {
        id: update.state.id.clone(),
        current: update.file.clone(),
        // A path that cannot be on this device's disk is kept in the record and not written; a
        // file that is there already stays where it is.
        path: path.and_then(|path| VaultPath::new(path).ok().or_else(|| update.file.clone())),
    }
}

/// A record on its way through the plan.
struct Sides {
    id: EntityId,
    state: Option<Entity>,
    agreed: Agreed,
    file: Option<VaultPath>,
    shown: Option<Entity>,
    edited: bool,
    pulled: bool,
    merged: bool,
}

#[derive(Clone, Copy)]
struct Flags {
    pulled: bool,
    merged: bool,
}

impl Sides {
    fn new(id: &EntityId, record: Option<&Record>) -> Self {
        Self {
            id: id.clone(),
            state: record.map(|record| record.state.clone()),
            agreed: record.map_or(Agreed::Never, |record| record.agreed.clone()),
            file: record.and_then(|record| record.file.clone()),
            shown: record.and_then(|record| record.shown.clone()),
            edited: false,
            pulled: false,
            merged: false,
        }
    }

    /// From here on the state is ahead of what the remote is known to hold.
    fn unsettle(&mut self) {
        if let (Agreed::Current, Some(state)) = (&self.agreed, &self.state) {
            self.agreed = Agreed::Earlier(Box::new(state.clone()));
        }
    }

    fn flags(&self) -> Flags {
        Flags { pulled: self.pulled, merged: self.merged }
    }

    fn agreed_state(&self) -> Option<Entity> {
        match &self.agreed {
            Agreed::Never => None,
            Agreed::Current => self.state.clone(),
            Agreed::Earlier(earlier) => Some((**earlier).clone()),
        }
    }
}
