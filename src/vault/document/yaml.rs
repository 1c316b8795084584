//! Top-level entries of YAML front matter: where each value stands and what it is.
//!
//! The events of the YAML parser carry the place of every node, so keys, values and their places
//! come from one reading of the text and cannot disagree. Scalars are resolved here and not by the
//! parser's user (`serde-saphyr`), which reads `007` and `1_000` as numbers.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;
use serde_saphyr::granit_parser::{self, Event, Parser, Span, StructureStyle};

use super::Problem;
use super::node::Nodes;

/// One top-level `key: value`, by byte ranges of the text it was split from.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) range: Range<usize>,
    pub(super) value: Value,
}

/// An event of the parser with the range of bytes it stands for.
pub(super) type Spanned<'a> = (Event<'a>, Span);

/// Splits a block mapping into its entries, in the order of the text.
///
/// # Errors
/// Anything that is not a plain list of `key: value` with unique keys, with the line in `text`.
pub(super) fn split(text: &str) -> Result<Vec<Entry>, Problem> {
    let lone = text.bytes().zip(text.bytes().skip(1)).position(|(a, b)| a == b'\r' && b != b'\n');
    if let Some(at) = lone {
        return Err(Problem::at(line_of(text, at), "a line ends with a bare carriage return"));
    }
    if let Some(at) = text.find('\0') {
        return Err(Problem::at(line_of(text, at), "a NUL character"));
    }
    let events = read_events(text)?;
    let mut nodes = Nodes::new(text, &events);
    match nodes.next() {
        None => return Ok(Vec::new()),
        Some((Event::Scalar(..), span)) if span.is_empty() => return Ok(Vec::new()),
        Some((Event::MappingStart(StructureStyle::Block, 0, None), _)) => {}
        Some((_, span)) => {
            return Err(Problem::at(span.start.line(), "not a list of `key: value` lines"));
        }
    }
    let mut entries = Vec::new();
    let mut keys = BTreeSet::new();
    while let Some((event, span)) = nodes.next() {
        if matches!(event, Event::MappingEnd) {
            break;
        }
        let (key, after_colon) = read_key(text, event, span)?;
        if !keys.insert(key.clone()) {
            return Err(Problem::at(span.start.line(), format!("the key `{key}` is there twice")));
        }
        let (value, end) = nodes.value()?;
        let limit = nodes.peek_line_start().unwrap_or(text.len());
        let range = value_range(text, after_colon, end.max(after_colon), limit);
        entries.push(Entry { key, range, value });
    }
    match nodes.next() {
        None => Ok(entries),
        Some((_, span)) => Err(Problem::at(span.start.line(), "a second YAML document")),
    }
}

/// Gives the places and values of the items of a list in brackets.
pub(super) fn flow_items(source: &str) -> Option<Vec<(Range<usize>, Value)>> {
    const PREFIX: usize = "k: ".len();
    let text = format!("k: {source}\n");
    let events = read_events(&text).ok()?;
    let mut nodes = Nodes::new(&text, &events);
    nodes.next()?;
    nodes.next()?;
    if !matches!(nodes.next()?.0, Event::SequenceStart(StructureStyle::Flow, ..)) {
        return None;
    }
    let mut items = Vec::new();
    while let Some(start) = nodes.peek_start() {
        let (value, end) = nodes.value().ok()?;
        items.push((start.checked_sub(PREFIX)?..end.checked_sub(PREFIX)?, value));
    }
    Some(items)
}

fn read_events(text: &str) -> Result<Vec<Spanned<'_>>, Problem> {
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        // The default of 1,024 is what YAML asks of writers; a JSON object in one line may have
        // longer keys.
        simple_key_max_lookahead: 1 << 20,
    };
    let mut events = Vec::new();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| Problem::at(error.marker().line(), error.info().to_owned()))?;
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(false, _)
            | Event::DocumentEnd => {}
            Event::DocumentStart(true, _) => {
                return Err(Problem::at(span.start.line(), "a second YAML document"));
            }
            event => events.push((event, span)),
        }
    }
    Ok(events)
}

/// Reads a key and finds the end of its colon.
fn read_key(text: &str, event: &Event<'_>, span: &Span) -> Result<(String, usize), Problem> {
    let line = span.start.line();
    let odd = || Problem::at(line, "a key that is not plain text before a colon on its own line");
    let Event::Scalar(key, _, 0, None) = event else {
        return Err(odd());
    };
    let range = span.byte_range().filter(|range| !range.is_empty()).ok_or_else(odd)?;
    let (before, after) = text.get(..range.start).zip(text.get(range.end..)).ok_or_else(odd)?;
    let indent = before.rsplit('\n').next().unwrap_or_default();
    if !indent.bytes().all(|byte| byte == b' ') {
        return Err(odd());
    }
    let blanks = after.len() - after.trim_start_matches([' ', '\t']).len();
    let after_colon = range.end + blanks + 1;
    let rest = text.get(after_colon..).ok_or_else(odd)?;
    if !after.get(blanks..).is_some_and(|rest| rest.starts_with(':'))
        || !(rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        || key.chars().any(char::is_control)
    {
        return Err(odd());
    }
    Ok((key.clone().into_owned(), after_colon))
}

/// Finds the bytes of a value: `after_colon` is where it may start, `end` where its last node ends
/// and `limit` where the line of the next key starts.
fn value_range(text: &str, after_colon: usize, end: usize, limit: usize) -> Range<usize> {
    let first_line_end = line_end(text, after_colon);
    let inline = skip_blanks(text, after_colon);
    let end = last_content(text, end, limit);
    let comment = text.get(inline..).is_some_and(|rest| rest.starts_with('#'));
    let start = if inline == first_line_end || comment {
        if end <= first_line_end {
            return after_colon..after_colon;
        }
        inline
    } else {
        inline
    };
    let end = if end <= start { properties_end(text, start) } else { end };
    let range = start..end;
    if text.get(range.clone()).is_some_and(|source| source.contains('\n')) {
        return start..line_end(text, end);
    }
    range
}

/// Moves the end down over lines that hold something other than a comment: a last `-` without a
/// value has no place of its own in the events.
fn last_content(text: &str, end: usize, limit: usize) -> usize {
    let mut last = end;
    let mut at = next_line(text, end);
    while at < limit {
        let stop = line_end(text, at);
        let line = text.get(at..stop).unwrap_or_default().trim_start();
        if !line.is_empty() && !line.starts_with('#') {
            last = stop;
        }
        at = next_line(text, stop);
    }
    last
}

/// Finds the end of anchors and tags that stand before nothing.
fn properties_end(text: &str, start: usize) -> usize {
    let stop = line_end(text, start);
    let (mut end, mut at) = (start, start);
    while let Some(rest) = text.get(at..stop).filter(|rest| rest.starts_with(['&', '!'])) {
        end = at + rest.find([' ', '\t']).unwrap_or(rest.len());
        at = skip_blanks(text, end);
    }
    end
}

fn skip_blanks(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.len() - rest.trim_start_matches([' ', '\t']).len()
}

/// Finds the end of the line that holds `at`, before its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    match rest.find('\n') {
        Some(0) if at > 0 && text.as_bytes().get(at - 1) == Some(&b'\r') => at - 1,
        Some(stop) if stop > 0 && rest.as_bytes().get(stop - 1) == Some(&b'\r') => at + stop - 1,
        Some(stop) => at + stop,
        None => text.len(),
    }
}

fn next_line(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |stop| at + stop + 1)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}
