//! One entity as JSON: what stands in entity files, and on each line of deltas and packs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{
    Blob, Clock, Entity, EntityId, RECORD_NESTING_MAX, Sibling, Stamp,
    entity::{BLOB, BODY, DELETED, LAYOUT, PATH},
    json,
    limits::{
        COUNT_MAX, DEVICES_MAX, ENTITY_BYTES_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, NESTING_MAX,
        SIBLINGS_MAX, VALUES_MAX,
    },
};

/// An entity with what can be derived of it, for readers that do not want to derive it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    id: &'a EntityId,
    r#type: &'a str,
    version: u64,
    last_modified_at: Stamp,
    last_modified_by: &'a str,
    is_deleted: bool,
    clock: &'a Clock,
    fields: &'a BTreeMap<String, Vec<Sibling>>,
}

/// Encodes an entity on one line, without the line's end.
pub fn encode(entity: &Entity, type_name: &str, is_deleted: bool) -> String {
    let (at, by) = match entity.last_modified() {
        Some((at, device)) => (at, device.as_str()),
        None => (Stamp::default(), ""),
    };
    let written = Written {
        id: &entity.id,
        r#type: type_name,
        version: entity.version(),
        last_modified_at: at,
        last_modified_by: by,
        is_deleted,
        clock: &entity.clock,
        fields: &entity.fields,
    };
    let mut text = Vec::with_capacity(likely_length(entity));
    match serde_json::to_writer(&mut text, &written) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// About how long an entity gets: a little more than most, so that the text need not move as it
/// grows.
fn likely_length(entity: &Entity) -> usize {
    let texts = |sibling: &Sibling| {
        let value = sibling.content.value.as_str().map_or(32, |text| text.len() + text.len() / 16);
        value + sibling.content.source.as_ref().map_or(0, String::len) + 112
    };
    let fields = entity
        .fields
        .iter()
        .map(|(field, siblings)| field.len() + siblings.iter().map(texts).sum::<usize>());
    256 + 64 * entity.clock.len() + fields.sum::<usize>()
}

/// What a line says of its entity that can be derived of it; other keys depend on the rules.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    version: Option<u64>,
    last_modified_at: Option<Stamp>,
    last_modified_by: Option<String>,
}

/// Says what a line claims of its entity that is not so.
pub fn false_claim(line: &str, entity: &Entity) -> Option<String> {
    let Ok(claims) = serde_json::from_str::<Claims>(line) else {
        return Some("what does not read".to_owned());
    };
    let version = entity.version();
    if let Some(claimed) = claims.version.filter(|claimed| *claimed != version) {
        return Some(format!("version {claimed}, but its clock says {version}"));
    }
    let (at, by) = entity.last_modified()?;
    let is_false = claims.last_modified_at.is_some_and(|claimed| claimed != at)
        || claims.last_modified_by.is_some_and(|claimed| claimed != by.as_str());
    is_false.then(|| "that another edit was its last than its clock says".to_owned())
}

/// Decodes an entity, refusing what is over a limit or contradicts itself; says why.
pub fn decode(line: &str) -> Result<Entity, String> {
    check_length(line.len())?;
    let mut entity = json::read_record(line).or_else(|_| decode_slowly(line))?;
    // As the format has them. Somebody else's in another order would be another state of equal values.
    for siblings in entity.fields.values_mut().filter(|siblings| siblings.len() > 1) {
        siblings.sort_by(|a, b| a.dot.cmp(&b.dot));
    }
    check(&entity, line.len()).map_err(|why| format!("entity {}: {why}", entity.id))?;
    Ok(entity)
}

/// Decodes an entity in two passes, so that of what is wrong with its meaning it is not said at
/// which column of the line, and JSON that no reader would take is named first.
fn decode_slowly(line: &str) -> Result<Entity, String> {
    let value = json::parse_nested(line, RECORD_NESTING_MAX).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Says of an entity, without encoding it, whether it is sure to be longer than readers take.
pub fn check_size(entity: &Entity) -> Result<(), String> {
    let (mut bytes, mut values) = (0, 0);
    for sibling in entity.fields.values().flatten() {
        let others = sibling.alternatives.iter().map(|other| &other.content);
        for content in others.chain([&sibling.content]) {
            bytes += content.source.as_ref().map_or(0, String::len);
            bytes += content.value.as_str().map_or(0, str::len);
            values += json::values_in(&content.value);
        }
    }
    check_length(bytes)?;
    if values > VALUES_MAX {
        return Err(format!("more than {VALUES_MAX} values"));
    }
    Ok(())
}

fn check_length(bytes: usize) -> Result<(), String> {
    if bytes > ENTITY_BYTES_MAX {
        return Err(format!("an entity of {bytes} bytes, over {ENTITY_BYTES_MAX}"));
    }
    Ok(())
}

/// Whether larder itself adds this field to those of a file.
fn is_own(field: &str) -> bool {
    [BODY, PATH, DELETED, LAYOUT, BLOB].contains(&field)
}

/// Says what of an entity, encoded in so many bytes, is over a limit or contradicts itself.
pub fn check(entity: &Entity, bytes: usize) -> Result<(), String> {
    check_length(bytes)?;
    if entity.clock.is_empty() || entity.clock.len() > DEVICES_MAX {
        return Err(format!("a clock of {} devices", entity.clock.len()));
    }
    let fields = entity.fields.keys().filter(|field| !is_own(field)).count();
    if fields > FIELDS_MAX {
        return Err(format!("{fields} fields, over {FIELDS_MAX}"));
    }
    for (field, siblings) in &entity.fields {
        let name = || field.chars().take(40).collect::<String>();
        // A name that looks like one of larder's own is escaped, and not to be held to that.
        let bytes = field.strip_prefix("$.").unwrap_or(field).len();
        if bytes > FIELD_NAME_BYTES_MAX {
            return Err(format!("a field name of {bytes} bytes: {:?}", name()));
        }
        if siblings.is_empty() || siblings.len() > SIBLINGS_MAX {
            return Err(format!("{} values in the field {:?}", siblings.len(), name()));
        }
        let contents = siblings.iter().flat_map(|sibling| {
            let own = std::iter::once(&sibling.content);
            own.chain(sibling.alternatives.iter().map(|alternative| &alternative.content))
        });
        for content in contents {
            check_value(field, &content.value)
                .map_err(|why| format!("the field {:?} {why}", name()))?;
        }
        let mut dots = BTreeSet::new();
        for sibling in siblings {
            if !entity.covers(&sibling.dot) {
                return Err(format!("the edit {} is not in its clock", sibling.dot));
            }
            if !dots.insert(&sibling.dot) {
                return Err(format!("two values of the edit {} in {:?}", sibling.dot, name()));
            }
            if sibling.alternatives.len() > SIBLINGS_MAX {
                let count = sibling.alternatives.len();
                return Err(format!("{count} alternatives in {:?}", name()));
            }
        }
    }
    for (device, last) in &entity.clock {
        if last.counter > COUNT_MAX {
            return Err(format!("the clock of {device} counts up to {}", last.counter));
        }
        if last.counter == 0 || last.edits == 0 || last.edits > last.counter {
            return Err(format!(
                "the clock of {device} counts {} edits up to {}",
                last.edits, last.counter
            ));
        }
    }
    Ok(())
}

fn check_value(field: &str, value: &serde_json::Value) -> Result<(), String> {
    if json::is_deeper(value, NESTING_MAX) {
        return Err(format!("is nested deeper than {NESTING_MAX} levels"));
    }
    if field == BLOB {
        Blob::read(value).map_err(|why| format!("names no content: {why}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"id":"a1","type":"task","version":3,"lastModifiedAt":"2026-11-20T10:30:00.123Z","lastModifiedBy":"k3v9x2","isDeleted":false,"clock":{"k3v9x2":[41,2,"2026-11-20T10:30:00.123Z"],"p0aa71":[17,1,"2026-11-19T08:00:00.000Z"]},"fields":{"title":[{"dot":"k3v9x2:41","at":"2026-11-20T10:30:00.123Z","value":"Buy milk"}],"zip":[{"dot":"p0aa71:17","at":"2026-11-19T08:00:00.000Z","value":"007","source":"007"}]}}"#;

    #[test]
    fn writes_what_it_reads() {
        let entity = decode(LINE).unwrap();
        assert_eq!(encode(&entity, "task", false), LINE);
        assert_eq!(entity.version(), 3);
    }

    /// Lines that are sound, and some that are not: those with a piece of them replaced.
    fn odd_lines() -> Vec<String> {
        let pieces = [
            ("{\"id\"", "{\"new\":{\"x\":[1,{}]},\"id\""),
            ("{\"id\"", "{\"new\":1,\"new\":2,\"id\""),
            ("{\"id\"", "{\"new\":{\"x\":1,\"x\":2},\"id\""),
            ("{\"id\"", "{\"\\u0069d\":\"a2\",\"id\""),
            ("\"version\":3", "\"version\":9007199254740993"),
            ("\"version\":3", "\"version\":3,\"version\":3"),
            ("\"Buy milk\"", "9007199254740993"),
            ("\"Buy milk\"", "123456789012345678901234567890"),
            ("\"Buy milk\"", "1e300"),
            ("\"Buy milk\"", "-0.0"),
            ("\"Buy milk\"", "1e999"),
            ("\"Buy milk\"", "{\"x\":1,\"x\":1}"),
            ("\"Buy milk\"", "{\"x\":[1,2.5,null,true,\"\\ud83d\\ude00\"]}"),
            ("\"Buy milk\"", "\"\\ud83d\""),
            ("\"Buy milk\"", "\"\\\\\""),
            ("\"Buy milk\"", "\"\\\"9007199254740993\""),
            ("\"value\":\"Buy milk\"", "\"value\":1,\"value\":1"),
            ("\"value\":\"Buy milk\"", "\"source\":\"x\""),
            ("\"value\":\"Buy milk\"", "\"value\":1,\"new\":1,\"new\":1"),
            ("\"value\":\"Buy milk\"", "\"value\":1,\"new\":{\"x\":1}"),
            ("\"value\":\"Buy milk\"", "\"value\":1,\"source\":null"),
            (
                "\"value\":\"Buy milk\"",
                "\"value\":1,\"alternatives\":[{\"dot\":\"k3v9x2:4\",\"at\":\"2026-11-20T10:30:00+01:00\",\"value\":[]}]",
            ),
            (
                "\"value\":\"Buy milk\"",
                "\"value\":1,\"alternatives\":[{\"dot\":\"k3v9x2:4\",\"at\":\"2026-11-20T10:30:00.123Z\",\"value\":1,\"at\":1}]",
            ),
            ("\"value\":\"Buy milk\"", "\"value\":1,\"alternatives\":null"),
            ("\"zip\"", "\"title\""),
            ("\"p0aa71\":[", "\"k3v9x2\":["),
            ("[17,1,", "[17.0,1,"),
            ("[17,1,", "[17,1,1,"),
            ("[17,1,\"2026-11-19T08:00:00.000Z\"]", "[17,1]"),
            ("p0aa71:17", "p0aa71:+17"),
            ("p0aa71:17", "P0aa71:17"),
            ("2026-11-19T08:00:00.000Z", "2026-02-30T08:00:00.000Z"),
            ("}}", "}}}"),
            ("}}", "}"),
            ("}]}}", "}]}} "),
        ];
        let deep = |levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let nested = [63, 64, 65, 66, 67, 69, 70, 71, 200].into_iter().flat_map(|levels| {
            let value = LINE.replace("\"Buy milk\"", &deep(levels));
            let beside = format!("\"value\":1,\"new\":{}", deep(levels));
            let beside = LINE.replace("\"value\":\"Buy milk\"", &beside);
            [value, beside, LINE.replace("{\"id\"", &format!("{{\"new\":{},\"id\"", deep(levels)))]
        });
        pieces.iter().map(|(from, to)| LINE.replace(from, to)).chain(nested).collect()
    }

    #[test]
    fn one_pass_reads_what_two_do() {
        let (mut sound, mut refused) = (0, 0);
        for line in odd_lines() {
            assert_ne!(line, LINE);
            let (one, two) = (json::read_record(&line).ok(), decode_slowly(&line).ok());
            assert_eq!(one, two, "{line}");
            if one.is_some() { sound += 1 } else { refused += 1 }
        }
        assert!(sound > 10 && refused > 10, "{sound} {refused}");
    }

    #[test]
    fn refuses_what_contradicts_itself() {
        let refused = |from: &str, to: &str| decode(&LINE.replace(from, to)).unwrap_err();
        assert_eq!(
            refused("\"dot\":\"k3v9x2:41\"", "\"dot\":\"k3v9x2:42\""),
            "entity a1: the edit k3v9x2:42 is not in its clock"
        );
        assert_eq!(refused("[41,2,", "[1,2,"), "entity a1: the edit k3v9x2:41 is not in its clock");
        assert!(refused("[17,1,", "[17,18,").contains("counts 18 edits up to 17"));
        assert!(refused("\"a1\"", "\"../a\"").contains("is not a valid id"));
        assert!(refused("\"fields\":{", "\"fields\":{\"x\":[],").contains("0 values in the field"));
        let many: String = (0..999)
            .map(|n| {
                format!(
                    r#""f{n}":[{{"dot":"p0aa71:17","at":"2026-11-19T08:00:00.000Z","value":1}}],"#
                )
            })
            .collect();
        assert!(
            refused("\"fields\":{", &format!("\"fields\":{{{many}"))
                .contains("1001 fields, over 1000")
        );
        let blob = r#""$blob":[{"dot":"p0aa71:17","at":"2026-11-19T08:00:00.000Z","value":{"sha256":"x","bytes":1,"file":"blobs/x-y"}}],"#;
        assert_eq!(
            refused("\"fields\":{", &format!("\"fields\":{{{blob}")),
            "entity a1: the field \"$blob\" names no content: \"x\" is no SHA-256"
        );
        let long = "n".repeat(257);
        assert!(refused("\"zip\"", &format!("\"{long}\"")).contains("a field name of 257 bytes"));
        assert!(refused("\"id\":\"a1\",", "\"id\":\"a1\",\"id\":\"a2\",").contains("stands twice"));
    }
}
