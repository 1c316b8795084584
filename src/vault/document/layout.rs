//! Layouts: the text of a structured part in which placeholders stand for the values.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::json::string_length;
use super::spell::{quoted, yaml_key};
use super::yaml::Entry;

/// Spelled values by key.
pub(super) type Values<'a> = BTreeMap<&'a str, Cow<'a, str>>;

const MARK: char = '\0';
/// What is indented deeper is no model for what is added: a short layout could make a file of gigabytes.
const INDENT_MAX: usize = 256;

/// Replaces the values of entries by placeholders.
pub(super) fn extract(text: &str, entries: &[Entry]) -> Option<String> {
    let mut layout = String::with_capacity(text.len());
    let mut at = 0;
    for entry in entries {
        layout.push_str(text.get(at..entry.range.start)?);
        layout.push(MARK);
        layout.push_str(&entry.key);
        layout.push(MARK);
        at = entry.range.end;
    }
    layout.push_str(text.get(at..)?);
    Some(layout)
}

/// Tells whether a line is one that fences front matter.
pub(super) fn is_fence(line: &str, closing: bool) -> bool {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches([' ', '\t']);
    line == "---" || closing && line == "..."
}

/// Writes values into a YAML layout.
///
/// The line of a value that is not there, or was there before, goes; a value without a placeholder
/// gets a line before the closing fence, or at the end of a layout without fences (`fenced` false).
/// `None` if the layout is not one.
pub(super) fn fill_yaml(layout: &str, values: &Values<'_>, fenced: bool) -> Option<String> {
    let mut used = BTreeSet::new();
    let mut lines: Vec<Cow<'_, str>> = Vec::new();
    let mut indent = "";
    for line in layout.split_inclusive('\n') {
        let Some((before, rest)) = line.split_once(MARK) else {
            lines.push(line.into());
            continue;
        };
        let (key, after) = rest.split_once(MARK)?;
        if after.contains(MARK) {
            return None;
        }
        let Some(source) = values.get(key).filter(|_| used.insert(key)) else {
            continue;
        };
        if used.len() == 1 {
            let unindented = before.trim_start_matches(' ');
            indent = before.strip_suffix(unindented).unwrap_or_default();
            indent = Some(indent).filter(|indent| indent.len() <= INDENT_MAX).unwrap_or_default();
        }
        lines.push(member(before, source, after).into());
    }
    let eol = if layout.split('\n').next().is_some_and(|line| line.ends_with('\r')) {
        "\r\n"
    } else {
        "\n"
    };
    let missing = values.iter().filter(|(key, _)| !used.contains(*key));
    let mut added: Vec<Cow<'_, str>> = missing
        .map(|(key, source)| member(&format!("{indent}{}:", yaml_key(key)), source, eol).into())
        .collect();
    let mut tail = Vec::new();
    if fenced && let Some(fence) = closing_fence(&lines) {
        tail = lines.split_off(fence);
    } else if fenced && !added.is_empty() {
        added.insert(0, format!("---{eol}").into());
        tail = vec![format!("---{eol}").into()];
    } else if !fenced && !added.is_empty() && lines.last().is_some_and(|line| !line.ends_with('\n'))
    {
        lines.push(eol.into());
    }
    lines.append(&mut added);
    lines.append(&mut tail);
    Some(lines.concat())
}

fn member(before: &str, source: &str, after: &str) -> String {
    let blank =
        before.ends_with(':') && !source.is_empty() && !source.starts_with(['\r', '\n', ' ']);
    [before, if blank { " " } else { "" }, source, after].concat()
}

fn closing_fence(lines: &[Cow<'_, str>]) -> Option<usize> {
    let last = lines.iter().rposition(|line| is_fence(line, true))?;
    (last > 0).then_some(last)
}

/// Writes values into a JSON layout; commas are put where they belong, whatever a merge of lines
/// made of them. `None` if the layout is not one.
pub(super) fn fill_json(layout: &str, values: &Values<'_>) -> Option<String> {
    let Split { head, members, tail, suffix } = split_json(layout)?;
    let mut used = BTreeSet::new();
    let mut kept: Vec<(&str, String, &str)> = Vec::new();
    for member in members {
        if let Some(source) = values.get(member.key).filter(|_| used.insert(member.key)) {
            kept.push((member.lead, format!("{}{source}", member.name), member.trail));
        }
    }
    let leads = kept.iter().map(|member| member.0).rev();
    let mut leads = leads.filter(|lead| lead.len() <= INDENT_MAX);
    let style = match (leads.next(), leads.next()) {
        (Some(lead), _) if lead.contains('\n') => lead.to_owned(),
        (Some(lead), Some(_)) => lead.to_owned(),
        (Some(_), None) => " ".to_owned(),
        (None, _) if layout.contains("\r\n") => "\r\n  ".to_owned(),
        (None, _) => "\n  ".to_owned(),
    };
    let colon = if kept
        .first()
        .is_some_and(|member| member.1.contains("\":") && !member.1.contains("\": "))
        && !style.contains('\n')
    {
        ":"
    } else {
        ": "
    };
    let tail = match tail {
        _ if !kept.is_empty() => tail.to_owned(),
        _ if used.len() < values.len() && !tail.contains('\n') => {
            style.trim_end_matches(' ').to_owned()
        }
        _ => tail.to_owned(),
    };
    for (key, source) in values.iter().filter(|(key, _)| !used.contains(*key)) {
        kept.push((&style, format!("{}{colon}{source}", quoted(key)), ""));
    }
    let mut out = head.to_owned();
    let last = kept.len().saturating_sub(1);
    for (index, (lead, text, trail)) in kept.iter().enumerate() {
        out.push_str(lead);
        out.push_str(text);
        if index < last {
            out.push_str(trail);
            out.push(',');
        }
    }
    out.push_str(&tail);
    out.push_str(suffix);
    Some(out)
}

struct Split<'a> {
    /// Everything up to and with the brace that opens.
    head: &'a str,
    members: Vec<Member<'a>>,
    /// The blanks before the brace that closes.
    tail: &'a str,
    /// The brace that closes and everything after it.
    suffix: &'a str,
}

struct Member<'a> {
    lead: &'a str,
    /// The key in quotes, the colon and the blanks around it.
    name: &'a str,
    key: &'a str,
    /// The blanks before the comma; empty before the brace, where they are the tail.
    trail: &'a str,
}

fn split_json(layout: &str) -> Option<Split<'_>> {
    let open = layout.find('{')? + 1;
    let (head, mut rest) = layout.split_at_checked(open)?;
    let mut members: Vec<Member<'_>> = Vec::new();
    loop {
        // Blanks and commas between two members; a merge may have lost or doubled commas.
        let gap_end = rest.find(|c: char| !(is_blank(c) || c == ','))?;
        let (gap, after) = rest.split_at_checked(gap_end)?;
        let (trail, lead) = match (gap.find(','), gap.rfind(',')) {
            (Some(first), Some(last)) => (gap.get(..first)?, gap.get(last + 1..)?),
            _ => ("", gap),
        };
        if let Some(member) = members.last_mut() {
            member.trail = trail;
        }
        if after.starts_with('}') {
            return Some(Split { head, members, tail: lead, suffix: after });
        }
        let name_end = after.starts_with('"').then(|| string_length(after)).flatten()?;
        let colon = after.get(name_end..)?.trim_start_matches(is_blank);
        let value = colon.strip_prefix(':')?.trim_start_matches(is_blank);
        let (key, next) = value.strip_prefix(MARK)?.split_once(MARK)?;
        let name = after.get(..after.len() - value.len())?;
        members.push(Member { lead, name, key, trail: "" });
        rest = next;
    }
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\n')
}
