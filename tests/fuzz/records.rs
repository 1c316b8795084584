//! One record as JSON, and JSON as larder takes it.

use larder::{
    model::{Entity, entity, json, limits},
    remote::codec,
};
use serde_json::Value;

use crate::pieces::text;

/// Whatever is taken for a record keeps every limit and says the same after it was written.
pub(crate) fn entity(data: &[u8]) {
    let Some(line) = text(data) else { return };
    let Ok(entity) = codec::decode(line) else { return };
    check(&entity);
    let written = codec::encode(&entity, "note", false);
    assert!(!written.contains('\n'));
    // A record at the limit may need more room as larder spells it; it is not sent then.
    if written.len() <= limits::ENTITY_BYTES_MAX {
        assert_eq!(codec::decode(&written).expect("it was written by larder"), entity);
    }
    let joined = larder::merge::join(&entity, &entity);
    assert_eq!(joined, entity);
}

/// Holds a record to the limits, not with the code that did when it was read.
pub(crate) fn check(entity: &Entity) {
    let id = entity.id.as_str();
    assert!((1..=64).contains(&id.len()) && !id.contains(['/', '.', '\\']), "{id:?}");
    assert!((1..=limits::DEVICES_MAX).contains(&entity.clock.len()));
    let own = [entity::BODY, entity::PATH, entity::DELETED, entity::LAYOUT, entity::BLOB];
    assert!(entity.fields.len() <= limits::FIELDS_MAX + own.len());
    for last in entity.clock.values() {
        assert!((1..=limits::COUNT_MAX).contains(&last.counter));
        assert!((1..=last.counter).contains(&last.edits));
    }
    for (field, siblings) in &entity.fields {
        assert!(field.len() <= limits::FIELD_NAME_BYTES_MAX + 2, "{field:?}");
        assert!((1..=limits::SIBLINGS_MAX).contains(&siblings.len()));
        for sibling in siblings {
            assert!(entity.covers(&sibling.dot));
            assert!(sibling.alternatives.len() <= limits::SIBLINGS_MAX);
            let others = sibling.alternatives.iter().map(|other| &other.content.value);
            for value in others.chain([&sibling.content.value]) {
                assert!(depth(value) <= limits::NESTING_MAX);
            }
        }
    }
}

/// Whatever is taken for JSON is written and read again as the same, and is nested no deeper than
/// is allowed.
pub(crate) fn json(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(value) = json::parse(text) else { return };
    assert!(depth(&value) <= limits::NESTING_MAX);
    assert!(!json::is_deeper(&value, limits::NESTING_MAX));
    // What larder takes, every other reader takes for the same.
    assert_eq!(serde_json::from_str::<Value>(text).expect("it is JSON"), value);
    let written = value.to_string();
    assert_eq!(json::parse(&written).expect("it was written by larder"), value);
}

/// How deep lists and objects are nested.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
