//! What two sides did to one sequence, laid side by side: the grouping step of diff3 (Khanna,
//! Kunal, Pierce: "A Formal Investigation of Diff3", 2007), except that edits which only touch
//! stay apart.

use std::ops::Range;

use super::diff::Hunk;

/// A stretch of the base and what it is on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) kind: Kind,
    pub(super) base: Range<usize>,
    pub(super) first: Range<usize>,
    pub(super) second: Range<usize>,
}

/// Who changed a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Neither,
    First,
    Second,
    Both,
}

/// Lays the hunks of two sides over their common base, in the order of the base.
///
/// Two hunks belong together if they share an element of the base, or both insert at the same
/// place. Neighbours are independent of each other: an insertion before or after an element stays
/// apart from an edit of that element.
pub(super) fn chunks(base_len: usize, first: &[Hunk], second: &[Hunk]) -> Vec<Chunk> {
    let (mut first, mut second) = (Side::new(first), Side::new(second));
    let mut out = Vec::new();
    let mut done = 0;
    while let Some(start) = earlier(first.next_range(), second.next_range()) {
        if done < start.start {
            out.push(unchanged(done..start.start, &first, &second));
        }
        let from = (first.at(start.start), second.at(start.start));
        let mut base = start;
        let mut by = (false, false);
        loop {
            let passed = (first.pass(&mut base), second.pass(&mut base));
            if passed == (false, false) {
                break;
            }
            by = (by.0 || passed.0, by.1 || passed.1);
        }
        done = base.end;
        out.push(Chunk {
            kind: match by {
                (true, true) => Kind::Both,
                (true, false) => Kind::First,
                (false, _) => Kind::Second,
            },
            first: from.0..first.at(done),
            second: from.1..second.at(done),
            base,
        });
    }
    if done < base_len {
        out.push(unchanged(done..base_len, &first, &second));
    }
    out
}

fn unchanged(base: Range<usize>, first: &Side<'_>, second: &Side<'_>) -> Chunk {
    Chunk {
        kind: Kind::Neither,
        first: first.at(base.start)..first.at(base.end),
        second: second.at(base.start)..second.at(base.end),
        base,
    }
}

fn earlier(first: Option<Range<usize>>, second: Option<Range<usize>>) -> Option<Range<usize>> {
    // An insertion goes before an edit of the element that it stands before.
    first.into_iter().chain(second).min_by_key(|range| (range.start, range.end))
}

/// The hunks of one side that are still to come, and where the last one ended.
struct Side<'a> {
    next: std::slice::Iter<'a, Hunk>,
    old_end: usize,
    new_end: usize,
}

impl<'a> Side<'a> {
    fn new(hunks: &'a [Hunk]) -> Self {
        Self { next: hunks.iter(), old_end: 0, new_end: 0 }
    }

    fn next_range(&self) -> Option<Range<usize>> {
        self.next.as_slice().first().map(|hunk| hunk.old.clone())
    }

    /// Where a position of the base that no coming hunk has reached lies on this side.
    fn at(&self, base: usize) -> usize {
        self.new_end + (base - self.old_end)
    }

    /// Passes the hunks that belong to the group, and widens it by them.
    fn pass(&mut self, group: &mut Range<usize>) -> bool {
        let mut passed = false;
        while let Some(next) = self.next.as_slice().first()
            && (next.old.start < group.end || next.old == *group)
        {
            group.end = group.end.max(next.old.end);
            (self.old_end, self.new_end) = (next.old.end, next.new.end);
            self.next.next();
            passed = true;
        }
        passed
    }
}

/// Drops an insertion of one side that repeats the end (or the beginning) of what the other side
/// made of the element just before (or after) it: both made the same insertion there, and one side
/// rewrote the neighbour as well.
///
/// Only an insertion that `says` something counts: two blank lines may well be two.
pub(super) fn drop_echoes<T: PartialEq>(
    chunks: &mut [Chunk],
    first: &[T],
    second: &[T],
    says: impl Fn(&[T]) -> bool,
) {
    let output = |chunk: &Chunk| match chunk.kind {
        Kind::First => first.get(chunk.first.clone()),
        Kind::Second => second.get(chunk.second.clone()),
        Kind::Neither | Kind::Both => None,
    };
    for at in 1..chunks.len() {
        let Some([left, right]) = chunks.get_mut(at - 1..=at) else {
            break;
        };
        let (Some(before), Some(after)) = (output(left), output(right)) else {
            continue;
        };
        if left.kind == right.kind {
            continue;
        }
        if right.base.is_empty() && before.ends_with(after) && says(after) {
            right.kind = Kind::Neither;
        } else if left.base.is_empty() && after.starts_with(before) && says(before) {
            left.kind = Kind::Neither;
        }
    }
}

/// Whether `longer` holds all of `shorter` in its order.
pub(super) fn is_within<T: PartialEq>(
    shorter: impl IntoIterator<Item = T>,
    longer: impl IntoIterator<Item = T>,
) -> bool {
    let mut longer = longer.into_iter();
    shorter.into_iter().all(|wanted| longer.any(|found| found == wanted))
}

#[cfg(test)]
mod tests {
    use super::{super::diff::diff, *};

    fn kinds(base: &[u32], first: &[u32], second: &[u32]) -> Vec<(Kind, [usize; 3])> {
        chunks(base.len(), &diff(base, first), &diff(base, second))
            .into_iter()
            .map(|chunk| (chunk.kind, [chunk.base.len(), chunk.first.len(), chunk.second.len()]))
            .collect()
    }

    #[test]
    fn neighbours_stay_apart() {
        assert_eq!(
            kinds(&[1, 2, 3], &[1, 20, 3], &[1, 2, 30]),
            [(Kind::Neither, [1; 3]), (Kind::First, [1; 3]), (Kind::Second, [1; 3])]
        );
        assert_eq!(
            kinds(&[1, 2], &[1, 5, 2], &[1, 20]),
            [(Kind::Neither, [1; 3]), (Kind::First, [0, 1, 0]), (Kind::Second, [1; 3])]
        );
    }

    #[test]
    fn insertions_at_one_place_and_shared_elements_belong_together() {
        assert_eq!(kinds(&[], &[1], &[2]), [(Kind::Both, [0, 1, 1])]);
        assert_eq!(
            kinds(&[1, 2, 3, 4, 5], &[1, 9, 4, 5], &[1, 2, 8, 7, 5]),
            [(Kind::Neither, [1; 3]), (Kind::Both, [3, 2, 3]), (Kind::Neither, [1; 3])]
        );
    }

    #[test]
    fn an_echo_is_dropped() {
        let (base, first, second) = ([1], [10, 2], [1, 2]);
        let mut both = chunks(1, &diff(&base, &first), &diff(&base, &second));
        drop_echoes(&mut both, &first, &second, |_| true);
        assert_eq!(both.iter().map(|c| c.kind).collect::<Vec<_>>(), [Kind::First, Kind::Neither]);
    }
}
