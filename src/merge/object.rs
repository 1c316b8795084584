//! Merges two versions of a nested object.

use serde_json::{Map, Value};

use super::set;

/// Picks the value where both sides changed the same place in different ways: gets the place as a
/// JSON Pointer (RFC 6901), the value of the ancestor if there is one, and the values of both sides.
pub type Decide<'a> = dyn FnMut(&str, Option<&Value>, &Value, &Value) -> Value + 'a;

/// Merges two versions of an object key by key; without `base`, the ancestor of both, every key of
/// either side is there.
///
/// A key that one side changed takes that side's value. Where both changed it, objects are merged
/// in turn, and lists that hold neither objects nor lists as [sets](set::merge3); for anything else
/// `decide` is asked, so it learns of every place where a value had to give way. A key that one
/// side removed and the other changed stays, changed: nothing is lost, and nobody is asked.
///
/// The depth of the recursion is that of the values, which have passed the limits of the format.
pub fn merge3(
    base: Option<&Map<String, Value>>,
    first: &Map<String, Value>,
    second: &Map<String, Value>,
    decide: &mut Decide<'_>,
) -> Map<String, Value> {
    merge_at(&mut String::new(), base, first, second, decide)
}

fn merge_at(
    path: &mut String,
    base: Option<&Map<String, Value>>,
    first: &Map<String, Value>,
    second: &Map<String, Value>,
    decide: &mut Decide<'_>,
) -> Map<String, Value> {
    let mut out = Map::new();
    let only_second = second.keys().filter(|key| !first.contains_key(*key));
    for key in first.keys().chain(only_second) {
        let old = base.and_then(|base| base.get(key));
        let value = match (first.get(key), second.get(key)) {
            (Some(first), Some(second)) => {
                let end = path.len();
                path.push('/');
                path.push_str(&key.replace('~', "~0").replace('/', "~1"));
                let value = merge_values(path, old, first, second, decide);
                path.truncate(end);
                Some(value)
            }
            // The other side does not have it: it removed it, or this side made it.
            (Some(one), None) | (None, Some(one)) => (old != Some(one)).then(|| one.clone()),
            (None, None) => None,
        };
        out.extend(value.map(|value| (key.clone(), value)));
    }
    out
}

fn merge_values(
    path: &mut String,
    base: Option<&Value>,
    first: &Value,
    second: &Value,
    decide: &mut Decide<'_>,
) -> Value {
    if first == second || base == Some(second) {
        return first.clone();
    }
    if base == Some(first) {
        return second.clone();
    }
    match (first, second) {
        (Value::Object(first), Value::Object(second)) => {
            let base = base.and_then(Value::as_object);
            Value::Object(merge_at(path, base, first, second, decide))
        }
        (Value::Array(first), Value::Array(second)) if is_set(first) && is_set(second) => {
            let base = base.and_then(Value::as_array).filter(|base| is_set(base));
            Value::Array(set::merge3(base.map(Vec::as_slice), first, second))
        }
        _ => decide(path, base, first, second),
    }
}

fn is_set(list: &[Value]) -> bool {
    list.iter().all(|member| !member.is_object() && !member.is_array())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Merges, decides for the second side, and says where.
    fn merged(base: Option<&Value>, first: &Value, second: &Value) -> (Value, Vec<String>) {
        let object = |value: &Value| value.as_object().cloned().unwrap();
        let mut asked = Vec::new();
        let out = merge3(
            base.map(object).as_ref(),
            &object(first),
            &object(second),
            &mut |path, _, _, second| {
                asked.push(path.to_owned());
                second.clone()
            },
        );
        (Value::Object(out), asked)
    }

    #[test]
    fn changes_of_different_keys_both_hold() {
        let base = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": 4});
        let first = json!({"a": 9, "b": {"c": 2, "d": 8}, "e": 4, "new": true});
        let second = json!({"a": 1, "b": {"c": 7, "d": 3}});
        assert_eq!(
            merged(Some(&base), &first, &second),
            (json!({"a": 9, "b": {"c": 7, "d": 8}, "new": true}), vec![])
        );
    }

    #[test]
    fn a_place_that_both_changed_is_decided_and_named() {
        let base = json!({"a/b": {"c~": 1}, "t": ["x"]});
        let first = json!({"a/b": {"c~": 2}, "t": [["x"]]});
        let second = json!({"a/b": {"c~": 3}, "t": "x"});
        assert_eq!(
            merged(Some(&base), &first, &second),
            (second.clone(), vec!["/a~1b/c~0".to_owned(), "/t".to_owned()])
        );
    }

    #[test]
    fn a_change_outlives_a_removal() {
        let base = json!({"a": {"x": 1}, "b": 2});
        let (changed, removed) = (json!({"a": {"x": 5}, "b": 2}), json!({}));
        let expected = (json!({"a": {"x": 5}}), vec![]);
        assert_eq!(merged(Some(&base), &changed, &removed), expected);
        assert_eq!(merged(Some(&base), &removed, &changed), expected);
    }

    #[test]
    fn lists_of_scalars_are_sets() {
        let base = json!({"t": ["a", "b"]});
        let (first, second) = (json!({"t": ["a", "b", "c"]}), json!({"t": ["b", "d"]}));
        assert_eq!(merged(Some(&base), &first, &second), (json!({"t": ["b", "c", "d"]}), vec![]));
    }

    #[test]
    fn without_an_ancestor_all_keys_are_there() {
        let (first, second) = (json!({"a": 1, "o": {"x": 1}}), json!({"a": 2, "o": {"y": 2}}));
        assert_eq!(
            merged(None, &first, &second),
            (json!({"a": 2, "o": {"x": 1, "y": 2}}), vec!["/a".to_owned()])
        );
    }

    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![(0..3_i64).prop_map(|n| json!(n)), Just(json!(null))];
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| json!(map)),
            ]
        });
        prop::collection::btree_map("[abc]", value, 0..4).prop_map(|map| json!(map))
    }

    proptest! {
        #[test]
        fn one_changed_side_decides(base in object(), other in object()) {
            let expected = (other.clone(), vec![]);
            prop_assert_eq!(merged(Some(&base), &base, &other), expected.clone());
            prop_assert_eq!(merged(Some(&base), &other, &base), expected.clone());
            prop_assert_eq!(merged(Some(&base), &other, &other), expected.clone());
        }

        #[test]
        fn both_sides_are_asked_at_the_same_places(
            base in object(), first in object(), second in object(),
        ) {
            let places = |mut places: Vec<String>| {
                places.sort_unstable();
                places
            };
            let one = merged(Some(&base), &first, &second);
            let other = merged(Some(&base), &second, &first);
            prop_assert_eq!(places(one.1), places(other.1));
        }
    }
}
