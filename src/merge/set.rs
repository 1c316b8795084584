//! Merges two versions of a list whose members matter more than their order: tags, people, links.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use serde_json::Value;

/// Merges two versions of a set; without `base`, the ancestor of both, into their union.
///
/// What either side removed is gone, what either side added is there, once if both added it. The
/// order is that of `first`; it is that of `second` if only `second` rearranged the members of the
/// base. What the other side added follows the member that it followed there, behind what the
/// leading side added at that place. Swapping the sides gives the same members.
///
/// A list may hold a value several times. Each value is then counted: a side adds or removes as
/// many as its count differs by; if both add, or both remove, the larger change holds for both.
pub fn merge3(base: Option<&[Value]>, first: &[Value], second: &[Value]) -> Vec<Value> {
    let (old, first, second) = (members(base.unwrap_or_default()), members(first), members(second));
    let old_set: HashSet<Member<'_>> = old.iter().copied().collect();
    let kept = kept(&old, &first, &second);
    let moved = |side: &[Member<'_>]| {
        let held: HashSet<_> = side.iter().copied().collect();
        let before = old.iter().filter(|member| held.contains(member));
        !before.eq(side.iter().filter(|member| old_set.contains(member)))
    };
    let (lead, other) =
        if moved(&second) && !moved(&first) { (second, first) } else { (first, second) };
    arrange(&lead, &other, &old_set)
        .into_iter()
        .filter(|(value, nth)| kept.get(value).is_some_and(|count| nth < count))
        .map(|(value, _)| value.clone())
        .collect()
}

/// A value and how many of its like stand before it.
type Member<'a> = (&'a Value, usize);

fn members(values: &[Value]) -> Vec<Member<'_>> {
    numbered(values.iter()).collect()
}

/// Each item with how many of its like came before it.
fn numbered<T: Copy + Eq + Hash>(
    items: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = (T, usize)> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    items.into_iter().map(move |item| {
        let count = counts.entry(item).or_default();
        *count += 1;
        (item, *count - 1)
    })
}

/// Whether all items of `part` are in `whole`, as often.
pub(super) fn has_all<T: Copy + Eq + Hash>(
    whole: impl IntoIterator<Item = T>,
    part: impl IntoIterator<Item = T>,
) -> bool {
    let whole: HashSet<(T, usize)> = numbered(whole).collect();
    numbered(part).all(|item| whole.contains(&item))
}

/// How often each value stays.
fn kept<'a>(
    old: &[Member<'a>],
    first: &[Member<'a>],
    second: &[Member<'a>],
) -> HashMap<&'a Value, usize> {
    let mut counts: HashMap<&Value, [usize; 3]> = HashMap::new();
    for (side, members) in [old, first, second].into_iter().enumerate() {
        for (value, _) in members {
            if let Some(count) = counts.entry(value).or_default().get_mut(side) {
                *count += 1;
            }
        }
    }
    let merged = |[old, first, second]: [usize; 3]| {
        if first >= old && second >= old {
            first.max(second)
        } else if first <= old && second <= old {
            first.min(second)
        } else {
            (first + second).saturating_sub(old)
        }
    };
    counts.into_iter().map(|(value, counts)| (value, merged(counts))).collect()
}

/// All members of both sides: those of `lead` in their order, and each one that only `other` has
/// behind the member that it follows there.
fn arrange<'a>(
    lead: &[Member<'a>],
    other: &[Member<'a>],
    old: &HashSet<Member<'a>>,
) -> Vec<Member<'a>> {
    let led: HashSet<_> = lead.iter().copied().collect();
    let others: HashSet<_> = other.iter().copied().collect();
    let mut followers: HashMap<Option<Member<'_>>, Vec<Member<'_>>> = HashMap::new();
    let mut anchor = None;
    for member in other {
        if led.contains(member) {
            anchor = Some(*member);
        } else {
            followers.entry(anchor).or_default().push(*member);
        }
    }
    let mut out = Vec::with_capacity(lead.len() + other.len());
    let mut waiting = followers.remove(&None).unwrap_or_default();
    for member in lead {
        // What `lead` added itself stands before what `other` added at the same place.
        if old.contains(member) || others.contains(member) {
            out.append(&mut waiting);
        }
        out.push(*member);
        waiting.extend(followers.remove(&Some(*member)).unwrap_or_default());
    }
    out.append(&mut waiting);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Merges lists of one-letter members.
    fn merged(base: Option<&str>, first: &str, second: &str) -> String {
        let list = |text: &str| text.chars().map(|c| json!(c.to_string())).collect::<Vec<_>>();
        merge3(base.map(list).as_deref(), &list(first), &list(second))
            .iter()
            .filter_map(Value::as_str)
            .collect()
    }

    #[test]
    fn additions_and_removals_of_both_sides_hold() {
        assert_eq!(merged(Some("abc"), "abcx", "ab"), "abx");
        assert_eq!(merged(Some("abc"), "bc", "ab"), "b");
        assert_eq!(merged(Some("ab"), "abx", "aby"), "abxy");
        assert_eq!(merged(Some("ab"), "abx", "abx"), "abx");
        assert_eq!(merged(Some("ab"), "xab", "yab"), "xyab");
        assert_eq!(merged(Some(""), "xy", "zx"), "zxy");
        assert_eq!(merged(Some("a"), "", ""), "");
    }

    #[test]
    fn an_addition_follows_the_member_it_followed() {
        assert_eq!(merged(Some("abc"), "acb", "abxyc"), "acbxy");
        assert_eq!(merged(Some("abc"), "apbc", "aqbc"), "apqbc");
        // Its neighbour was removed by the other side: the one before takes its place.
        assert_eq!(merged(Some("abc"), "ac", "abxc"), "axc");
    }

    #[test]
    fn a_new_order_is_kept() {
        assert_eq!(merged(Some("abc"), "cba", "abc"), "cba");
        assert_eq!(merged(Some("abc"), "abc", "cba"), "cba");
        assert_eq!(merged(Some("abc"), "abcx", "cba"), "cxba");
        assert_eq!(merged(Some("abc"), "bca", "cba"), "bca");
    }

    #[test]
    fn without_an_ancestor_it_is_the_union() {
        assert_eq!(merged(None, "ab", "bc"), "abc");
        assert_eq!(merged(None, "", "bc"), "bc");
        assert_eq!(merged(None, "ac", "abc"), "abc");
    }

    #[test]
    fn equal_members_are_counted() {
        assert_eq!(merged(Some("aa"), "aaa", "a"), "aa");
        assert_eq!(merged(Some("a"), "aa", "aaa"), "aaa");
        assert_eq!(merged(None, "aa", "a"), "aa");
    }

    proptest! {
        #[test]
        fn one_changed_side_decides(base in "[a-e]{0,6}", other in "[a-e]{0,6}") {
            prop_assert_eq!(merged(Some(&base), &base, &other), other.clone());
            prop_assert_eq!(merged(Some(&base), &other, &base), other.clone());
            prop_assert_eq!(merged(Some(&base), &other, &other), other.clone());
        }

        #[test]
        fn swapping_the_sides_changes_no_member(
            base in proptest::option::of("[a-e]{0,6}"),
            first in "[a-e]{0,6}",
            second in "[a-e]{0,6}",
        ) {
            let sorted = |text: String| {
                let mut members: Vec<_> = text.chars().collect();
                members.sort_unstable();
                members
            };
            prop_assert_eq!(
                sorted(merged(base.as_deref(), &first, &second)),
                sorted(merged(base.as_deref(), &second, &first))
            );
        }
    }
}
