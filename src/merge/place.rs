//! Which record gets which path when several want the same one.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{EntityId, VaultPath};

/// Where a record lies and where it wants to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The record.
    pub id: EntityId,
    /// Where its file lies now.
    pub current: Option<VaultPath>,
    /// Where it wants to lie; nothing if it wants no file.
    pub path: Option<VaultPath>,
}

/// Who wants which path, among the records that a turn does not touch.
pub trait PathClaims {
    /// The live records whose own path folds to `key`, with that path and where their file lies.
    fn claimants(&self, key: &str) -> Vec<Wish>;
}

/// Gives every wish its place: of several records that want one path, or paths that differ in case
/// only, the one with the lowest id keeps it and the others become `name (2).ext` and so on, the
/// same on every device: numbers are given by what records want, never by where files lie.
///
/// The answer also names untouched records that have to make way or may move up.
pub(super) fn place(
    wishes: &[Wish],
    claims: &(impl PathClaims + ?Sized),
) -> BTreeMap<EntityId, VaultPath> {
    let touched: BTreeSet<&EntityId> = wishes.iter().map(|wish| &wish.id).collect();
    let wanted: BTreeSet<String> =
        wishes.iter().filter_map(|wish| Some(wish.path.as_ref()?.key())).collect();
    let is_free = |path: &VaultPath| {
        let key = path.key();
        let is_rival = |wish: &Wish| !touched.contains(&wish.id);
        !wanted.contains(&key) && !claims.claimants(&key).iter().any(is_rival)
    };
    let mut places = BTreeMap::new();
    for (key, mut group) in groups(wishes) {
        let others = claims.claimants(&key);
        group.extend(others.into_iter().filter(|other| !touched.contains(&other.id)));
        group.sort_by(|a, b| a.id.cmp(&b.id));
        let mut numbers = 2..;
        for (rank, wish) in group.iter().enumerate() {
            let Some(path) = &wish.path else { continue };
            let place = if rank == 0 {
                path.clone()
            } else {
                let numbered = numbers.by_ref().take(10_000);
                let mut numbered = numbered.filter_map(|number| path.with_number(number).ok());
                numbered.find(&is_free).unwrap_or_else(|| path.clone())
            };
            let is_news = touched.contains(&wish.id) || wish.current.as_ref() != Some(&place);
            if is_news {
                places.insert(wish.id.clone(), place);
            }
        }
    }
    places
}

/// The wishes by what they want. Whoever takes or leaves a numbered path changes the numbers of
/// those who want the path without it, so these are looked at as well.
fn groups(wishes: &[Wish]) -> BTreeMap<String, Vec<Wish>> {
    let mut groups: BTreeMap<String, Vec<Wish>> = BTreeMap::new();
    for wish in wishes {
        for path in wish.path.iter().chain(&wish.current) {
            let without = |path: &VaultPath| path.without_number();
            for path in std::iter::successors(Some(path.clone()), without) {
                groups.entry(path.key()).or_default();
            }
        }
        if let Some(path) = &wish.path {
            groups.entry(path.key()).or_default().push(wish.clone());
        }
    }
    groups
}

#[cfg(test)]
mod tests;
