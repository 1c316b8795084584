//! A JSON object read with the places of its members.
//!
//! `serde_json` alone takes the last of two equal keys, rounds numbers without a word and tells no
//! places; it is used for what is inside a string.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};

use super::number::{looks_like_number, number};
use super::yaml::Entry;
use super::{MAX_DEPTH, Problem};

/// Splits a text that is one JSON object into its members, in the order of the text.
///
/// # Errors
/// Anything else, with the line in `text`.
pub(super) fn split(text: &str) -> Result<Vec<Entry>, Problem> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    if reader.peek() != Some(b'{') {
        return Err(reader.problem("not a JSON object"));
    }
    let mut entries = Vec::new();
    let mut keys = BTreeSet::new();
    reader.members(1, |reader, key, range, value| {
        if !keys.insert(key.clone()) {
            return Err(reader.twice(&key));
        }
        entries.push(Entry { key, range, value });
        Ok(())
    })?;
    reader.finish()?;
    Ok(entries)
}

/// Splits a list into the places and values of its items.
pub(super) fn split_list(text: &str) -> Result<Vec<(Range<usize>, Value)>, Problem> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    if reader.peek() != Some(b'[') {
        return Err(reader.problem("not a JSON list"));
    }
    let mut items = Vec::new();
    reader.items(1, |range, value| items.push((range, value)))?;
    reader.finish()?;
    Ok(items)
}

/// Reads a text that is one JSON value.
pub(super) fn value(text: &str) -> Result<Value, Problem> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    let value = reader.value(2)?;
    reader.finish()?;
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, Problem> {
        if depth > MAX_DEPTH + 1 {
            return Err(self.problem(format!("nested deeper than {MAX_DEPTH}")));
        }
        match self.peek() {
            Some(b'{') => {
                let mut map = Map::new();
                self.members(depth, |reader, key, _, value| {
                    if map.contains_key(&key) {
                        return Err(reader.twice(&key));
                    }
                    map.insert(key, value);
                    Ok(())
                })?;
                Ok(Value::Object(map))
            }
            Some(b'[') => {
                let mut list = Vec::new();
                self.items(depth, |_, value| list.push(value))?;
                Ok(Value::Array(list))
            }
            Some(b'"') => Ok(Value::String(self.string()?)),
            _ => self.word(),
        }
    }

    fn members(
        &mut self,
        depth: usize,
        mut take: impl FnMut(&Self, String, Range<usize>, Value) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        self.at += 1;
        self.blanks();
        if self.skip(b'}') {
            return Ok(());
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.problem("no key in double quotes"));
            }
            let key = self.string()?;
            self.blanks();
            if !self.skip(b':') {
                return Err(self.problem("no colon after a key"));
            }
            self.blanks();
            let start = self.at;
            let value = self.value(depth + 1)?;
            take(self, key, start..self.at, value)?;
            self.blanks();
            if self.skip(b'}') {
                return Ok(());
            }
            if !self.skip(b',') {
                return Err(self.problem("neither a comma nor the end of the object"));
            }
        }
    }

    fn items(
        &mut self,
        depth: usize,
        mut take: impl FnMut(Range<usize>, Value),
    ) -> Result<(), Problem> {
        self.at += 1;
        self.blanks();
        if self.skip(b']') {
            return Ok(());
        }
        loop {
            self.blanks();
            let start = self.at;
            let value = self.value(depth + 1)?;
            take(start..self.at, value);
            self.blanks();
            if self.skip(b']') {
                return Ok(());
            }
            if !self.skip(b',') {
                return Err(self.problem("neither a comma nor the end of the list"));
            }
        }
    }

    fn string(&mut self) -> Result<String, Problem> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(length) = string_length(rest) else {
            return Err(self.problem("a string that does not end"));
        };
        let raw = rest.get(..length).unwrap_or_default();
        let text = serde_json::from_str(raw)
            .map_err(|_| self.problem("a string with a bad escape or a control character"))?;
        self.at += length;
        Ok(text)
    }

    fn word(&mut self) -> Result<Value, Problem> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')))
            .unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let value = match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match number(word) {
                Some(number) => Value::Number(number),
                None if looks_like_number(word) => {
                    return Err(
                        self.problem(format!("the number {word}, which a double cannot hold"))
                    );
                }
                None => return Err(self.problem("not a JSON value")),
            },
        };
        self.at += length;
        Ok(value)
    }

    fn finish(&mut self) -> Result<(), Problem> {
        self.blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.problem("something after the end of the JSON value")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn twice(&self, key: &str) -> Problem {
        self.problem(format!("the key `{key}` is there twice"))
    }

    fn problem(&self, reason: impl Into<String>) -> Problem {
        let before = self.text.as_bytes().iter().take(self.at);
        Problem::at(1 + before.filter(|byte| **byte == b'\n').count(), reason)
    }
}

/// Tells how many bytes the string literal at the start of a text has, quotes included.
pub(super) fn string_length(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    None
}
