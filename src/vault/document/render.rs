//! From fields back to the text of a file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::layout::{Values, fill_json, fill_yaml};
use super::names::{field_of_text, key_of};
use super::spell::{self, quoted};
use super::{BOM, Document, Format, checked, like, split};
use crate::model::Content;

/// Writes a document as the text of a file.
///
/// A document that [`parse`](super::parse) made comes back byte for byte. One that a merge made, or
/// a device that knows no files, may have a layout that no longer fits, or sources from elsewhere:
/// what is written is read again, and where it does not mean the same, first the sources and then
/// the layout give way to larder's own. Fields of larder's own names are not written.
pub fn render(format: Format, document: &Document) -> String {
    let body = document.body.as_deref().unwrap_or_default();
    if format == Format::Text {
        return body.to_owned();
    }
    let written = written_fields(document);
    let mut last = None;
    for step in Step::ALL {
        let taken = step.take(format, document);
        let Some(text) = assemble(format, &taken) else {
            continue;
        };
        if means(format, &text, &taken, (&written, body)) {
            return text;
        }
        last = Some(text);
    }
    last.unwrap_or_else(|| body.to_owned())
}

/// How much of what a document brings gives way.
#[derive(Clone, Copy)]
enum Step {
    Nothing,
    BadSources,
    Sources,
    Layout,
    Both,
}

impl Step {
    const ALL: [Self; 5] =
        [Self::Nothing, Self::BadSources, Self::Sources, Self::Layout, Self::Both];

    fn take(self, format: Format, document: &Document) -> Cow<'_, Document> {
        let mut taken = match self {
            Self::Nothing => return Cow::Borrowed(document),
            Self::BadSources | Self::Layout => own_sources(format, document),
            Self::Sources | Self::Both => canonical(format, document),
        };
        if matches!(self, Self::Layout | Self::Both) {
            taken.layout = Some(fresh_layout(format, document));
        }
        Cow::Owned(taken)
    }
}

/// Puts the parts together without looking at what comes out; `None` if the layout is not one.
pub(super) fn assemble(format: Format, document: &Document) -> Option<String> {
    let body = document.body.as_deref().unwrap_or_default();
    let text_field = field_of_text(|field| document.fields.contains_key(field));
    let mut values = Values::new();
    for (field, content) in &document.fields {
        if let Some(key) = key_of(field) {
            let source = match &content.source {
                Some(source) => source.into(),
                None => like::canonical(format, &content.value).into(),
            };
            values.insert(key, source);
        }
    }
    if format == Format::Text || document.layout.is_none() && values.is_empty() {
        return Some(body.to_owned());
    }
    let layout = document.layout.as_deref();
    if format == Format::Json {
        if !body.is_empty() {
            values.insert(key_of(&text_field)?, quoted(body).into());
        }
        return fill_json(layout.unwrap_or("{\n}\n"), &values);
    }
    let mut text = fill_yaml(layout.unwrap_or_default(), &values, true)?;
    if !body.is_empty() && !text.is_empty() && !text.ends_with(['\n', BOM]) {
        text.push('\n');
    }
    text.push_str(body);
    Some(text)
}

/// Whether the text that was put together from `taken` reads as these fields and this body.
fn means(
    format: Format,
    text: &str,
    taken: &Document,
    (written, body): (&BTreeMap<&str, &Content>, &str),
) -> bool {
    let split = split(format, text);
    if split.as_ref().is_ok_and(|split| split == taken) {
        // The same parts give the same text: they need not be put together again to be sure.
        return taken.fields.len() == written.len();
    }
    let parsed = checked(format, text, split);
    if parsed.problem.is_some() {
        return written.is_empty() && text == body;
    }
    let mut fields = parsed.document.fields;
    let mut read = parsed.document.body.unwrap_or_default();
    if format == Format::Json && !body.is_empty() {
        let text = fields.remove(&field_of_text(|field| written.contains_key(field)));
        read = text.as_ref().and_then(|text| text.value.as_str()).unwrap_or_default().to_owned();
    }
    read == body
        && fields.len() == written.len()
        && fields.iter().zip(written).all(|(a, b)| a.0 == b.0 && a.1.value == b.1.value)
}

fn written_fields(document: &Document) -> BTreeMap<&str, &Content> {
    let fields = document.fields.iter().filter(|(field, _)| key_of(field).is_some());
    fields.map(|(field, content)| (field.as_str(), content)).collect()
}

/// Drops the sources that do not read as their value on their own.
fn own_sources(format: Format, document: &Document) -> Document {
    let mut own = document.clone();
    for content in own.fields.values_mut() {
        if let Some(source) = &content.source
            && like::read(format, source).as_ref() != Some(&content.value)
        {
            content.source = None;
        }
    }
    own
}

/// Spells every field in one line of JSON, which fits wherever a value fits.
fn canonical(format: Format, document: &Document) -> Document {
    let mut plain = document.clone();
    for content in plain.fields.values_mut() {
        content.source = match format {
            Format::Markdown => Some(spell::json(&content.value)),
            Format::Json | Format::Text => None,
        };
    }
    plain
}

fn fresh_layout(format: Format, document: &Document) -> String {
    let eol = if document.layout.as_ref().is_some_and(|layout| layout.contains("\r\n")) {
        "\r\n"
    } else {
        "\n"
    };
    match format {
        Format::Json => format!("{{{eol}}}{eol}"),
        Format::Markdown | Format::Text => format!("---{eol}---{eol}"),
    }
}
