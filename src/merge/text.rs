//! Merges two versions of a text, with or without the one that both come from.

mod chunk;
mod diff;
mod refine;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

use chunk::{Chunk, Kind, chunks, drop_echoes, is_within};
use diff::{Hunk, diff};
use refine::refine;
use tokens::{CRLF, LF, Line, Lines, Numbers, Style, has_words};

/// A merged text, and the places where the two sides disagreed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextMerge {
    /// The text to go on with. It holds every word that either side added.
    pub text: String,
    /// Where both sides rewrote or removed the same words, in the order of the text.
    pub overlaps: Vec<Overlap>,
}

impl TextMerge {
    fn clean(text: &str) -> Self {
        Self { text: text.to_owned(), overlaps: Vec::new() }
    }
}

/// One place where both sides changed the same words in different ways.
///
/// Both versions stand in the merged text, the first one above the second; of a removal against an
/// edit the edited version stands there alone. Line ends are line feeds, the last one is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlap {
    /// What both sides started from; empty where there is no common ancestor.
    pub base: String,
    /// What the first side made of it; empty if it removed it.
    pub first: String,
    /// What the second side made of it; empty if it removed it.
    pub second: String,
}

/// Merges two versions of a text that both come from `base`.
///
/// By lines first, as diff3 does; then, in lines that both sides changed, by words. Edits that do
/// not share a word all apply, also on neighbouring lines. Equal edits apply once. What both sides
/// added at one place is all kept, the first side's lines above the second's, and is no overlap:
/// nobody's words were lost. Swapping the sides gives the same lines and the same number of
/// overlaps; only the order of such neighbours differs.
///
/// The line ends and the end of the last line are merged as properties of the whole text, so a
/// text with CRLF keeps it, and two lines are never glued to one. The work grows with the size of
/// the texts, whatever they hold: where a comparison gets too long the unit gets coarser.
pub fn merge3(base: &str, first: &str, second: &str) -> TextMerge {
    if first == second || base == second {
        return TextMerge::clean(first);
    }
    if base == first {
        return TextMerge::clean(second);
    }
    let texts = [base, first, second].map(Lines::of);
    let mut numbers = Numbers::default();
    let ids = texts.each_ref().map(|lines| numbers.of(lines.texts()));
    let [base_ids, first_ids, second_ids] = &ids;
    let [base, first, second] = &texts;
    let hunks = |side_ids: &[u32], side: &Lines<'_>| {
        refine(diff(base_ids, side_ids), &base.lines, &side.lines)
    };
    let mut parts = chunks(base.lines.len(), &hunks(first_ids, first), &hunks(second_ids, second));
    drop_echoes(&mut parts, &first.lines, &second.lines, |lines| {
        lines.iter().any(|line| has_words(line.text))
    });

    let ends = Ends::merged(base, first, second);
    let mut out = Output::default();
    for part in &parts {
        out.part(part, [base, first, second]);
    }
    out.finish(ends)
}

/// Merges two versions of a text whose common ancestor is not known: what they share is kept once,
/// and where they differ both versions are kept, the first one above the second.
///
/// A difference where both sides hold something is reported, since nobody can know whether one was
/// meant to replace the other. Callers that need the same result on all devices order the two
/// texts by something that all devices know.
pub fn merge2(first: &str, second: &str) -> TextMerge {
    if first == second || second.is_empty() {
        return TextMerge::clean(first);
    }
    if first.is_empty() {
        return TextMerge::clean(second);
    }
    let (first, second) = (Lines::of(first), Lines::of(second));
    let ends = Ends::merged(&Lines::of(""), &first, &second);
    let mut out = Output::default();
    let (mut from, mut pairs) = (0, Vec::new());
    for hunk in differences(&first.lines, &second.lines) {
        pairs.push((from..hunk.old.start, None));
        from = hunk.old.end;
        pairs.push((hunk.old, Some(hunk.new)));
    }
    pairs.push((from..first.lines.len(), None));
    for (one, other) in pairs {
        let one = lines(&first, &one);
        out.lines.extend(one.iter().map(Written::copy));
        let other = other.map(|range| lines(&second, &range)).unwrap_or_default();
        out.lines.extend(other.iter().map(Written::copy));
        if !one.is_empty() && !other.is_empty() {
            out.overlaps.push(Overlap {
                base: String::new(),
                first: joined(one),
                second: joined(other),
            });
        }
    }
    out.finish(ends)
}

/// The differences of two texts, found in the same way from both sides, and not cut at common
/// lines that say nothing: blank lines and rules do not show that two passages are related.
fn differences(first: &[Line<'_>], second: &[Line<'_>]) -> Vec<Hunk> {
    let (first_texts, second_texts): (Vec<_>, Vec<_>) =
        (texts(first).collect(), texts(second).collect());
    let mut numbers = Numbers::default();
    let (one, other) =
        (numbers.of(first_texts.iter().copied()), numbers.of(second_texts.iter().copied()));
    let hunks = if first_texts <= second_texts {
        diff(&one, &other)
    } else {
        let turned = diff(&other, &one).into_iter();
        turned.map(|hunk| Hunk { old: hunk.new, new: hunk.old }).collect()
    };
    let mut out: Vec<Hunk> = Vec::with_capacity(hunks.len());
    for hunk in hunks {
        let related = |last: &Hunk| {
            let between = first_texts.get(last.old.end..hunk.old.start).unwrap_or_default();
            between.iter().any(|line| has_words(line))
        };
        match out.last_mut() {
            Some(last) if !related(last) => {
                (last.old.end, last.new.end) = (hunk.old.end, hunk.new.end);
            }
            _ => out.push(hunk),
        }
    }
    out
}

fn lines<'a, 't>(text: &'a Lines<'t>, range: &std::ops::Range<usize>) -> &'a [Line<'t>] {
    text.lines.get(range.clone()).unwrap_or_default()
}

fn joined(lines: &[Line<'_>]) -> String {
    lines.iter().map(|line| line.text).collect::<Vec<_>>().join(LF)
}

fn texts<'a, 't>(lines: &'a [Line<'t>]) -> impl Iterator<Item = &'t str> + use<'a, 't> {
    lines.iter().map(|line| line.text)
}

/// A line of the merged text; no end means the usual one.
#[derive(Debug)]
struct Written {
    text: String,
    end: &'static str,
}

impl Written {
    fn copy(line: &Line<'_>) -> Self {
        Self { text: line.text.to_owned(), end: line.end }
    }
}

#[derive(Debug, Default)]
struct Output {
    lines: Vec<Written>,
    overlaps: Vec<Overlap>,
}

impl Output {
    fn part(&mut self, part: &Chunk, [base, first, second]: [&Lines<'_>; 3]) {
        let base = lines(base, &part.base);
        let first = lines(first, &part.first);
        let second = lines(second, &part.second);
        match part.kind {
            Kind::Neither => {
                for ((base, first), second) in base.iter().zip(first).zip(second) {
                    let end = if first.end == base.end { second.end } else { first.end };
                    self.lines.push(Written { text: base.text.to_owned(), end });
                }
            }
            Kind::First => self.copy(first),
            Kind::Second => self.copy(second),
            Kind::Both if first == second => self.copy(first),
            Kind::Both if base.is_empty() => self.both_added(first, second),
            Kind::Both if first.is_empty() || second.is_empty() => {
                self.copy(first);
                self.copy(second);
                self.overlaps.push(Overlap {
                    base: joined(base),
                    first: joined(first),
                    second: joined(second),
                });
            }
            Kind::Both => {
                let merged = words::merge(&joined(base), &joined(first), &joined(second));
                let lines = merged.text.split('\n');
                self.lines.extend(lines.map(|text| Written { text: text.to_owned(), end: "" }));
                self.overlaps.extend(merged.overlaps);
            }
        }
    }

    fn copy(&mut self, lines: &[Line<'_>]) {
        self.lines.extend(lines.iter().map(Written::copy));
    }

    /// Keeps what both sides added at one place: once what they share at its beginning or end, or
    /// all of it if one added everything that the other did.
    fn both_added(&mut self, first: &[Line<'_>], second: &[Line<'_>]) {
        if is_within(first, second) {
            return self.copy(second);
        }
        if is_within(second, first) {
            return self.copy(first);
        }
        let head = shared(first.iter().zip(second));
        self.copy(first.get(..head).unwrap_or_default());
        let (first, second) =
            (first.get(head..).unwrap_or_default(), second.get(head..).unwrap_or_default());
        let tail = shared(first.iter().rev().zip(second.iter().rev()));
        let (only_first, tail) = first.split_at(first.len() - tail);
        self.copy(only_first);
        self.copy(second.get(..second.len() - tail.len()).unwrap_or_default());
        self.copy(tail);
    }

    fn finish(self, ends: Ends) -> TextMerge {
        let mut text = String::new();
        let last = self.lines.len().saturating_sub(1);
        for (at, line) in self.lines.iter().enumerate() {
            text.push_str(&line.text);
            // An empty last line is only there if it has an end.
            if at < last || ends.closed || line.text.is_empty() {
                text.push_str(if ends.all || line.end.is_empty() { ends.usual } else { line.end });
            }
        }
        TextMerge { text, overlaps: self.overlaps }
    }
}

/// Counts the pairs of equal lines at the start, up to the last one that says something: two
/// passages that both begin with a blank line keep one each.
fn shared<'a, 't: 'a>(pairs: impl Iterator<Item = (&'a Line<'t>, &'a Line<'t>)>) -> usize {
    let mut count = 0;
    for (at, (first, _)) in pairs.take_while(|(a, b)| a == b).enumerate() {
        if has_words(first.text) {
            count = at + 1;
        }
    }
    count
}

/// How the lines of the merged text end.
#[derive(Debug, Clone, Copy)]
struct Ends {
    /// The end of lines that bring none of their own.
    usual: &'static str,
    /// Whether all lines get the usual end, whatever they had.
    all: bool,
    /// Whether the last line gets one.
    closed: bool,
}

impl Ends {
    fn merged(base: &Lines<'_>, first: &Lines<'_>, second: &Lines<'_>) -> Self {
        let (usual, all) = match changed(base.style(), first.style(), second.style()) {
            Style::All(end) => (end, true),
            Style::Unknown => (LF, true),
            Style::Mixed => {
                let count = |end| base.lines.iter().filter(|line| line.end == end).count();
                (if count(CRLF) > count(LF) { CRLF } else { LF }, false)
            }
        };
        let closed = match (base.closed, first.closed, second.closed) {
            (base, Some(first), Some(second)) if first != second => base != Some(true),
            (_, first, second) => first.or(second).unwrap_or(true),
        };
        Self { usual, all, closed }
    }
}

/// The style that a side brought in, or the one that all share.
fn changed(base: Style, first: Style, second: Style) -> Style {
    match (first, second) {
        _ if first == second => first,
        (Style::Unknown, style) | (style, Style::Unknown) => style,
        _ if first == base => second,
        _ if second == base => first,
        (Style::All(_), Style::All(_)) => Style::All(LF),
        _ => Style::Mixed,
    }
}
