//! Which line became which: cuts the changed stretches of one side into the smallest edits that
//! make sense.

use super::{
    diff::Hunk,
    tokens::{Line, tokens},
};

/// Cuts hunks into edits of single lines where the lines on both sides resemble each other, and
/// removals into removals of single lines.
///
/// The finer the edits of each side, the fewer of them meet: a line that one device added beside a
/// line which both edited does not become part of their disagreement.
pub(super) fn refine(hunks: Vec<Hunk>, old: &[Line<'_>], new: &[Line<'_>]) -> Vec<Hunk> {
    let mut out = Vec::with_capacity(hunks.len());
    for hunk in hunks {
        let pairs = alike(
            old.get(hunk.old.clone()).unwrap_or_default(),
            new.get(hunk.new.clone()).unwrap_or_default(),
        );
        let (mut from_old, mut from_new) = (hunk.old.start, hunk.new.start);
        for (at_old, at_new) in pairs {
            let (at_old, at_new) = (hunk.old.start + at_old, hunk.new.start + at_new);
            push(&mut out, Hunk { old: from_old..at_old, new: from_new..at_new });
            (from_old, from_new) = (at_old + 1, at_new + 1);
            push(&mut out, Hunk { old: at_old..from_old, new: at_new..from_new });
        }
        push(&mut out, Hunk { old: from_old..hunk.old.end, new: from_new..hunk.new.end });
    }
    out
}

fn push(out: &mut Vec<Hunk>, hunk: Hunk) {
    if !hunk.new.is_empty() {
        out.push(hunk);
        return;
    }
    let at = hunk.new.start;
    out.extend(hunk.old.map(|line| Hunk { old: line..line + 1, new: at..at }));
}

/// More pairs than this are not compared: the hunk stays as it is.
const PAIRS_MAX: usize = 1_024;
const WORDS_MAX: usize = 1 << 16;

/// Pairs lines of which at least half of the words are the same, in order, such that the sum of
/// the likenesses is greatest (the alignment of Needleman and Wunsch, 1970, without a gap cost).
fn alike(old: &[Line<'_>], new: &[Line<'_>]) -> Vec<(usize, usize)> {
    if old.is_empty()
        || new.is_empty()
        || old.len() + new.len() == 2
        || old.len().saturating_mul(new.len()) > PAIRS_MAX
    {
        return Vec::new();
    }
    let (old, new) = (bags(old), bags(new));
    let words = |bags: &[Vec<&str>]| bags.iter().map(Vec::len).sum::<usize>();
    if words(&old) * new.len() + words(&new) * old.len() > WORDS_MAX {
        return Vec::new();
    }
    let likeness: Vec<Vec<u32>> =
        old.iter().map(|a| new.iter().map(|b| likeness(a, b)).collect()).collect();
    best_path(&likeness, new.len())
}

fn bags<'a>(lines: &[Line<'a>]) -> Vec<Vec<&'a str>> {
    lines
        .iter()
        .map(|line| {
            let mut words: Vec<_> = tokens(line.text)
                .into_iter()
                .filter(|token| token.is_word())
                .map(|token| token.text)
                .collect();
            words.sort_unstable();
            words
        })
        .collect()
}

/// Dice's coefficient of two sorted bags of words, in thousandths; below a half it counts nothing.
fn likeness(a: &[&str], b: &[&str]) -> u32 {
    let (mut i, mut j, mut common) = (a.iter().peekable(), b.iter().peekable(), 0_usize);
    while let (Some(x), Some(y)) = (i.peek(), j.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => drop(i.next()),
            std::cmp::Ordering::Greater => drop(j.next()),
            std::cmp::Ordering::Equal => {
                common += 1;
                i.next();
                j.next();
            }
        }
    }
    let share = (2_000 * common).checked_div(a.len() + b.len()).unwrap_or(0);
    if share < 500 { 0 } else { u32::try_from(share).unwrap_or(0) }
}

fn best_path(likeness: &[Vec<u32>], width: usize) -> Vec<(usize, usize)> {
    // best[i][j]: the greatest sum of pairs among the lines from (i, j) on.
    let mut best = vec![vec![0_u32; width + 1]; likeness.len() + 1];
    let get = |table: &[Vec<u32>], i: usize, j: usize| {
        table.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0)
    };
    for i in (0..likeness.len()).rev() {
        for j in (0..width).rev() {
            let pair = get(likeness, i, j);
            let paired = if pair == 0 { 0 } else { pair + get(&best, i + 1, j + 1) };
            let sum = paired.max(get(&best, i + 1, j)).max(get(&best, i, j + 1));
            if let Some(cell) = best.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = sum;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < likeness.len() && j < width {
        let (here, pair) = (get(&best, i, j), get(likeness, i, j));
        if pair > 0 && here == pair + get(&best, i + 1, j + 1) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if here == get(&best, i + 1, j) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::Lines, *};

    #[test]
    fn an_edited_line_with_a_new_neighbour_becomes_two_hunks() {
        let (old, new) = (Lines::of("buy two eggs\n"), Lines::of("call mum\nbuy six eggs\n"));
        let hunks = refine(vec![Hunk { old: 0..1, new: 0..2 }], &old.lines, &new.lines);
        assert_eq!(hunks, [Hunk { old: 0..0, new: 0..1 }, Hunk { old: 0..1, new: 1..2 }]);
    }

    #[test]
    fn lines_that_have_little_in_common_stay_together() {
        let (old, new) = (Lines::of("a b c\nd\n"), Lines::of("a x y\nz\n"));
        let hunk = vec![Hunk { old: 0..2, new: 0..2 }];
        assert_eq!(refine(hunk.clone(), &old.lines, &new.lines), hunk);
    }

    #[test]
    fn a_removal_is_one_hunk_per_line() {
        let old = Lines::of("a\nb\n");
        let hunks = refine(vec![Hunk { old: 0..2, new: 0..0 }], &old.lines, &[]);
        assert_eq!(hunks, [Hunk { old: 0..1, new: 0..0 }, Hunk { old: 1..2, new: 0..0 }]);
    }
}
