//! What a commit carries: news alone, or news folded with what lies on the remote already.

use std::{collections::BTreeSet, ops::Range};

use super::{Engine, Result};
use crate::{
    model::{EntityId, VersionVector},
    remote::{
        DELTA_ENTITIES_MAX, DataFile, Manifest,
        tiers::{self, Effort, Pace},
    },
    store::Span,
};

/// How much of what lies on the remote is to be written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folding {
    /// Nothing: this replica has not read everything.
    None,
    /// In passing, what has piled up.
    InPassing,
    /// Whatever is due.
    Due,
    /// Everything.
    All,
}

/// Records that travel together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) ids: Vec<EntityId>,
    pub(super) form: Form,
}

/// In what form a batch lies on the remote.
#[derive(Debug)]
pub(super) enum Form {
    /// Each in a file of its own.
    Entity,
    /// As one delta.
    Delta,
    /// As packs that wait to be folded.
    Loose,
    /// As a run that, with all before it, holds everything up to these edits.
    Run(VersionVector),
}

/// What a commit carries.
#[derive(Debug, Default)]
pub(super) struct Cargo {
    /// What is new, or takes the place of deltas, loose packs, or, if all is written anew, of
    /// everything.
    pub(super) news: Option<Batch>,
    /// Whether `news` takes the place of the deltas and the loose packs.
    pub(super) folds: bool,
    /// Neighbouring runs that leave.
    pub(super) runs: Range<usize>,
    /// What takes their place, if that is not in `news`.
    pub(super) merged: Option<Batch>,
}

impl Cargo {
    /// How many records it holds.
    pub(super) fn records(&self) -> usize {
        self.news.iter().chain(&self.merged).map(|batch| batch.ids.len()).sum()
    }

    /// Which of the files of `manifest` it takes the place of.
    pub(super) fn replaces<'a>(&self, manifest: &'a Manifest) -> Vec<&'a DataFile> {
        let mut old = Vec::new();
        if self.folds {
            old.extend(manifest.deltas.iter().chain(tiers::loose(manifest)));
        }
        let runs = tiers::runs(manifest).into_iter().take(self.runs.end).skip(self.runs.start);
        old.extend(runs.filter_map(|run| manifest.packs.get(run.packs)).flatten());
        old
    }
}

impl Engine {
    /// What is to be carried when `send` is what the remote lacks. After the commit the remote knows
    /// everything up to `knows`.
    pub(super) fn cargo(
        &self,
        manifest: &Manifest,
        send: &[EntityId],
        knows: &VersionVector,
        folding: Folding,
    ) -> Result<Cargo> {
        let runs = tiers::runs(manifest);
        if folding == Folding::All {
            let span = Span { after: VersionVector::default(), up_to: None };
            let ids = self.store.changed_in(&span)?;
            let news = Some(Batch { ids, form: Form::Run(knows.clone()) });
            return Ok(Cargo { news, folds: true, runs: 0..runs.len(), merged: None });
        }
        let folds = match folding {
            Folding::None => false,
            Folding::InPassing => has_piled_up(manifest, send, self.pace),
            _ => true,
        };
        let news = if folds {
            let span = Span { after: tiers::folded_up_to(manifest), up_to: None };
            let ids = self.store.changed_in(&span)?;
            Some(Batch { ids, form: Form::Run(knows.clone()) })
        } else {
            as_it_is(send)
        };
        // A merge leaves out what has later edits. That lies in later runs, or goes into this one:
        // so none without a fold.
        let effort = match folding {
            Folding::InPassing if folds => Some(Effort::Bounded),
            Folding::Due => Some(Effort::Full),
            _ => None,
        };
        let due = effort.and_then(|effort| tiers::due(&runs, self.pace, effort));
        let merged = due.as_ref().map(|range| self.merged(&runs, range)).transpose()?;
        Ok(Cargo { news, folds, runs: due.unwrap_or_default(), merged })
    }

    /// What takes the place of neighbouring runs: the records whose latest edits lie in them. Those
    /// edited since lie in later files as well.
    fn merged(&self, runs: &[tiers::Run], range: &Range<usize>) -> Result<Batch> {
        let up_to_of = |index: Option<usize>| {
            let run = index.and_then(|index| runs.get(index));
            run.map(|run| run.up_to.clone()).unwrap_or_default()
        };
        let up_to = up_to_of(range.end.checked_sub(1));
        let span = Span { after: up_to_of(range.start.checked_sub(1)), up_to: Some(up_to.clone()) };
        Ok(Batch { ids: self.store.changed_in(&span)?, form: Form::Run(up_to) })
    }
}

/// Whether so much lies in small files that it is time to fold it.
fn has_piled_up(manifest: &Manifest, send: &[EntityId], pace: Pace) -> bool {
    let hot: BTreeSet<&EntityId> = manifest.entity_versions.keys().chain(send).collect();
    let is_much = manifest.deltas.len() >= pace.deltas || hot.len() as u64 > pace.entities;
    !send.is_empty() && (is_much || !tiers::loose(manifest).is_empty())
}

fn as_it_is(send: &[EntityId]) -> Option<Batch> {
    let form = match send.len() {
        0 => return None,
        1 => Form::Entity,
        2..=DELTA_ENTITIES_MAX => Form::Delta,
        _ => Form::Loose,
    };
    Some(Batch { ids: send.to_vec(), form })
}
