//! Files of the vault as fields, and fields as files.

use std::collections::BTreeMap;

use larder::{
    model::{Content, EntityId, json},
    vault::document::{
        Document, Format, MAX_DEPTH, MAX_FIELD_NAME_BYTES, MAX_FIELDS, parse, render, respell,
    },
};
use serde_json::Value;

use crate::{
    pieces::{Pieces, text},
    records::depth,
};

const FORMATS: [Format; 3] = [Format::Markdown, Format::Json, Format::Text];

/// Any text is given back byte for byte, and its fields keep the limits.
pub(crate) fn file(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for format in FORMATS {
        let parsed = parse(format, text);
        assert_eq!(render(format, &parsed.document), text, "{format:?}");
        let document = &parsed.document;
        assert!(document.fields.len() <= MAX_FIELDS);
        for (field, content) in &document.fields {
            assert!(field.strip_prefix("$.").unwrap_or(field).len() <= MAX_FIELD_NAME_BYTES);
            assert!(depth(&content.value) <= MAX_DEPTH, "{field}");
        }
        if let Some(id) = document.id() {
            assert!(EntityId::new(id).is_ok());
        }
        if parsed.problem.is_some() {
            assert_eq!(document.body.as_deref().unwrap_or_default(), text);
            assert!(document.fields.is_empty() && document.layout.is_none());
        }
    }
}

/// A field that is set has that value when the file is read again, and so have all others theirs;
/// a field that is removed is gone.
pub(crate) fn edit(data: &[u8]) {
    let mut pieces = Pieces::of(data);
    let format = format_of(pieces.text());
    let parsed = parse(format, pieces.text());
    if parsed.problem.is_some() {
        return;
    }
    let mut document = parsed.document;
    while let (Some(field), Ok(value)) = (field_of(pieces.text()), json::parse(pieces.text())) {
        let content = respell(format, value, document.fields.get(&field));
        document.fields.insert(field, content);
    }
    if document.fields.len() > MAX_FIELDS {
        return;
    }
    reads_as_meant(format, &document);
    if let Some((field, _)) = document.fields.pop_first() {
        let text = reads_as_meant(format, &document);
        assert!(!parse(format, &text).document.fields.contains_key(&field));
    }
}

/// A document that somebody else put together, with a layout and sources that may be anything, is
/// written so that it reads as its fields and its body.
pub(crate) fn written_by_others(data: &[u8]) {
    let mut pieces = Pieces::of(data);
    let format = format_of(pieces.text());
    let (layout, body, fields) = (pieces.text(), pieces.text(), pieces.text());
    let Ok(Value::Object(given)) = json::parse_nested(fields, MAX_DEPTH + 2) else { return };
    let mut fields = BTreeMap::new();
    for (key, content) in given {
        let Some(field) = field_of(&key) else { return };
        let Ok(content) = serde_json::from_value::<Content>(content) else { return };
        if depth(&content.value) > MAX_DEPTH {
            return;
        }
        fields.insert(field, content);
    }
    if fields.len() > MAX_FIELDS {
        return;
    }
    if format == Format::Json && !body.is_empty() {
        // No file looks like this. So that the text is not lost it becomes a field.
        let document = Document { layout: None, fields, body: Some(body.to_owned()) };
        let text = render(format, &document);
        assert!(
            parse(format, &text).problem.is_none() || document.fields.is_empty() && text == body
        );
        return;
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    reads_as_meant(format, &Document { layout: some(layout), fields, body: some(body) });
}

fn format_of(text: &str) -> Format {
    Format::of_path(if text == "json" { "a.json" } else { "a.md" })
}

/// The name under which a key of a file is kept; nothing for one that no file may have.
fn field_of(key: &str) -> Option<String> {
    if key.is_empty() || key.len() > MAX_FIELD_NAME_BYTES || key.chars().any(char::is_control) {
        return None;
    }
    let is_own = ["body", "path"].contains(&key) || key.starts_with('$');
    Some(if is_own { format!("$.{key}") } else { key.to_owned() })
}

/// Writes a document, reads it again, and compares what both mean.
fn reads_as_meant(format: Format, document: &Document) -> String {
    let text = render(format, document);
    let again = parse(format, &text);
    let body = |document: &Document| document.body.clone().unwrap_or_default();
    let values = |document: &Document| -> BTreeMap<String, Value> {
        let fields = document.fields.iter();
        fields.map(|(field, content)| (field.clone(), content.value.clone())).collect()
    };
    assert_eq!(values(&again.document), values(document), "{text:?}");
    assert_eq!(body(&again.document), body(document), "{text:?}");
    assert_eq!(render(format, &again.document), text);
    text
}
