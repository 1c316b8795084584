//! One entity as JSON: what stands in entity files, and on each line of deltas and packs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{
    Clock, Entity, EntityId, Sibling, Stamp, json,
    limits::{DEVICES_MAX, ENTITY_BYTES_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, SIBLINGS_MAX},
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
    if line.len() > ENTITY_BYTES_MAX {
        return Err(format!("an entity of {} bytes, over {ENTITY_BYTES_MAX}", line.len()));
    }
    let value: Value = json::parse(line).map_err(|error| error.to_string())?;
    let read: Read = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let entity = Entity { id: read.id, clock: read.clock, fields: read.fields };
    check(&entity).map_err(|why| format!("entity {}: {why}", entity.id))?;
    Ok(entity)
}

fn check(entity: &Entity) -> Result<(), String> {
    if entity.clock.is_empty() || entity.clock.len() > DEVICES_MAX {
        return Err(format!("a clock of {} devices", entity.clock.len()));
    }
    if entity.fields.len() > FIELDS_MAX {
        return Err(format!("{} fields, over {FIELDS_MAX}", entity.fields.len()));
    }
    for (field, siblings) in &entity.fields {
        let name: String = field.chars().take(40).collect();
        if field.is_empty() || field.len() > FIELD_NAME_BYTES_MAX {
            return Err(format!("a field name of {} bytes: {name:?}", field.len()));
        }
        if siblings.is_empty() || siblings.len() > SIBLINGS_MAX {
            return Err(format!("{} values in the field {name:?}", siblings.len()));
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
        let many: String = (0..1001)
            .map(|n| {
                format!(
                    r#""f{n}":[{{"dot":"p0aa71:17","at":"2026-11-19T08:00:00.000Z","value":1}}],"#
                )
            })
            .collect();
        assert!(
            refused("\"fields\":{", &format!("\"fields\":{{{many}"))
                .contains("1003 fields, over 1000")
        );
        let long = "n".repeat(257);
        assert!(refused("\"zip\"", &format!("\"{long}\"")).contains("a field name of 257 bytes"));
        assert!(refused("\"id\":\"a1\",", "\"id\":\"a1\",\"id\":\"a2\",").contains("stands twice"));
    }
}
