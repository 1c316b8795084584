//! The difference of two sequences of numbers, by a bounded amount of work.
//!
//! Own code instead of a crate because the result decides what every device makes of the same
//! texts: it must not change with an update of a dependency, and its bound must be counted in
//! steps, not in time. Anchors are found by patience diff (Bram Cohen, 2003: the longest rising
//! run of elements that occur once on both sides); what lies between them by Myers' greedy
//! algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986). Where the budget ends the
//! rest counts as replaced as a whole, which is coarser but never wrong.

use std::{collections::HashMap, ops::Range};

/// One changed stretch: these elements of the old sequence became those of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// Finds what changed between two sequences, in order; no two hunks touch.
pub(super) fn diff(old: &[u32], new: &[u32]) -> Vec<Hunk> {
    let mut search = Search { old, new, pairs: Vec::new(), budget: budget(old.len() + new.len()) };
    search.run();
    search.pairs.sort_unstable();
    let mut hunks = hunks_between(&search.pairs, old.len(), new.len());
    slide(old, new, &mut hunks);
    hunks
}

const STEPS_PER_ELEMENT: usize = 24;
const STEPS_AT_LEAST: usize = 65_536;
/// Shorter stretches are searched whole.
const ANCHORS_FROM: usize = 24;
/// Also bounds the memory of the search, which keeps a number per step.
const STEPS_IN_ONE_STRETCH: usize = 2_000_000;

fn budget(elements: usize) -> usize {
    elements.saturating_mul(STEPS_PER_ELEMENT).saturating_add(STEPS_AT_LEAST)
}

struct Search<'a> {
    old: &'a [u32],
    new: &'a [u32],
    /// Positions of equal elements, rising on both sides once sorted.
    pairs: Vec<(usize, usize)>,
    /// Steps left.
    budget: usize,
}

impl Search<'_> {
    fn run(&mut self) {
        // An own stack: the depth of the recursion depends on the texts.
        let mut open = vec![(0..self.old.len(), 0..self.new.len())];
        while let Some((old, new)) = open.pop() {
            let (old, new) = self.strip(old, new);
            if old.is_empty() || new.is_empty() {
                continue;
            }
            let anchors = self.anchors(&old, &new);
            if anchors.is_empty() {
                self.myers(&old, &new);
                continue;
            }
            let (mut from_old, mut from_new) = (old.start, new.start);
            for &(at_old, at_new) in &anchors {
                open.push((from_old..at_old, from_new..at_new));
                (from_old, from_new) = (at_old + 1, at_new + 1);
            }
            open.push((from_old..old.end, from_new..new.end));
            self.pairs.extend(anchors);
        }
    }

    fn equal(&self, at_old: usize, at_new: usize) -> bool {
        self.old.get(at_old) == self.new.get(at_new)
    }

    /// Pairs what both stretches begin and end with, and returns what is left.
    fn strip(
        &mut self,
        mut old: Range<usize>,
        mut new: Range<usize>,
    ) -> (Range<usize>, Range<usize>) {
        while !old.is_empty() && !new.is_empty() && self.equal(old.start, new.start) {
            self.pairs.push((old.start, new.start));
            (old.start, new.start) = (old.start + 1, new.start + 1);
        }
        while !old.is_empty() && !new.is_empty() && self.equal(old.end - 1, new.end - 1) {
            (old.end, new.end) = (old.end - 1, new.end - 1);
            self.pairs.push((old.end, new.end));
        }
        (old, new)
    }

    /// Finds the longest rising run of elements that occur exactly once in both stretches.
    fn anchors(&mut self, old: &Range<usize>, new: &Range<usize>) -> Vec<(usize, usize)> {
        let size = old.len() + new.len();
        if size < ANCHORS_FROM || self.budget < size {
            return Vec::new();
        }
        self.budget -= size;
        let mut seen: HashMap<u32, [Seen; 2]> = HashMap::new();
        for (side, (all, range)) in [(self.old, old), (self.new, new)].into_iter().enumerate() {
            for (at, id) in all.iter().enumerate().take(range.end).skip(range.start) {
                if let Some(entry) = seen.entry(*id).or_default().get_mut(side) {
                    *entry = if *entry == Seen::Never { Seen::Once(at) } else { Seen::Often };
                }
            }
        }
        let unique: Vec<_> = self
            .old
            .iter()
            .take(old.end)
            .skip(old.start)
            .filter_map(|id| match seen.get(id) {
                Some([Seen::Once(at_old), Seen::Once(at_new)]) => Some((*at_old, *at_new)),
                _ => None,
            })
            .collect();
        longest_rising(&unique)
    }

    /// Pairs the elements of a shortest edit script, if one is found within the stretch's share of
    /// the budget.
    fn myers(&mut self, old: &Range<usize>, new: &Range<usize>) {
        let share = (old.len() + new.len()).saturating_mul(16).saturating_add(8_192);
        let mut steps = share.min(STEPS_IN_ONE_STRETCH).min(self.budget);
        let before = steps;
        let mut rounds: Vec<Round> = Vec::new();
        let found = loop {
            let round = Round::after(rounds.last(), |x, y| {
                let mut run = 0;
                while x + run < old.len()
                    && y + run < new.len()
                    && self.equal(old.start + x + run, new.start + y + run)
                {
                    run += 1;
                }
                steps = steps.saturating_sub(run + 1);
                run
            });
            let done = round.reaches(old.len(), new.len());
            rounds.push(round);
            if done {
                break true;
            }
            if steps == 0 {
                break false;
            }
        };
        self.budget -= before - steps;
        if found {
            self.pairs.extend(
                trace_back(&rounds, old.len(), new.len())
                    .into_iter()
                    .map(|(x, y)| (old.start + x, new.start + y)),
            );
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Never,
    Once(usize),
    Often,
}

/// How far each diagonal gets with a given number of edits, `d`: entry `i` belongs to the diagonal
/// `k = x - y = 2 i - d`.
struct Round {
    reach: Vec<usize>,
}

impl Round {
    fn after(last: Option<&Self>, mut run: impl FnMut(usize, usize) -> usize) -> Self {
        let Some(last) = last else {
            return Self { reach: vec![run(0, 0)] };
        };
        let edits = last.reach.len();
        let reach = (0..=edits)
            .map(|i| {
                let x = last.enter(i).0;
                // Diagonals that leave the rectangle go on without matches: harmless, and the
                // bookkeeping stays regular.
                let y = (x + edits).saturating_sub(2 * i);
                x + run(x, y)
            })
            .collect();
        Self { reach }
    }

    /// Where the next round enters its diagonal `i`, and from which diagonal of this round. Of two
    /// ways that get equally far an insertion is taken last, so removals come first.
    fn enter(&self, i: usize) -> (usize, usize) {
        let by_removal = i.checked_sub(1).and_then(|left| Some((self.reach.get(left)? + 1, left)));
        let by_insertion = self.reach.get(i).map(|x| (*x, i));
        match (by_removal, by_insertion) {
            (Some(removal), Some(insertion)) if removal.0 > insertion.0 => removal,
            (_, Some(insertion)) => insertion,
            (Some(removal), None) => removal,
            (None, None) => (0, 0),
        }
    }

    fn reaches(&self, x: usize, y: usize) -> bool {
        let edits = self.reach.len() - 1;
        let twice = (x + edits).checked_sub(y);
        twice.is_some_and(|twice| {
            twice % 2 == 0 && self.reach.get(twice / 2).is_some_and(|reach| *reach >= x)
        })
    }
}

/// Walks the rounds backwards and collects the matches of the path, last one first.
fn trace_back(rounds: &[Round], old_len: usize, new_len: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let (mut x, mut y) = (old_len, new_len);
    // The last round only says that the end was reached; each one before it says how.
    let earlier = rounds.len().saturating_sub(1);
    for (edits, last) in rounds.iter().take(earlier).enumerate().rev().map(|(d, r)| (d + 1, r)) {
        let diagonal = (x + edits - y) / 2;
        let (entered, from) = last.enter(diagonal);
        while x > entered {
            (x, y) = (x - 1, y - 1);
            pairs.push((x, y));
        }
        if from < diagonal {
            x -= 1;
        } else {
            y -= 1;
        }
    }
    while x > 0 && y > 0 {
        (x, y) = (x - 1, y - 1);
        pairs.push((x, y));
    }
    pairs
}

/// Picks the longest run in which both positions rise, from pairs sorted by the first one, by
/// patience sorting.
fn longest_rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // Index of the last pair of the best run of each length, and the pair before each pair.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    let second = |at: &usize| pairs.get(*at).map(|pair| pair.1);
    for (at, pair) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| second(end) < Some(pair.1));
        before.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut run = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(at) = next {
        run.extend(pairs.get(at));
        next = before.get(at).copied().flatten();
    }
    run.reverse();
    run
}

fn hunks_between(pairs: &[(usize, usize)], old_len: usize, new_len: usize) -> Vec<Hunk> {
    let mut hunks = Vec::new();
    let (mut from_old, mut from_new) = (0, 0);
    for (at_old, at_new) in pairs.iter().copied().chain([(old_len, new_len)]) {
        if from_old < at_old || from_new < at_new {
            hunks.push(Hunk { old: from_old..at_old, new: from_new..at_new });
        }
        (from_old, from_new) = (at_old + 1, at_new + 1);
    }
    hunks
}

/// Moves every pure insertion and removal as far down as it goes, so that two sides which made the
/// same edit describe it at the same place; hunks that come to touch are joined.
fn slide(old: &[u32], new: &[u32], hunks: &mut Vec<Hunk>) {
    let mut done: Vec<Hunk> = Vec::with_capacity(hunks.len());
    let mut limit = (old.len(), new.len());
    while let Some(mut hunk) = hunks.pop() {
        if hunk.old.is_empty() || hunk.new.is_empty() {
            let (all, moving) =
                if hunk.old.is_empty() { (new, &hunk.new) } else { (old, &hunk.old) };
            let room = (limit.0 - hunk.old.end).min(limit.1 - hunk.new.end);
            let by = all
                .iter()
                .skip(moving.start)
                .zip(all.iter().skip(moving.end))
                .take(room)
                .take_while(|(leaves, enters)| leaves == enters)
                .count();
            hunk.old = hunk.old.start + by..hunk.old.end + by;
            hunk.new = hunk.new.start + by..hunk.new.end + by;
        }
        limit = (hunk.old.start, hunk.new.start);
        match done.last_mut() {
            Some(next) if next.old.start == hunk.old.end && next.new.start == hunk.new.end => {
                (next.old.start, next.new.start) = limit;
            }
            _ => done.push(hunk),
        }
    }
    done.reverse();
    *hunks = done;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Replays the hunks and checks that everything between them is equal.
    fn apply(old: &[u32], new: &[u32]) -> Vec<u32> {
        let mut out = Vec::new();
        let mut from = 0;
        for hunk in diff(old, new) {
            out.extend(&old[from..hunk.old.start]);
            assert_eq!(out.len(), hunk.new.start);
            out.extend(&new[hunk.new]);
            from = hunk.old.end;
        }
        out.extend(&old[from..]);
        out
    }

    #[test]
    fn finds_the_shortest_script_without_anchors() {
        let edited = |hunks: Vec<Hunk>| -> usize {
            hunks.iter().map(|hunk| hunk.old.len() + hunk.new.len()).sum()
        };
        // The example of Myers' paper: ABCABBA to CBABAC takes five edits.
        assert_eq!(edited(diff(&[1, 2, 3, 1, 2, 2, 1], &[3, 2, 1, 2, 1, 3])), 5);
        assert_eq!(edited(diff(&[1, 1, 2, 2, 1, 1], &[1, 1, 2, 1, 2, 1, 1])), 1);
        assert_eq!(edited(diff(&[1, 2, 1, 2], &[3, 4])), 6);
    }

    #[test]
    fn an_insertion_lies_as_late_as_it_can() {
        let hunks = diff(&[1, 7, 2, 7, 3], &[1, 7, 2, 7, 9, 7, 3]);
        assert_eq!(hunks, [Hunk { old: 4..4, new: 4..6 }]);
        assert_eq!(diff(&[5, 5, 5], &[5, 5]), [Hunk { old: 2..3, new: 2..2 }]);
    }

    proptest! {
        #[test]
        fn the_new_sequence_comes_out(
            old in prop::collection::vec(0_u32..6, 0..40),
            new in prop::collection::vec(0_u32..6, 0..40),
        ) {
            prop_assert_eq!(apply(&old, &new), new);
        }

        #[test]
        fn with_many_rare_elements_too(
            old in prop::collection::vec(0_u32..60, 0..80),
            new in prop::collection::vec(0_u32..60, 0..80),
        ) {
            prop_assert_eq!(apply(&old, &new), new);
        }
    }
}
