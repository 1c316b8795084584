//! What a turn tells: while it runs, and when it is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::Cost;
use crate::{
    merge::{FileAction, Plan},
    model::{EntityId, Update, VaultPath},
};

/// How many lines of what it did a turn keeps.
const LINES_MAX: usize = 10_000;

/// What became of a turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The remote's generation after the turn.
    pub generation: u64,
    /// Records that changed here because of the remote.
    pub pulled: usize,
    /// Records sent.
    pub pushed: usize,
    /// Records with edits of both sides.
    pub merged: usize,
    /// Conflicts that came up.
    pub conflicts: usize,
    /// Records that were deleted, here or there.
    pub deleted: usize,
    /// Files that moved, here or there.
    pub renamed: usize,
    /// Files that were behind before the turn, and are no more.
    pub caught_up: usize,
    /// Files that larder leaves alone.
    pub skipped: usize,
    /// How often somebody else was first.
    pub raced: u32,
    /// What the turn cost.
    pub cost: Cost,
    /// Things a person should know.
    pub notes: Vec<Note>,
    /// What is to be done, or was: one line each, in order. Of a turn that does it, not more than a
    /// person reads.
    pub plan: Vec<String>,
    /// Which of these lines say what is done to the file of which record.
    acts: Vec<(usize, EntityId)>,
    /// What was noted, so that a turn that starts over does not say it again.
    noted: BTreeSet<Note>,
}

/// Something a person should know about one file or record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// What kind of thing it is.
    pub kind: NoteKind,
    /// The file, record or remote file in question.
    pub subject: String,
    /// What there is to say.
    pub text: String,
}

/// What kind of thing a person should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NoteKind {
    /// A file that larder leaves alone.
    Skipped,
    /// A file kept as plain text because its structure does not parse.
    Unparsed,
    /// A file that changed while larder worked; its turn comes next time.
    Waiting,
    /// A record that cannot lie where it wants to.
    BadPath,
    /// A stamp too far in the future to be believed.
    ClockAhead,
    /// A file of the remote that is missing or damaged.
    Damaged,
    /// A record whose versions are together more than one may have.
    TooLarge,
    /// The remote lost what it had, and got it back.
    Healed,
    /// This replica got a new device id.
    NewIdentity,
    /// The rules could not be read.
    Rules,
}

impl Report {
    /// Whether anything was changed, here or there.
    pub fn did_anything(&self) -> bool {
        let changed = [self.pulled, self.pushed, self.merged, self.renamed, self.deleted];
        let counts = changed.iter().chain([&self.caught_up]);
        counts.copied().any(|count| count > 0)
    }

    pub(super) fn note(&mut self, kind: NoteKind, subject: impl ToString, text: impl ToString) {
        let note = Note { kind, subject: subject.to_string(), text: text.to_string() };
        if self.noted.insert(note.clone()) {
            self.notes.push(note);
        }
    }

    /// Adds up what another turn of the same device did.
    pub fn add(&mut self, other: Self) {
        self.generation = other.generation;
        self.pulled += other.pulled;
        self.pushed += other.pushed;
        self.merged += other.merged;
        self.conflicts += other.conflicts;
        self.deleted += other.deleted;
        self.renamed += other.renamed;
        self.caught_up += other.caught_up;
        self.skipped = self.skipped.max(other.skipped);
        self.raced += other.raced;
        self.cost.add(other.cost);
        self.plan.extend(other.plan.iter().cloned());
        self.take_notes(other);
    }

    /// Says of which files what was to be done to them was not done, and how many that waited before
    /// wait no more.
    pub(super) fn note_waiting(
        &mut self,
        before: &BTreeMap<EntityId, VaultPath>,
        now: &BTreeMap<EntityId, VaultPath>,
    ) {
        self.caught_up = before.keys().filter(|id| !now.contains_key(*id)).count();
        for (at, owner) in std::mem::take(&mut self.acts) {
            if let Some(line) = self.plan.get_mut(at).filter(|_| now.contains_key(&owner)) {
                line.push_str(" (waits)");
            }
        }
    }

    /// Adds the notes of another report.
    pub(super) fn take_notes(&mut self, other: Self) {
        for note in other.notes {
            self.note(note.kind, note.subject, note.text);
        }
    }

    /// Adds up what a plan does. A turn that starts over plans again what is still to be done.
    pub(super) fn note_plan(&mut self, plan: &Plan, in_full: bool) {
        self.pulled += plan.counts.pulled;
        self.merged += plan.counts.merged;
        self.conflicts += plan.counts.conflicts;
        self.deleted += plan.counts.deleted;
        self.renamed += plan.counts.renamed;
        let room = if in_full { usize::MAX } else { LINES_MAX.saturating_sub(self.plan.len()) };
        let mut lines = lines(plan);
        if lines.len() > room {
            lines.truncate(room);
            lines.extend((room > 0).then(|| "and more, too many to list".to_owned()));
        }
        let acts = plan.files.iter().map(|action| action.owner().clone()).enumerate();
        let before = self.plan.len();
        self.acts.extend(acts.take(room).map(|(at, owner)| (before + at, owner)));
        self.plan.extend(lines);
        for id in &plan.ahead {
            self.note(
                NoteKind::ClockAhead,
                id,
                "was edited on a device whose clock is over a day ahead",
            );
        }
        for update in plan.updates.iter().filter(|update| !update.view.is_deleted) {
            let Some(path) = update.view.path() else { continue };
            if let Err(why) = VaultPath::new(path) {
                self.note(NoteKind::BadPath, path, format!("is not written to disk: {why}"));
            }
        }
    }
}

/// The plan as a person reads it.
fn lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for action in &plan.files {
        lines.push(match action {
            FileAction::Write { from, to, .. } | FileAction::Place { from, to, .. } => match from {
                None => format!("create {to}"),
                Some(from) if from == to => format!("update {to}"),
                Some(from) => format!("move {from} -> {to}"),
            },
            FileAction::Remove { path, .. } => format!("remove {path}"),
        });
    }
    let updates: BTreeMap<&EntityId, &Update> =
        plan.updates.iter().map(|update| (&update.state.id, update)).collect();
    for id in &plan.send {
        let update = updates.get(id);
        let name = update.and_then(|update| update.view.path()).unwrap_or(id.as_str());
        let verb = if update.is_some_and(|update| update.view.is_deleted) {
            "send deletion of"
        } else {
            "send"
        };
        lines.push(format!("{verb} {name}"));
    }
    for update in &plan.updates {
        let name = update.view.path().unwrap_or(update.state.id.as_str());
        for conflict in &update.conflicts {
            lines.push(format!("conflict in {name}: {} ({})", conflict.field, conflict.rule));
        }
    }
    lines
}

/// Where a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The vault is being scanned.
    Scan,
    /// Files come from the remote.
    Fetch,
    /// Files of the vault are being written.
    Write,
    /// Files go to the remote.
    Send,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scan => "scanning",
            Self::Fetch => "fetching",
            Self::Write => "writing",
            Self::Send => "sending",
        })
    }
}

/// Is told how far a turn has come.
pub trait Progress: Send + Sync {
    /// `done` of `of` steps of `stage` are done.
    fn step(&self, stage: Stage, done: u64, of: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: Stage, _: u64, _: u64) {}
}
