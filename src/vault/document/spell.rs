//! How a value is written when no source says how.

use serde_json::Value;

use super::node::resolve;

/// Spells a value for YAML front matter in larder's own way.
///
/// A string is plain where no reader of YAML 1.1 or 1.2 could take it for something else, a list of
/// scalars is `[a, b]`, and everything else is JSON, which YAML contains.
pub(super) fn yaml(value: &Value) -> String {
    match value {
        Value::Array(items) if items.iter().all(is_scalar) => {
            let items: Vec<String> = items.iter().map(yaml_item).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) if is_plain(text, false) => text.clone(),
        value => json(value),
    }
}

/// Spells a value as an item of a flow list.
pub(super) fn yaml_item(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text, true) => text.clone(),
        value => json(value),
    }
}

/// Spells a key of front matter.
pub(super) fn yaml_key(key: &str) -> String {
    if is_plain(key, true) { key.to_owned() } else { quoted(key) }
}

/// Spells a value as JSON in one line, with a blank after `,` and `:`.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(json).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, item)| format!("{}: {}", quoted(key), json(item)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// Spells a string in double quotes, valid in JSON and in YAML alike.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if is_printable(char) => out.push(char),
            char => {
                // Everything that is not printable lies in the basic plane.
                out.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
        }
    }
    out.push('"');
    out
}

/// Tells whether a value is neither a list nor an object.
pub(super) fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

/// Tells whether a character may stand in a file as it is: what YAML calls printable, less the
/// blanks that nobody can tell from a plain one.
fn is_printable(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        && (!char.is_whitespace() || matches!(char, ' ' | '\u{a0}' | '\u{3000}'))
}

/// Tells whether a string can stand without quotes and is a string for every reader.
pub(super) fn is_plain(text: &str, in_flow: bool) -> bool {
    has_plain_shape(text, in_flow) && !is_ambiguous(text)
}

/// Tells whether a string can stand without quotes, whatever readers then take it for.
pub(super) fn has_plain_shape(text: &str, in_flow: bool) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    (first.is_alphanumeric() || matches!(first, '_' | '/' | '(' | '$') || first > '\u{ff}')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(|c| c == ' ' || is_printable(c) && !c.is_whitespace())
        && !(in_flow && text.contains([',', '[', ']', '{', '}', '?']))
}

/// Tells whether some reader takes the plain text for something other than a string.
pub(super) fn is_ambiguous(text: &str) -> bool {
    if !resolve(text).is_string() {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null")
    {
        return true;
    }
    // Octals, sexagesimals, dates and the like: made of digits and a few letters and signs.
    text.starts_with(|c: char| c.is_ascii_digit())
        && lower.bytes().all(|byte| byte.is_ascii_hexdigit() || b"xozt_.:+- ".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{json as spell_json, yaml};

    #[test]
    fn strings_are_plain_only_where_every_reader_agrees() {
        for text in
            ["Buy milk", "a:b", "http://x.org/#a", "2 eggs", "größer", "買う", "x, y", "it's"]
        {
            assert_eq!(yaml(&json!(text)), text);
        }
        for text in [
            "",
            "no",
            "Yes",
            "on",
            "007",
            "1_000",
            "0o7",
            "1:30",
            "2026-11-20",
            "0x1F",
            "~",
            "null",
            "- a",
            "a: b",
            "a #b",
            "a:",
            " a",
            "a ",
            "#a",
            "@a",
            "`a",
            "%a",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "'a'",
            "\"a\"",
            "[a]",
            "{a}",
            "? a",
            "a\tb",
            "---",
            "...",
            ".5",
            "=",
            "<<",
            "1e3",
            "\u{a0}a",
            "a\u{85}",
            "\u{feff}",
            "a\u{3000}",
        ] {
            assert!(yaml(&json!(text)).starts_with('"'), "{text:?}");
        }
    }

    #[test]
    fn lists_of_scalars_are_flow_and_the_rest_is_json() {
        assert_eq!(yaml(&json!(["a", "b, c", 1, null])), "[a, \"b, c\", 1, null]");
        assert_eq!(yaml(&json!([["a"], {"k": "v"}])), r#"[["a"], {"k": "v"}]"#);
        assert_eq!(yaml(&json!({"k": [1, 2]})), r#"{"k": [1, 2]}"#);
        assert_eq!(yaml(&json!(["a?"])), "[\"a?\"]");
        assert_eq!(yaml(&json!([])), "[]");
        assert_eq!(yaml(&json!("a\nb")), r#""a\nb""#);
        assert_eq!(spell_json(&json!("a")), "\"a\"");
    }
}
