//! Merges what both sides made of a few lines, word by word.

use std::ops::Range;

use super::{
    Overlap,
    chunk::{Chunk, Kind, chunks, drop_echoes, is_within},
    diff::{Hunk, diff},
    tokens::{Numbers, Token, TokenKind, has_words, tokens},
};

/// The lines that came out, joined by line feeds, and what could not be merged.
#[derive(Debug, Default)]
pub(super) struct WordMerge {
    pub(super) text: String,
    pub(super) overlaps: Vec<Overlap>,
}

/// Merges three versions of some lines, none of them empty, each without its last line end.
///
/// The text is cut at the line feeds that neither side touched. A segment in which the edits do
/// not meet gets all of them; in any other both versions of the segment are kept, one below the
/// other.
pub(super) fn merge(base: &str, first: &str, second: &str) -> WordMerge {
    let texts = [tokens(base), tokens(first), tokens(second)];
    let mut numbers = Numbers::default();
    let ids = texts.each_ref().map(|tokens| numbers.of(tokens.iter().map(|token| token.text)));
    let [base_ids, first_ids, second_ids] = &ids;
    let [base, first, second] = &texts;
    let mut parts = chunks(
        base.len(),
        &bridge(diff(base_ids, first_ids), base),
        &bridge(diff(base_ids, second_ids), base),
    );
    drop_echoes(&mut parts, first, second, |tokens| tokens.iter().any(Token::is_word));
    let sides = Sides { base, first, second };
    let mut merged = WordMerge::default();
    for (at, segment) in segments(parts, base).iter().enumerate() {
        if at > 0 {
            merged.text.push('\n');
        }
        sides.segment(segment, &mut merged);
    }
    merged
}

/// Joins hunks that only blanks separate: the blank between two rewritten words is no ground that
/// both versions share.
fn bridge(hunks: Vec<Hunk>, base: &[Token<'_>]) -> Vec<Hunk> {
    let mut out: Vec<Hunk> = Vec::with_capacity(hunks.len());
    for hunk in hunks {
        let blank = |last: &Hunk| {
            base.get(last.old.end..hunk.old.start)
                .is_some_and(|between| between.iter().all(|t| t.kind == TokenKind::Space))
        };
        match out.last_mut() {
            Some(last) if blank(last) => {
                (last.old.end, last.new.end) = (hunk.old.end, hunk.new.end);
            }
            _ => out.push(hunk),
        }
    }
    out
}

/// Cuts the chunks at the line feeds that neither side touched, which are left out.
fn segments(parts: Vec<Chunk>, base: &[Token<'_>]) -> Vec<Vec<Chunk>> {
    let mut out = vec![Vec::new()];
    let mut push = |part: Chunk, ends: bool| {
        if let Some(last) = out.last_mut() {
            last.push(part);
        }
        if ends {
            out.push(Vec::new());
        }
    };
    for part in parts {
        let mut from = part.base.start;
        let cut = |from: usize, to: usize| Chunk {
            kind: part.kind,
            base: from..to,
            first: from - part.base.start + part.first.start
                ..to - part.base.start + part.first.start,
            second: from - part.base.start + part.second.start
                ..to - part.base.start + part.second.start,
        };
        if part.kind == Kind::Neither {
            for at in part.base.clone() {
                if base.get(at).is_some_and(|token| token.kind == TokenKind::LineFeed) {
                    push(cut(from, at), true);
                    from = at + 1;
                }
            }
            // The rest, up to where the chunk ends on every side: an echo that was dropped is
            // longer on one of them.
            let rest = cut(from, part.base.end);
            push(
                Chunk {
                    first: rest.first.start..part.first.end,
                    second: rest.second.start..part.second.end,
                    ..rest
                },
                false,
            );
        } else {
            push(part, false);
        }
    }
    out
}

struct Sides<'a, 't> {
    base: &'a [Token<'t>],
    first: &'a [Token<'t>],
    second: &'a [Token<'t>],
}

impl<'t> Sides<'_, 't> {
    fn segment(&self, parts: &[Chunk], merged: &mut WordMerge) {
        let whole = |range: fn(&Chunk) -> &Range<usize>| match (parts.first(), parts.last()) {
            (Some(first), Some(last)) => range(first).start..range(last).end,
            _ => 0..0,
        };
        let first = text(self.first, &whole(|part| &part.first));
        let second = text(self.second, &whole(|part| &part.second));
        if let Some(text) = self.together(parts) {
            merged.text.push_str(&text);
        } else if first == second {
            merged.text.push_str(&first);
        } else {
            merged.text.push_str(&first);
            if !first.is_empty() && !second.is_empty() {
                merged.text.push('\n');
            }
            merged.text.push_str(&second);
            let base = text(self.base, &whole(|part| &part.base));
            let only_added = parts.iter().all(|p| p.kind == Kind::Neither || p.base.is_empty());
            if !only_added || has_words(&base) {
                merged.overlaps.push(Overlap { base, first, second });
            }
        }
    }

    /// All edits of a segment in one text, unless they rewrite the same words or would make one
    /// word of two.
    fn together(&self, parts: &[Chunk]) -> Option<String> {
        let mut out: Vec<Token<'t>> = Vec::new();
        for part in parts {
            let base = self.base.get(part.base.clone())?;
            let first = self.first.get(part.first.clone())?;
            let second = self.second.get(part.second.clone())?;
            match part.kind {
                Kind::Neither => out.extend(base),
                Kind::First => out.extend(first),
                Kind::Second => out.extend(second),
                Kind::Both if first == second => out.extend(first),
                Kind::Both if !base.is_empty() => return None,
                Kind::Both if is_within(first, second) => out.extend(second),
                Kind::Both if is_within(second, first) => out.extend(first),
                // Within a line the order of two additions is that of their texts, so that it
                // does not depend on who merges.
                Kind::Both if texts(first).le(texts(second)) => {
                    out.extend([first, second].concat())
                }
                Kind::Both => out.extend([second, first].concat()),
            }
        }
        let text: String = texts(&out).collect();
        let read = tokens(&text);
        let words = |tokens: &[Token<'_>]| tokens.iter().filter(|token| token.is_word()).count();
        (words(&read) == words(&out)).then_some(text)
    }
}

fn texts<'a, 't>(tokens: &'a [Token<'t>]) -> impl Iterator<Item = &'t str> + use<'a, 't> {
    tokens.iter().map(|token| token.text)
}

fn text(tokens: &[Token<'_>], range: &Range<usize>) -> String {
    texts(tokens.get(range.clone()).unwrap_or_default()).collect()
}
