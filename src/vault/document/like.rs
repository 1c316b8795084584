//! Spelling a new value the way an older one was spelled.

use std::ops::Range;

use serde_json::{Map, Value};

use super::Format;
use super::layout::{Values, extract, fill_json, fill_yaml};
use super::spell::{self, has_plain_shape, is_ambiguous, is_scalar, quoted};
use super::{json, yaml};

/// Spells a value, as far as it can in the style of an older source.
///
/// What comes back always reads as the value: where the older style cannot hold it, larder's own is
/// taken.
pub(super) fn spell_like(format: Format, value: &Value, like: &str) -> String {
    let styled = match value {
        Value::String(text) if format == Format::Markdown => string(text, like),
        Value::Array(items) => {
            block_list(format, items, like).or_else(|| flow_list(format, items, like))
        }
        Value::Object(members) => map(format, members, like),
        _ => None,
    };
    styled
        .filter(|source| read(format, source).as_ref() == Some(value))
        .unwrap_or_else(|| canonical(format, value))
}

/// Spells a value in larder's own way.
pub(super) fn canonical(format: Format, value: &Value) -> String {
    match format {
        Format::Json => spell::json(value),
        Format::Markdown | Format::Text => spell::yaml(value),
    }
}

/// Reads a source on its own; `None` if it is not one value, or needs an anchor from elsewhere.
pub(super) fn read(format: Format, source: &str) -> Option<Value> {
    if format == Format::Json {
        return json::value(source).ok();
    }
    let gap = if source.is_empty() || source.starts_with(['\r', '\n']) { "" } else { " " };
    let mut entries = yaml::split(&format!("k:{gap}{source}\n")).ok()?.into_iter();
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Some(entry.value),
        _ => None,
    }
}

fn eol_of(like: &str) -> &'static str {
    let first = like.split('\n').next().unwrap_or_default();
    if first.ends_with('\r') { "\r\n" } else { "\n" }
}

fn string(text: &str, like: &str) -> Option<String> {
    match like.chars().next()? {
        '"' => Some(quoted(text)),
        '\'' => single_quoted(text),
        '|' | '>' => block_string(text, like),
        // The older one stood plain though some readers take it for a date or a word like `no`: so
        // may the new one.
        first if is_ambiguous(like) && has_plain_shape(text, false) => {
            let same_kind =
                text.starts_with(|c: char| c.is_ascii_digit()) == first.is_ascii_digit();
            same_kind.then(|| text.to_owned())
        }
        _ => None,
    }
}

fn single_quoted(text: &str) -> Option<String> {
    let plain = quoted(text);
    // What needs an escape has no spelling in single quotes.
    let escaped = plain.replace("\\\"", "").contains('\\');
    (!escaped).then(|| format!("'{}'", text.replace('\'', "''")))
}

fn block_string(text: &str, like: &str) -> Option<String> {
    let eol = eol_of(like);
    let content = like.lines().skip(1).find(|line| !line.trim().is_empty())?;
    let indent: String = content.chars().take_while(|c| *c == ' ').collect();
    let (header, lines) = match text.strip_suffix('\n') {
        Some(lines) => ("|", lines),
        None => ("|-", text),
    };
    let mut out = header.to_owned();
    for line in lines.split('\n') {
        if quoted(line).replace("\\\"", "").replace("\\\\", "").contains('\\') {
            return None;
        }
        out.push_str(eol);
        if !line.is_empty() {
            out.push_str(&indent);
            out.push_str(line);
        }
    }
    Some(out)
}

/// Respells a list whose older source has one `- item` a line: lines of items that are still
/// there stay as they are, with their comments.
fn block_list(format: Format, items: &[Value], like: &str) -> Option<String> {
    if format == Format::Json || items.is_empty() {
        return None;
    }
    let Value::Array(old) = read(format, like)? else {
        return None;
    };
    let (header, rest) = like.split_once('\n')?;
    let first = rest.lines().find(|line| line.trim_start().starts_with('-'))?;
    let indent = first.get(..first.len() - first.trim_start().len())?;
    let dash = format!("{indent}-");
    let starts = |line: &&str| {
        line.strip_prefix(dash.as_str())
            .is_some_and(|after| after.trim_start() != after || after.is_empty())
    };
    let gap: String = first.get(dash.len()..)?.chars().take_while(|c| *c == ' ').collect();
    let gap = if gap.is_empty() { " ".to_owned() } else { gap };
    let mut segments: Vec<String> = Vec::new();
    let mut lead = String::new();
    for line in rest.split_inclusive('\n') {
        match segments.last_mut() {
            _ if starts(&line) => segments.push(line.to_owned()),
            Some(segment) => segment.push_str(line),
            None => lead.push_str(line),
        }
    }
    if segments.len() != old.len() {
        return None;
    }
    let eol = eol_of(like);
    let sample = segments.first().and_then(|line| line.trim_start().get(1..)).map(str::trim_start);
    let sample = sample.map(str::to_owned);
    let mut old: Vec<Option<(Value, String)>> = old.into_iter().zip(segments).map(Some).collect();
    let mut out = format!("{header}\n{lead}");
    for item in items {
        match take_equal(&mut old, item) {
            Some(segment) => out.push_str(segment.trim_end_matches(['\r', '\n'])),
            None => out.push_str(&format!(
                "{dash}{gap}{}",
                new_item(format, item, sample.as_deref(), false)
            )),
        }
        out.push_str(eol);
    }
    out.truncate(out.len() - eol.len());
    Some(out)
}

/// Respells a list in brackets: items that are still there keep their spelling.
fn flow_list(format: Format, items: &[Value], like: &str) -> Option<String> {
    let old: Vec<(Range<usize>, Value)> = match format {
        Format::Json => json::split_list(like).ok()?,
        Format::Markdown | Format::Text => yaml::flow_items(like)?,
    };
    let head = like.get(..old.first()?.0.start)?;
    let tail = like.get(old.last()?.0.end..)?;
    let opening = head.find('[').and_then(|at| head.get(at + 1..))?;
    let between = old.first().zip(old.get(1)).and_then(|(a, b)| like.get(a.0.end..b.0.start));
    let separator = match between {
        Some(between) if !between.contains('#') => between.to_owned(),
        _ if opening.contains('\n') && !opening.contains('#') => format!(",{opening}"),
        _ => ", ".to_owned(),
    };
    if items.is_empty() {
        return None;
    }
    let sample = like.get(old.first()?.0.start..);
    let mut old: Vec<Option<(Value, String)>> = old
        .into_iter()
        .map(|(range, value)| like.get(range).map(|raw| (value, raw.to_owned())))
        .collect();
    let spelled: Vec<String> = items
        .iter()
        .map(|item| {
            take_equal(&mut old, item).unwrap_or_else(|| new_item(format, item, sample, true))
        })
        .collect();
    Some(format!("{head}{}{tail}", spelled.join(&separator)))
}

fn take_equal(old: &mut [Option<(Value, String)>], item: &Value) -> Option<String> {
    let slot = old.iter_mut().find(|slot| slot.as_ref().is_some_and(|(value, _)| value == item))?;
    slot.take().map(|(_, source)| source)
}

/// Spells an item that was not there before, with the quotes of one that was.
fn new_item(format: Format, item: &Value, sample: Option<&str>, in_flow: bool) -> String {
    match (item, sample.and_then(|sample| sample.chars().next())) {
        _ if format == Format::Json => spell::json(item),
        (Value::String(text), Some('"')) => quoted(text),
        (Value::String(text), Some('\'')) => single_quoted(text).unwrap_or_else(|| quoted(text)),
        _ if in_flow || !is_scalar(item) => spell::yaml_item(item),
        _ => spell::yaml(item),
    }
}

/// Respells an object member by member: those that did not change keep their text.
fn map(format: Format, members: &Map<String, Value>, like: &str) -> Option<String> {
    let (header, block) = match format {
        Format::Json => ("", like),
        Format::Markdown | Format::Text => like.split_at_checked(like.find('\n')? + 1)?,
    };
    if members.is_empty() {
        return None;
    }
    let entries = match format {
        Format::Json => json::split(block),
        Format::Markdown | Format::Text => yaml::split(block),
    }
    .ok()?;
    let mut values = Values::new();
    for (key, value) in members {
        let old = entries.iter().find(|entry| entry.key == *key);
        let source = old.and_then(|entry| block.get(entry.range.clone()));
        let same = old.is_some_and(|entry| entry.value == *value);
        let spelled = match source {
            Some(source) if same => source.into(),
            Some(source) => spell_like(format, value, source).into(),
            None => canonical(format, value).into(),
        };
        values.insert(key, spelled);
    }
    let layout = extract(block, &entries)?;
    let filled = match format {
        Format::Json => fill_json(&layout, &values)?,
        Format::Markdown | Format::Text => fill_yaml(&layout, &values, false)?,
    };
    let filled = filled.strip_suffix('\n').unwrap_or(&filled);
    Some(format!("{header}{}", filled.strip_suffix('\r').unwrap_or(filled)))
}
