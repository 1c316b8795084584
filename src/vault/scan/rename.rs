//! Which vanished file and which new one are the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::read::Reading;
use super::{Renamed, ScannedFile};
use crate::model::{ContentHash, KnownFile, VaultPath};

/// A file at a path that was not known, with the time it was made.
pub(super) type New = BTreeMap<VaultPath, Reading>;

/// Known files that are gone.
pub(super) type Vanished = BTreeMap<VaultPath, KnownFile>;

/// Pairs vanished paths with new ones, each at most once, and takes the pairs out of both.
///
/// The number of the file tells a rename even if the file was edited since; numbers are used again,
/// so a file that was made after the vanished one was last seen is never taken for it. After that
/// the content tells, where it is not empty: among several the same name wins, then the same folder,
/// then the first.
pub(super) fn pair(vanished: &mut Vanished, new: &mut New) -> Vec<Renamed> {
    let mut pairs = by_inode(vanished, new);
    let mut taken: BTreeSet<VaultPath> = BTreeSet::new();
    for (from, to, _) in &pairs {
        vanished.remove(from);
        taken.insert(to.clone());
    }
    let same_content = by_content(vanished, new, &taken);
    for (from, ..) in &same_content {
        vanished.remove(from);
    }
    pairs.extend(same_content);
    pairs.sort();
    let mut renamed = Vec::new();
    for (from, to, same_content) in pairs {
        if let Some(reading) = new.remove(&to) {
            renamed.push(Renamed { from, file: ScannedFile::new(to, reading), same_content });
        }
    }
    renamed
}

/// From, to, and whether the content is the same.
type Pair = (VaultPath, VaultPath, bool);

fn by_inode(vanished: &Vanished, new: &New) -> Vec<Pair> {
    let numbers: HashMap<u64, &VaultPath> = new
        .iter()
        .filter(|(_, reading)| reading.stat.inode != 0)
        .map(|(path, reading)| (reading.stat.inode, path))
        .collect();
    let mut taken = BTreeSet::new();
    let mut pairs = Vec::new();
    for (from, known) in vanished {
        let Some(to) = numbers.get(&known.stat.inode) else {
            continue;
        };
        let Some(reading) = new.get(*to) else {
            continue;
        };
        if is_same_file(known, reading) && taken.insert(*to) {
            pairs.push((from.clone(), (*to).clone(), known.sha256 == reading.sha256));
        }
    }
    pairs
}

fn by_content(vanished: &Vanished, new: &New, taken: &BTreeSet<VaultPath>) -> Vec<Pair> {
    let mut hashes: HashMap<ContentHash, Vec<&VaultPath>> = HashMap::new();
    for (path, reading) in new.iter().filter(|(path, _)| !taken.contains(*path)) {
        if reading.stat.size > 0 {
            hashes.entry(reading.sha256).or_default().push(path);
        }
    }
    let likenesses: [fn(&VaultPath, &VaultPath) -> bool; 3] = [
        |from, to| from.file_name() == to.file_name(),
        |from, to| from.parent() == to.parent(),
        |_, _| true,
    ];
    let mut pairs = Vec::new();
    let mut paired = BTreeSet::new();
    // All that are most alike come first: else one with a lesser claim takes another's place.
    for is_like in likenesses {
        for (from, known) in vanished {
            let Some(candidates) = hashes.get_mut(&known.sha256) else { continue };
            let best = candidates.iter().position(|to| is_like(from, to));
            if let Some(best) = best.filter(|_| !paired.contains(from)) {
                paired.insert(from);
                pairs.push((from.clone(), candidates.remove(best).clone(), true));
            }
        }
    }
    pairs
}

fn is_same_file(known: &KnownFile, reading: &Reading) -> bool {
    known.sha256 == reading.sha256 && reading.stat.size > 0
        || reading.born_ns.is_none_or(|born| born <= known.stat.changed_ns())
}
