//! YAML nodes as JSON values.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, ScalarStyle, Span, Tag};

use super::number::number;
use super::yaml::{Spanned, line_end};
use super::{MAX_DEPTH, Problem};

/// The most bytes that aliases may add to a document, so that a bomb stays small.
const MAX_ALIAS_BYTES: usize = 1 << 20;

/// A walk over the events of one document.
pub(super) struct Nodes<'e, 'a> {
    text: &'a str,
    events: std::iter::Peekable<std::slice::Iter<'e, Spanned<'a>>>,
    anchors: BTreeMap<usize, (Value, usize)>,
    alias_bytes: usize,
    end: usize,
}

impl<'e, 'a> Nodes<'e, 'a> {
    pub(super) fn new(text: &'a str, events: &'e [Spanned<'a>]) -> Self {
        let events = events.iter().peekable();
        Self { text, events, anchors: BTreeMap::new(), alias_bytes: 0, end: 0 }
    }

    /// Gives the next event as it is.
    pub(super) fn next(&mut self) -> Option<&'e Spanned<'a>> {
        self.events.next()
    }

    /// Tells where the next event starts, if that event is a node.
    pub(super) fn peek_start(&mut self) -> Option<usize> {
        let (event, span) = self.events.peek()?;
        if event.is_node() { span.start.byte_offset() } else { None }
    }

    /// Tells where the line of the next event starts, if that event is a node.
    pub(super) fn peek_line_start(&mut self) -> Option<usize> {
        let at = self.peek_start()?;
        Some(self.text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1))
    }

    /// Reads the next node; with it comes the end of its last byte (0 if it has none).
    pub(super) fn value(&mut self) -> Result<(Value, usize), Problem> {
        self.end = 0;
        let value = self.node(1)?.0;
        Ok((value, self.end))
    }

    /// Reads a node at a depth, with an estimate of its size.
    fn node(&mut self, depth: usize) -> Result<(Value, usize), Problem> {
        let Some((event, span)) = self.events.next() else {
            return Err(Problem::new("it ends too early"));
        };
        let line = span.start.line();
        if depth > MAX_DEPTH {
            return Err(Problem::at(line, format!("nested deeper than {MAX_DEPTH}")));
        }
        self.note_end(event, span);
        let (anchor, (value, size)) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, *style, tag.as_deref(), span)?;
                (*anchor, (value, text.len() + 8))
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "seq", line)?;
                (*anchor, self.list(depth)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "map", line)?;
                (*anchor, self.map(depth)?)
            }
            Event::Alias(id) => (0, self.alias(*id, line, depth)?),
            _ => return Err(Problem::at(line, "not a value")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok((value, size))
    }

    fn list(&mut self, depth: usize) -> Result<(Value, usize), Problem> {
        let mut items = Vec::new();
        let mut size = 8;
        loop {
            if let Some((event @ Event::SequenceEnd, span)) = self.events.peek() {
                self.note_end(event, span);
                self.events.next();
                return Ok((Value::Array(items), size));
            }
            let (item, bytes) = self.node(depth + 1)?;
            items.push(item);
            size += bytes;
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Value, usize), Problem> {
        let mut members = Map::new();
        let mut size = 8;
        loop {
            let Some((event, span)) = self.events.next() else {
                return Err(Problem::new("it ends too early"));
            };
            self.note_end(event, span);
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => return Ok((Value::Object(members), size)),
                Event::Scalar(key, _, 0, None) => key.clone().into_owned(),
                _ => return Err(Problem::at(line, "a key that is not plain text")),
            };
            let (value, bytes) = self.node(depth + 1)?;
            size += key.len() + bytes;
            if members.insert(key.clone(), value).is_some() {
                return Err(Problem::at(line, format!("the key `{key}` is there twice")));
            }
        }
    }

    fn alias(&mut self, id: usize, line: usize, depth: usize) -> Result<(Value, usize), Problem> {
        let Some((value, size)) = self.anchors.get(&id).cloned() else {
            return Err(Problem::at(line, "an alias inside of what it stands for"));
        };
        self.alias_bytes += size;
        if self.alias_bytes > MAX_ALIAS_BYTES {
            return Err(Problem::at(line, "aliases that unfold to more than 1 MiB"));
        }
        if too_deep(&value, MAX_DEPTH - depth) {
            return Err(Problem::at(line, format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok((value, size))
    }

    fn note_end(&mut self, event: &Event<'_>, span: &Span) {
        let Some(range) = span.byte_range() else {
            return;
        };
        let end = match event {
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                self.block_end(range.end)
            }
            _ if range.is_empty() => return,
            _ => range.end,
        };
        self.end = self.end.max(end);
    }

    /// Finds the end of a block scalar before its last line break: the parser's own end lies at
    /// the next token, which may be behind some indentation.
    fn block_end(&self, end: usize) -> usize {
        let before = self.text.get(..end).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = before.get(line_start..).unwrap_or_default();
        if line_start == 0 || !rest.bytes().all(|byte| byte == b' ') {
            return end;
        }
        line_end(self.text, line_start - 1)
    }
}

fn too_deep(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left == 0 || items.iter().any(|item| too_deep(item, left - 1)),
        Value::Object(members) => {
            left == 0 || members.values().any(|item| too_deep(item, left - 1))
        }
        _ => false,
    }
}

fn check_tag(tag: Option<&Tag>, expected: &str, line: usize) -> Result<(), Problem> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.core_suffix() == Some(expected) => Ok(()),
        Some(tag) => Err(unknown_tag(tag, line)),
    }
}

fn unknown_tag(tag: &Tag, line: usize) -> Problem {
    Problem::at(line, format!("the tag `{}`, which larder does not know", tag.original()))
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Value, Problem> {
    let plain = style == ScalarStyle::Plain;
    // The parser says `~` for a value that is not there.
    let absent = plain && span.is_empty();
    let Some(tag) = tag else {
        return Ok(if absent {
            Value::Null
        } else if plain {
            resolve(text)
        } else {
            text.into()
        });
    };
    let line = span.start.line();
    let text = if absent { "" } else { text };
    let value = match tag.core_suffix() {
        Some("str") => Some(text.into()),
        Some("null") => Some(resolve(text)).filter(Value::is_null),
        Some("bool") => Some(resolve(text)).filter(Value::is_boolean),
        Some("int" | "float") => Some(resolve(text)).filter(Value::is_number),
        _ => return Err(unknown_tag(tag, line)),
    };
    value.ok_or_else(|| Problem::at(line, format!("`{text}` is not what its tag says")))
}

/// Tells what a plain scalar means: YAML 1.2's null and booleans, JSON's numbers, else a string.
///
/// `no`, `007`, `1_000`, `0x10`, dates and integers that a double cannot hold are strings, so that
/// a program which reads them gets what stands in the file.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => number(text).map_or_else(|| text.into(), Value::Number),
    }
}
