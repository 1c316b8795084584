//! Texts as sequences of lines and words, and words as numbers.

use std::collections::HashMap;

use unicode_normalization::char::is_combining_mark;

/// A word, a run of white space, a line feed, or a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) kind: TokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A run of letters and digits, with what joins them: `don't`, `10:30`, `2026-11-20`,
    /// `example.org/a`. Half of one number or address and half of another would be neither.
    Word,
    /// One character of a script that puts no spaces between words.
    Glyph,
    Space,
    LineFeed,
    Sign,
}

impl Token<'_> {
    pub(super) fn is_word(&self) -> bool {
        matches!(self.kind, TokenKind::Word | TokenKind::Glyph)
    }
}

/// Cuts a text into tokens; together they are the text.
///
/// A coarse form of the word boundaries of Unicode Annex 29: no tables but those of the standard
/// library, and never a cut inside a character made of several code points.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = kind_of(first);
        let (token, after) = rest.split_at(token_len(rest, first, kind));
        out.push(Token { text: token, kind });
        rest = after;
    }
    out
}

/// Whether a text says anything: it holds a letter or a digit of any script.
pub(super) fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

fn token_len(rest: &str, first: char, kind: TokenKind) -> usize {
    let mut len = first.len_utf8();
    let mut joined = first == JOINER;
    while let Some(next) = rest.get(len..).and_then(|tail| tail.chars().next()) {
        let goes_on = match kind {
            TokenKind::LineFeed => false,
            _ if joined || extends(next) => true,
            TokenKind::Glyph => false,
            TokenKind::Sign => !first.is_ascii() && !next.is_ascii() && kind_of(next) == kind,
            TokenKind::Space => kind_of(next) == kind,
            TokenKind::Word => kind_of(next) == kind || connects(rest, len, next),
        };
        if !goes_on {
            break;
        }
        joined = next == JOINER;
        len += next.len_utf8();
    }
    len
}

const JOINER: char = '\u{200d}';

fn kind_of(c: char) -> TokenKind {
    match c {
        '\n' => TokenKind::LineFeed,
        _ if c.is_whitespace() => TokenKind::Space,
        // Kana, ideographs, Thai, Lao, Myanmar, Khmer.
        '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
        | '\u{0e00}'..='\u{0eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
            if c.is_alphanumeric() =>
        {
            TokenKind::Glyph
        }
        _ if c.is_alphanumeric() => TokenKind::Word,
        _ => TokenKind::Sign,
    }
}

/// Whether a character only changes the one before it: accents, variation selectors, skin tones.
fn extends(c: char) -> bool {
    c == JOINER
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0100}'..='\u{e01ef}')
        || is_combining_mark(c)
}

/// Whether the sign at `at` stands between two characters of a word and joins them.
fn connects(rest: &str, at: usize, sign: char) -> bool {
    matches!(sign, '\'' | '’' | '.' | ',' | ':' | '/' | '-' | '_' | '@')
        && rest
            .get(at + sign.len_utf8()..)
            .and_then(|tail| tail.chars().next())
            .is_some_and(|next| kind_of(next) == TokenKind::Word)
}

/// Gives equal strings equal numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers<'a> {
    known: HashMap<&'a str, u32>,
}

impl<'a> Numbers<'a> {
    pub(super) fn of(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
        texts
            .into_iter()
            .map(|text| {
                // More than 2^32 tokens do not fit into the memory of a device.
                let next = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
                *self.known.entry(text).or_insert(next)
            })
            .collect()
    }
}

/// A text as lines without their ends, and what the ends look like.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pub(super) lines: Vec<Line<'a>>,
    /// Whether the last line has an end; unknown if there is no line.
    pub(super) closed: Option<bool>,
}

/// One line and its end, which is empty for a last line that has none. Lines are equal if their
/// texts are: the ends are merged on their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) end: &'static str,
}

impl PartialEq for Line<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

pub(super) const LF: &str = "\n";
pub(super) const CRLF: &str = "\r\n";

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let lines: Vec<_> = text
            .split_inclusive('\n')
            .map(|line| match (line.strip_suffix(CRLF), line.strip_suffix(LF)) {
                (Some(text), _) => Line { text, end: CRLF },
                (None, Some(text)) => Line { text, end: LF },
                (None, None) => Line { text: line, end: "" },
            })
            .collect();
        let closed = lines.last().map(|line| !line.end.is_empty());
        Self { lines, closed }
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.lines.iter().map(|line| line.text)
    }

    /// The one line end that the whole text uses, if it uses one and only one.
    pub(super) fn style(&self) -> Style {
        let uses = |end| self.lines.iter().any(|line| line.end == end);
        match (uses(LF), uses(CRLF)) {
            (false, false) => Style::Unknown,
            (true, false) => Style::All(LF),
            (false, true) => Style::All(CRLF),
            (true, true) => Style::Mixed,
        }
    }
}

/// How the lines of a text end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Unknown,
    All(&'static str),
    Mixed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_keep_what_joins_them() {
        assert_eq!(
            cut("don't at 10:30, (a-b)."),
            ["don't", " ", "at", " ", "10:30", ",", " ", "(", "a-b", ")", "."]
        );
        assert_eq!(cut("https://x.org/a"), ["https", ":", "/", "/", "x.org/a"]);
        assert_eq!(cut("  a\n\nb"), ["  ", "a", "\n", "\n", "b"]);
    }

    #[test]
    fn characters_of_several_code_points_stay_whole() {
        assert_eq!(cut("e\u{301}te\u{301} x"), ["e\u{301}te\u{301}", " ", "x"]);
        assert_eq!(cut("👩\u{200d}👧 👍🏽!"), ["👩\u{200d}👧", " ", "👍🏽", "!"]);
    }

    #[test]
    fn scripts_without_spaces_are_cut_by_character() {
        assert_eq!(cut("買う牛乳"), ["買", "う", "牛", "乳"]);
    }

    #[test]
    fn lines_know_their_ends() {
        assert_eq!(Lines::of("").closed, None);
        assert_eq!(Lines::of("a\r\nb").closed, Some(false));
        assert_eq!(Lines::of("a\r\nb").style(), Style::All(CRLF));
        assert_eq!(Lines::of("a\r\nb\n").style(), Style::Mixed);
        assert_eq!(Lines::of("a\rb").style(), Style::Unknown);
    }
}
