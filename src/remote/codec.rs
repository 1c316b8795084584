//! One entity as JSON: what stands in entity files, and on each line of deltas and packs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{
    Clock, Entity, EntityId, Sibling, Stamp,
    entity::{BODY, DELETED, LAYOUT, PATH},
    json,
    limits::{
        COUNT_MAX, DEVICES_MAX, ENTITY_BYTES_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, NESTING_MAX,
        SIBLINGS_MAX,
    },
};

/// How deep a value lies in an entity: below the fields, the siblings, the sibling.
const NESTING_OWN: usize = 6;

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

/// The part of an entity that counts; the rest is derived from it anew.
#[derive(Deserialize)]
struct Read {
    id: EntityId,
    clock: Clock,
    fields: BTreeMap<String, Vec<Sibling>>,
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
    serde_json::to_string(&written).unwrap_or_default()
}

/// Decodes an entity, refusing what is over a limit or contradicts itself; says why.
pub fn decode(line: &str) -> Result<Entity, String> {
    check_length(line.len())?;
    let value: Value =
        json::parse_nested(line, NESTING_MAX + NESTING_OWN).map_err(|error| error.to_string())?;
    let read: Read = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let entity = Entity { id: read.id, clock: read.clock, fields: read.fields };
    check(&entity, line.len()).map_err(|why| format!("entity {}: {why}", entity.id))?;
    Ok(entity)
}

fn check_length(bytes: usize) -> Result<(), String> {
    if bytes > ENTITY_BYTES_MAX {
        return Err(format!("an entity of {bytes} bytes, over {ENTITY_BYTES_MAX}"));
    }
    Ok(())
}

/// Whether larder itself adds this field to those of a file.
fn is_own(field: &str) -> bool {
    [BODY, PATH, DELETED, LAYOUT].contains(&field)
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
        let name: String = field.chars().take(40).collect();
        // A name that looks like one of larder's own is escaped, and not to be held to that.
        let bytes = field.strip_prefix("$.").unwrap_or(field).len();
        if bytes > FIELD_NAME_BYTES_MAX {
            return Err(format!("a field name of {bytes} bytes: {name:?}"));
        }
        if siblings.is_empty() || siblings.len() > SIBLINGS_MAX {
            return Err(format!("{} values in the field {name:?}", siblings.len()));
        }
        let contents = siblings.iter().flat_map(|sibling| {
            let own = std::iter::once(&sibling.content);
            own.chain(sibling.alternatives.iter().map(|alternative| &alternative.content))
        });
        if contents.into_iter().any(|content| json::is_deeper(&content.value, NESTING_MAX)) {
            return Err(format!("the field {name:?} is nested deeper than {NESTING_MAX} levels"));
        }
        let mut dots = BTreeSet::new();
        for sibling in siblings {
            if !entity.covers(&sibling.dot) {
                return Err(format!("the edit {} is not in its clock", sibling.dot));
            }
            if !dots.insert(&sibling.dot) {
                return Err(format!("two values of the edit {} in {name:?}", sibling.dot));
            }
            if sibling.alternatives.len() > SIBLINGS_MAX {
                return Err(format!("{} alternatives in {name:?}", sibling.alternatives.len()));
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
        let long = "n".repeat(257);
        assert!(refused("\"zip\"", &format!("\"{long}\"")).contains("a field name of 257 bytes"));
        assert!(refused("\"id\":\"a1\",", "\"id\":\"a1\",\"id\":\"a2\",").contains("stands twice"));
    }
}
