//! One file as fields, and fields as a file, without losing a byte.
//!
//! A file is split into a *layout* and *values*. The layout is the text of the structured part with
//! a placeholder `NUL key NUL` where each top-level value stood: comments, the order and quotes of
//! keys, indentation, fences, line ends and a byte order mark all live there, and since it is text
//! it merges line by line. A value is a [`Content`]: what it means, and how it was spelled.

mod json;
mod layout;
mod like;
mod names;
mod node;
mod number;
mod render;
mod spell;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::model::limits::FILE_VALUES_MAX;
use crate::model::{Content, json as strict};
use layout::{extract, is_fence};
use names::field_of;
pub use names::field_of_text;
pub use render::render;

/// How deep lists and objects of a field may be nested.
pub const MAX_DEPTH: usize = 64;
/// How many fields an entity may have.
pub const MAX_FIELDS: usize = 1000;
/// How many bytes the name of a field may have.
pub const MAX_FIELD_NAME_BYTES: usize = 256;

/// How many values there may be in the fields of one file.
pub const MAX_VALUES: usize = FILE_VALUES_MAX;

const BOM: char = '\u{feff}';

/// A file in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// The structured part with placeholders for the values; absent where there is none.
    pub layout: Option<String>,
    /// The fields, by larder's names: a key that collides with one of larder's own (`body`, `path`
    /// and all that start with `$`) is stored as `$.key`.
    pub fields: BTreeMap<String, Content>,
    /// The rest of the text; absent where that is empty.
    pub body: Option<String>,
}

/// What kind of file a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text with YAML front matter.
    Markdown,
    /// One JSON object.
    Json,
    /// Text without fields. [`render`] writes nothing but the body, so the caller keeps other
    /// fields of such an entity out of its comparison with the file.
    Text,
}

impl Format {
    /// Tells the format from the extension of a path.
    pub fn of_path(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Self::Markdown,
            "json" => Self::Json,
            _ => Self::Text,
        }
    }
}

/// What [`parse`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The file in parts; with a problem, all of its text is the body.
    pub document: Document,
    /// Why the structured part was not read.
    pub problem: Option<Problem>,
}

/// Why a file is kept as text although its name promises fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, from 1, if one is to blame.
    pub line: Option<usize>,
    /// What is wrong, to follow "line 3: ".
    pub reason: String,
}

impl Problem {
    fn new(reason: impl Into<String>) -> Self {
        Self { line: None, reason: reason.into() }
    }

    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line: Some(line), reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Splits the text of a file into fields, layout and body.
///
/// [`render`] of the document is the text again, byte for byte, whatever the text is.
pub fn parse(format: Format, text: &str) -> Parsed {
    checked(format, text, split(format, text))
}

fn split(format: Format, text: &str) -> Result<Document, Problem> {
    match format {
        Format::Text => Ok(whole(text)),
        Format::Markdown => parse_markdown(text),
        Format::Json => parse_json(text),
    }
}

/// Makes sure that the parts of a text are the text again.
fn checked(format: Format, text: &str, parts: Result<Document, Problem>) -> Parsed {
    let parsed = parts.and_then(|document| match render::assemble(format, &document) {
        // The law above does not rest on the splitters being right.
        Some(again) if again == text => Ok(document),
        _ => Err(Problem::new("a spelling that larder could not give back unchanged")),
    });
    match parsed {
        Ok(document) => Parsed { document, problem: None },
        Err(problem) => Parsed { document: whole(text), problem: Some(problem) },
    }
}

/// Spells a value for YAML front matter, as far as it can in the style of an older source.
///
/// What comes back reads as the value, for every value within the limits of this module.
pub fn spell(value: &Value, like: Option<&str>) -> String {
    match like {
        Some(like) => like::spell_like(Format::Markdown, value, like),
        None => spell::yaml(value),
    }
}

/// Makes the content of a value that a merge made, spelled like what stood there before: a block
/// list stays one, quotes and comments of items that are still there stay.
pub fn respell(format: Format, value: Value, like: Option<&Content>) -> Content {
    if format == Format::Text {
        return Content::new(value);
    }
    let canonical = like::canonical(format, &value);
    let source = like.and_then(|like| like.source.as_deref());
    let spelled = source.map(|like| like::spell_like(format, &value, like));
    Content { value, source: spelled.filter(|spelled| *spelled != canonical) }
}

impl Document {
    /// Tells the id that the file itself gives, if it is a valid one.
    pub fn id(&self) -> Option<String> {
        let id = match &self.fields.get("id")?.value {
            Value::String(id) => id.clone(),
            Value::Number(number) if number.is_u64() => number.to_string(),
            _ => return None,
        };
        is_name(&id, "_-").then_some(id)
    }
}

fn is_name(text: &str, signs: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
}

fn whole(text: &str) -> Document {
    Document { body: some_text(text), ..Document::default() }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Splits `---` front matter off a text: opening fence with a byte order mark, inner text, closing
/// fence, and the rest.
fn split_fences(text: &str) -> Option<[&str; 4]> {
    let start = if text.starts_with(BOM) { BOM.len_utf8() } else { 0 };
    let first = text.get(start..)?.split_inclusive('\n').next()?;
    if !first.ends_with('\n') || !is_fence(first, false) {
        return None;
    }
    let open = start + first.len();
    let mut at = open;
    for line in text.get(open..)?.split_inclusive('\n') {
        let end = at + line.len();
        if is_fence(line, true) {
            return Some([
                text.get(..open)?,
                text.get(open..at)?,
                text.get(at..end)?,
                text.get(end..)?,
            ]);
        }
        at = end;
    }
    None
}

fn parse_markdown(text: &str) -> Result<Document, Problem> {
    let Some([open, inner, close, body]) = split_fences(text) else {
        let Some(body) = text.strip_prefix(BOM) else {
            return Ok(whole(text));
        };
        let layout = Some(BOM.to_string());
        return Ok(Document { layout, body: some_text(body), ..Document::default() });
    };
    let entries = yaml::split(inner).map_err(|problem| Problem {
        // The opening fence is the first line.
        line: problem.line.map(|line| line + 1),
        ..problem
    })?;
    let inner_layout = extract(inner, &entries).unwrap_or_default();
    let layout = Some(format!("{open}{inner_layout}{close}"));
    let fields = contents(Format::Markdown, inner, entries)?;
    Ok(Document { layout, fields, body: some_text(body) })
}

fn parse_json(text: &str) -> Result<Document, Problem> {
    if text.is_empty() {
        return Ok(Document::default());
    }
    let start = if text.starts_with(BOM) { BOM.len_utf8() } else { 0 };
    let inner = text.get(start..).unwrap_or_default();
    let entries = json::split(inner)?;
    let layout = extract(inner, &entries).unwrap_or_default();
    let layout = Some(format!("{}{layout}", text.get(..start).unwrap_or_default()));
    let fields = contents(Format::Json, inner, entries)?;
    Ok(Document { layout, fields, body: None })
}

fn contents(
    format: Format,
    text: &str,
    entries: Vec<yaml::Entry>,
) -> Result<BTreeMap<String, Content>, Problem> {
    if entries.len() > MAX_FIELDS {
        return Err(Problem::new(format!("more than {MAX_FIELDS} fields")));
    }
    if entries.iter().map(|entry| strict::count(&entry.value)).sum::<usize>() > MAX_VALUES {
        return Err(Problem::new(format!("more than {MAX_VALUES} values")));
    }
    let mut fields = BTreeMap::new();
    for yaml::Entry { key, range, value } in entries {
        let field = field_of(&key);
        if key.chars().any(char::is_control) {
            return Err(Problem::new(format!("a control character in the key {key:?}")));
        }
        // As the user spelled it: what it is escaped by is larder's own.
        if key.len() > MAX_FIELD_NAME_BYTES {
            return Err(Problem::new(format!("a key of more than {MAX_FIELD_NAME_BYTES} bytes")));
        }
        let raw = text.get(range).unwrap_or_default();
        let source = (like::canonical(format, &value) != raw).then(|| raw.to_owned());
        fields.insert(field, Content { value, source });
    }
    Ok(fields)
}

#[cfg(test)]
mod tests;
