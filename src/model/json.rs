//! JSON as larder takes it: no duplicate keys, no nesting without end, no number that a double
//! cannot hold.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::{
    Entity,
    limits::{NESTING_MAX, VALUES_MAX},
};

/// What a value takes in memory, in bytes: in a list that has grown, or with a key beside it.
const VALUE_BYTES: u64 = 64;
/// What an object takes, in bytes: the first node of a tree.
const OBJECT_BYTES: u64 = 640;

/// As how many values an object counts beside what is in it.
const OBJECT_VALUES: usize = 4;

/// A text that is not JSON as larder takes it; says where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJson(String);

/// Parses one JSON value, refusing duplicate keys, nesting over [`NESTING_MAX`] and numbers that a
/// double cannot hold: other programs would read something else than what was written.
pub fn parse(text: &str) -> Result<Value, InvalidJson> {
    parse_nested(text, NESTING_MAX)
}

/// [`parse`] with another bound on the nesting, for texts that hold values inside values.
pub fn parse_nested(text: &str, nesting_max: usize) -> Result<Value, InvalidJson> {
    check_text(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict::at(0, nesting_max)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| InvalidJson(error.to_string()))?;
    Ok(value)
}

/// Reads a record, as strictly as [`parse`] in one pass over the text.
pub fn read_record(text: &str) -> Result<Entity, InvalidJson> {
    check_text(text)?;
    serde_json::from_str(text).map_err(|error| InvalidJson(error.to_string()))
}

/// Whether a value is nested deeper than so many levels.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    let below = |value: &Value| is_deeper(value, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(below),
        Value::Object(fields) => levels == 0 || fields.values().any(below),
        _ => false,
    }
}

/// Refuses what has to be refused before anything is made of it: more values than fit into memory,
/// and integers that change when they become a double, which serde_json does without a word to those
/// over 64 bits.
fn check_text(text: &str) -> Result<(), InvalidJson> {
    let bytes = text.as_bytes();
    let (mut at, mut values) = (0, 1);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at + 1);
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let rest = text.get(at..).unwrap_or_default();
                let length = rest
                    .bytes()
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .count();
                let number = rest.get(..length).unwrap_or_default();
                check_integer(number)?;
                at += length;
                continue;
            }
            b',' | b'[' | b'{' => {
                values += if byte == b'{' { OBJECT_VALUES } else { 1 };
                if values > VALUES_MAX {
                    return Err(InvalidJson(format!("more than {VALUES_MAX} values")));
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Says whether a text has more values than readers take.
pub fn check_values(text: &str) -> Result<(), InvalidJson> {
    // There are fewer than two in a byte (`{},`), so nearly all texts need no look.
    if text.len() <= VALUES_MAX / 2 { Ok(()) } else { check_text(text) }
}

/// About how many bytes of memory a text takes once it is read: a list of zeros takes many times its own
/// length, and objects of one key each take more.
pub fn weight(text: &[u8]) -> u64 {
    let (mut at, mut values, mut objects) = (0, 1, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(text, at),
            b',' | b'[' => values += 1,
            b'{' => objects += 1,
            _ => {}
        }
    }
    text.len() as u64 + VALUE_BYTES * values + OBJECT_BYTES * objects
}

/// About how many bytes of memory a value takes.
pub fn weight_of(value: &Value) -> u64 {
    match value {
        Value::Array(items) => VALUE_BYTES + items.iter().map(weight_of).sum::<u64>(),
        Value::Object(fields) => {
            let weigh = |(key, value): (&String, &Value)| key.len() as u64 + weight_of(value);
            OBJECT_BYTES + fields.iter().map(weigh).sum::<u64>()
        }
        Value::String(text) => VALUE_BYTES + text.len() as u64,
        _ => VALUE_BYTES,
    }
}

/// How many values the text of a value has, as readers count them.
pub fn values_in(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len().max(1) + items.iter().map(values_in).sum::<usize>(),
        Value::Object(fields) => {
            let within = fields.values().map(values_in).sum::<usize>();
            OBJECT_VALUES + fields.len().saturating_sub(1) + within
        }
        _ => 0,
    }
}

/// How many values there are in a value, itself included.
pub fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// Where the string ends whose content starts at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    let rest = |at| bytes.get(at..).unwrap_or_default();
    while let Some(stop) = memchr::memchr2(b'"', b'\\', rest(at)) {
        if bytes.get(at + stop) == Some(&b'"') {
            return at + stop + 1;
        }
        at += stop + 2;
    }
    bytes.len()
}

fn check_integer(number: &str) -> Result<(), InvalidJson> {
    let digits = number.trim_start_matches('-');
    if digits.len() <= 15 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    let held = number.parse::<f64>().is_ok_and(|double| format!("{double:.0}") == number);
    if held {
        return Ok(());
    }
    Err(InvalidJson(format!("the number {number} is larger than a double can hold; quote it")))
}

/// Reads a value while it counts how deep it is.
#[derive(Clone, Copy)]
pub(super) struct Strict {
    depth: usize,
    nesting_max: usize,
}

/// Says that a key stands twice in one object.
pub(super) fn twice<E: serde::de::Error>(key: &str) -> E {
    E::custom(format!("the key {key:?} stands twice"))
}

impl Strict {
    /// Reads a value that lies so many levels below the whole.
    pub(super) fn at(depth: usize, nesting_max: usize) -> Self {
        Self { depth, nesting_max }
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let nesting_max = self.nesting_max;
        if self.depth >= nesting_max {
            return Err(E::custom(format!("nested deeper than {nesting_max} levels")));
        }
        Ok(Self { depth: self.depth + 1, nesting_max })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.deeper()?)?;
            if object.contains_key(&key) {
                return Err(twice(&key));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn as_many_values_are_counted_in_a_value_as_in_its_text() {
        for text in ["0", "[]", "[0]", "[0,{}]", r#"{"a":[{"b":1,"c":"x,{["}],"d":[[],[]]}"#] {
            let counted = values_in(&parse(text).unwrap());
            let bare: String = text.replace("\"x,{[\"", "0");
            let of = |byte| bare.bytes().filter(|b| *b == byte).count();
            assert_eq!(counted, of(b',') + of(b'[') + OBJECT_VALUES * of(b'{'), "{text}");
        }
    }

    #[test]
    fn what_a_text_weighs() {
        assert_eq!(weight(b"\"a,{[\\\",\""), 9 + 64);
        assert_eq!(weight(b"[0,0,{}]"), 8 + 4 * 64 + 640);
        assert_eq!(weight(b"\"cut"), 4 + 64);
        let value = parse(r#"[0,"abc",{"ab":null}]"#).unwrap();
        assert_eq!(weight_of(&value), 64 + 64 + (64 + 3) + (640 + 2 + 64));
    }

    #[test]
    fn refuses_what_others_would_read_differently() {
        assert!(refused(r#"{"a":1,"b":{"x":1,"x":2}}"#).starts_with(r#"the key "x" stands twice"#));
        assert_eq!(
            refused(r#"{"a":9007199254740993}"#),
            "the number 9007199254740993 is larger than a double can hold; quote it"
        );
        assert!(refused("{\"a\":123456789012345678901234}").contains("larger than a double"));
        assert!(refused("1e999").contains("number out of range"));
        assert!(refused("{} x").contains("trailing characters"));
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        assert!(refused(&deep).contains("nested deeper than 64 levels"));
        let at_limit = parse(&format!("{}1{}", "[".repeat(64), "]".repeat(64))).unwrap();
        assert!(!is_deeper(&at_limit, 64) && is_deeper(&at_limit, 63));
        let fine = format!("{}1{}", "[".repeat(64), "]".repeat(64));
        assert!(parse(&fine).is_ok());
        let many = |values| format!("[{}0]", "0,".repeat(values - 1));
        assert_eq!(refused(&many(VALUES_MAX)), "more than 262144 values");
        assert_eq!(count(&parse(&many(VALUES_MAX - 1)).unwrap()), VALUES_MAX);
        let objects = |count| format!("[{{}}{}]", ",{}".repeat(count - 1));
        let most = (VALUES_MAX - 1) / (1 + OBJECT_VALUES);
        assert_eq!(refused(&objects(most + 1)), "more than 262144 values");
        assert!(parse(&objects(most)).is_ok());
        assert!(check_values(&objects(most)).is_ok() && check_values(&objects(most + 1)).is_err());
    }

    #[test]
    fn takes_the_rest() {
        for text in [r#"{"a":"9007199254740993"}"#, "9007199254740992", "-5", "1.5e3", "[]", "null"]
        {
            assert!(parse(text).is_ok(), "{text}");
        }
    }
}
