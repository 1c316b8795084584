//! Runs of packs: which to fold into one, so that a sync costs what changed and not what exists.
//!
//! Packs lie in the manifest in the order of the edits they hold, oldest first. A *run* is what one
//! fold wrote: packs up to and with the first that says `upTo`. A run and all before it hold, of
//! every entity, all edits up to there; so the entities of a run are those whose latest edits lie
//! between two such marks, and whoever knows all of them can write any neighbouring runs anew as one
//! without reading them. Runs of like size are merged eight at a time (tiered compaction, as in
//! log-structured merge trees: O'Neil et al. 1996), which writes each entity O(log n) times.

use std::ops::Range;

use super::{DataFile, Manifest};
use crate::model::VersionVector;

/// When to fold what, and how much of it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From so many deltas on they are folded.
    pub deltas: usize,
    /// From so many entities in deltas on they are folded; a run of so many belongs to the lowest
    /// tier.
    pub entities: u64,
    /// From so many runs of one tier on they are merged; the next tier begins at so many times the
    /// size. At least 2.
    pub factor: u64,
    /// The most entities that a merge in passing takes up.
    pub bound: u64,
    /// From so many runs on a merge has to be, however large.
    pub runs: usize,
    /// For so many hours a file that nobody names is left to its writer, who may yet send what is in
    /// it under its own edits: taken over, it would be the same edits twice.
    pub orphan_hours: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { deltas: 16, entities: 256, factor: 8, bound: 32_768, runs: 48, orphan_hours: 24 }
    }
}

/// What one fold wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its packs in the manifest.
    pub packs: Range<usize>,
    /// How many entities it holds.
    pub entities: u64,
    /// The run and all before it hold everything up to these edits.
    pub up_to: VersionVector,
}

/// How much work a merge may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// What a turn can do in passing.
    Bounded,
    /// Whatever is due.
    Full,
}

/// The runs of a manifest, oldest first. Packs that no mark closes are in none of them.
pub fn runs(manifest: &Manifest) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, pack) in manifest.packs.iter().enumerate() {
        let Some(up_to) = &pack.up_to else { continue };
        let start = runs.last().map_or(0, |run| run.packs.end);
        let packs = start..index + 1;
        let rows = manifest.packs.get(packs.clone()).unwrap_or_default();
        let entities = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.entities));
        runs.push(Run { packs, entities, up_to: up_to.clone() });
    }
    runs
}

/// The packs that no mark closes: they are folded with the deltas.
pub fn loose(manifest: &Manifest) -> &[DataFile] {
    let closed = manifest.packs.iter().rposition(|pack| pack.up_to.is_some());
    manifest.packs.get(closed.map_or(0, |last| last + 1)..).unwrap_or_default()
}

/// Everything up to these edits lies in runs.
pub fn folded_up_to(manifest: &Manifest) -> VersionVector {
    let last = manifest.packs.iter().rev().find_map(|pack| pack.up_to.clone());
    last.unwrap_or_default()
}

/// Which neighbouring runs are to be merged, if any: the largest of the merges that are due.
///
/// Newer and smaller runs behind them are left alone, so that a device that is a little behind has
/// little to read.
pub fn due(runs: &[Run], pace: Pace, effort: Effort) -> Option<Range<usize>> {
    let is_overdue = runs.len() >= pace.runs;
    let tier = |run: &Run| (run.entities / pace.entities).checked_ilog(pace.factor).unwrap_or(0);
    let highest = runs.iter().map(tier).max()?;
    for wanted in (0..=highest).rev() {
        let start = runs.iter().rposition(|run| tier(run) > wanted).map_or(0, |last| last + 1);
        let Some(last) = runs.iter().rposition(|run| tier(run) == wanted) else { continue };
        let Some(some) = runs.get(start..=last) else { continue };
        let alike = some.iter().filter(|run| tier(run) == wanted).count() as u64;
        let entities = some.iter().fold(0_u64, |sum, run| sum.saturating_add(run.entities));
        let is_small = effort == Effort::Full || is_overdue || entities <= pace.bound;
        if alike >= pace.factor && is_small {
            return Some(start..last + 1);
        }
    }
    // Many small runs, each behind a larger one, are never eight in a row.
    is_overdue.then_some(0..runs.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DeviceId;

    fn runs_of(sizes: &[u64]) -> Vec<Run> {
        let device = DeviceId::new("k3v9x2").unwrap();
        let run = |(index, entities): (usize, &u64)| {
            let mut up_to = VersionVector::default();
            up_to.raise(&device, index as u64 + 1);
            Run { packs: index..index + 1, entities: *entities, up_to }
        };
        sizes.iter().enumerate().map(run).collect()
    }

    #[test]
    fn eight_alike_are_merged_and_newer_ones_left_alone() {
        let due_of = |sizes: &[u64]| due(&runs_of(sizes), Pace::default(), Effort::Bounded);
        assert_eq!(due_of(&[256; 7]), None);
        assert_eq!(due_of(&[256; 8]), Some(0..8));
        let mut sizes = vec![50_000];
        sizes.extend([2_100; 8]);
        sizes.extend([300, 20]);
        assert_eq!(due_of(&sizes), Some(1..9));
    }

    #[test]
    fn a_turn_leaves_a_large_merge_to_compaction() {
        let mut sizes = vec![16_384; 8];
        sizes.extend([256; 8]);
        assert_eq!(due(&runs_of(&sizes), Pace::default(), Effort::Bounded), Some(8..16));
        assert_eq!(due(&runs_of(&sizes), Pace::default(), Effort::Full), Some(0..8));
    }

    #[test]
    fn growth_keeps_few_runs_and_writes_each_entity_a_few_times() {
        let (mut runs, mut written, mut total) = (Vec::<u64>::new(), 0, 0);
        for fold in 0..4_000_u64 {
            let size = 17 + fold % 300;
            runs.push(size);
            total += size;
            written += size;
            if let Some(range) = due(&runs_of(&runs), Pace::default(), Effort::Full) {
                let sum: u64 = runs.get(range.clone()).unwrap().iter().sum();
                runs.splice(range, [sum]);
                written += sum;
            }
            assert!(runs.len() <= Pace::default().runs, "{runs:?}");
        }
        let amplification = written as f64 / total as f64;
        assert!(amplification < 6.0, "{amplification}");
    }

    #[test]
    fn overdue_merges_happen_in_passing() {
        let sizes: Vec<u64> = (0..Pace::default().runs as u64).map(|n| 20_000 + n).collect();
        assert!(due(&runs_of(&sizes), Pace::default(), Effort::Bounded).is_some());
        assert_eq!(due(&runs_of(&[1]), Pace::default(), Effort::Full), None);
        assert_eq!(due(&[], Pace::default(), Effort::Full), None);
    }
}
