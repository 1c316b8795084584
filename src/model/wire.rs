//! Records as JSON: each value is read once, straight into its place.
//!
//! What serde derives would read siblings into a tree first, because of the parts that lie flat in
//! them, and make a copy of every text. A replica reads and writes these by the hundred thousand.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::Value;

use super::{
    Alternative, Content, Dot, Entity, LastEdit, Sibling, Stamp,
    json::{Strict, twice},
    limits::NESTING_MAX,
};

/// How deep everything in a record may be nested: a value lies below the fields, the siblings, the
/// sibling, and a value that waits below two more.
pub const RECORD_NESTING_MAX: usize = NESTING_MAX + 6;

/// Reads what is written as a text, without a copy of the text.
pub(super) fn read_text<'de, T, E: fmt::Display, D: Deserializer<'de>>(
    deserializer: D,
    read: fn(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text(read))
}

struct Text<T, E>(fn(&str) -> Result<T, E>);

impl<T, E: fmt::Display> Visitor<'_> for Text<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<F: Error>(self, text: &str) -> Result<T, F> {
        (self.0)(text).map_err(F::custom)
    }
}

/// A key, not copied where it stands as it is meant.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

/// An object on its way in.
struct Object<'de, A> {
    map: A,
    /// How deep the object's values lie in a record.
    depth: usize,
    /// The keys that mean nothing to this reader. Even they may stand only once.
    passed: Vec<Cow<'de, str>>,
}

impl<'de, A: MapAccess<'de>> Object<'de, A> {
    fn new(map: A, depth: usize) -> Self {
        Self { map, depth, passed: Vec::new() }
    }

    fn key(&mut self) -> Result<Option<Cow<'de, str>>, A::Error> {
        Ok(self.map.next_key::<Key<'de>>()?.map(|key| key.0))
    }

    /// Takes the value of a key that may stand once.
    fn once<T: Deserialize<'de>>(
        &mut self,
        key: &str,
        slot: &mut Option<T>,
    ) -> Result<(), A::Error> {
        match slot.replace(self.map.next_value()?) {
            Some(_) => Err(twice(key)),
            None => Ok(()),
        }
    }

    /// Takes a value that may be anything.
    fn any(&mut self) -> Result<Value, A::Error> {
        self.map.next_value_seed(Strict::at(self.depth, RECORD_NESTING_MAX))
    }

    fn pass(&mut self, key: Cow<'de, str>) -> Result<(), A::Error> {
        self.any()?;
        if self.passed.contains(&key) {
            return Err(twice(&key));
        }
        self.passed.push(key);
        Ok(())
    }
}

fn there<T, E: Error>(slot: Option<T>, key: &'static str) -> Result<T, E> {
    slot.ok_or_else(|| E::missing_field(key))
}

impl<'de> Deserialize<'de> for Entity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntityVisitor)
    }
}

struct EntityVisitor;

impl<'de> Visitor<'de> for EntityVisitor {
    type Value = Entity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entity, A::Error> {
        let mut object = Object::new(map, 1);
        let (mut id, mut clock, mut fields) = (None, None, None);
        while let Some(key) = object.key()? {
            match key.as_ref() {
                "id" => object.once("id", &mut id)?,
                "clock" => object.once("clock", &mut clock)?,
                "fields" => object.once("fields", &mut fields)?,
                _ => object.pass(key)?,
            }
        }
        let clock: Once<_, _, LastEdit> = there(clock, "clock")?;
        let fields: Once<_, _, Siblings> = there(fields, "fields")?;
        Ok(Entity { id: there(id, "id")?, clock: clock.map, fields: fields.map })
    }
}

/// A map in which no key stands twice; its values are read as `R`.
struct Once<K, V, R> {
    map: BTreeMap<K, V>,
    read_as: PhantomData<R>,
}

impl<'de, K, V, R> Deserialize<'de> for Once<K, V, R>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    R: Deserialize<'de> + Into<V>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnceVisitor(PhantomData))
    }
}

struct OnceVisitor<K, V, R>(PhantomData<(K, V, R)>);

impl<'de, K, V, R> Visitor<'de> for OnceVisitor<K, V, R>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    R: Deserialize<'de> + Into<V>,
{
    type Value = Once<K, V, R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Once<K, V, R>, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = source.next_key::<K>()? {
            if map.contains_key(&key) {
                return Err(twice(&key.to_string()));
            }
            map.insert(key, source.next_value::<R>()?.into());
        }
        Ok(Once { map, read_as: PhantomData })
    }
}

/// The concurrent values of a field: nearly always one, and room for no more than that.
struct Siblings(Vec<Sibling>);

impl From<Siblings> for Vec<Sibling> {
    fn from(siblings: Siblings) -> Self {
        siblings.0
    }
}

impl<'de> Deserialize<'de> for Siblings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SiblingsVisitor)
    }
}

struct SiblingsVisitor;

impl<'de> Visitor<'de> for SiblingsVisitor {
    type Value = Siblings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Siblings, A::Error> {
        let mut siblings = Vec::with_capacity(1);
        while let Some(sibling) = seq.next_element()? {
            siblings.push(sibling);
        }
        Ok(Siblings(siblings))
    }
}

impl<'de> Deserialize<'de> for Sibling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SiblingVisitor { depth: 4, may_wait: true })
    }
}

impl<'de> Deserialize<'de> for Alternative {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = SiblingVisitor { depth: 6, may_wait: false };
        let Sibling { dot, at, content, .. } = deserializer.deserialize_map(visitor)?;
        Ok(Self { dot, at, content })
    }
}

/// Reads a value with its edit, and those that wait beside it.
struct SiblingVisitor {
    depth: usize,
    may_wait: bool,
}

impl<'de> Visitor<'de> for SiblingVisitor {
    type Value = Sibling;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its edit")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sibling, A::Error> {
        let mut object = Object::new(map, self.depth);
        let (mut dot, mut at, mut value, mut source) = (None, None, None, None);
        let mut alternatives = None;
        while let Some(key) = object.key()? {
            match key.as_ref() {
                "dot" => object.once("dot", &mut dot)?,
                "at" => object.once("at", &mut at)?,
                "source" => object.once("source", &mut source)?,
                "alternatives" if self.may_wait => {
                    object.once("alternatives", &mut alternatives)?;
                }
                "value" => {
                    if value.replace(object.any()?).is_some() {
                        return Err(twice("value"));
                    }
                }
                _ => object.pass(key)?,
            }
        }
        let content = Content { value: there(value, "value")?, source: source.flatten() };
        let alternatives = alternatives.unwrap_or_default();
        Ok(Sibling { dot: there(dot, "dot")?, at: there(at, "at")?, content, alternatives })
    }
}

impl Serialize for Sibling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(serializer, (&self.dot, self.at, &self.content), &self.alternatives)
    }
}

impl Serialize for Alternative {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(serializer, (&self.dot, self.at, &self.content), &[])
    }
}

fn write<S: Serializer>(
    serializer: S,
    (dot, at, content): (&Dot, Stamp, &Content),
    alternatives: &[Alternative],
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("dot", dot)?;
    map.serialize_entry("at", &at)?;
    map.serialize_entry("value", &content.value)?;
    if let Some(source) = &content.source {
        map.serialize_entry("source", source)?;
    }
    if !alternatives.is_empty() {
        map.serialize_entry("alternatives", alternatives)?;
    }
    map.end()
}
