//! A folder that another program keeps alike on several devices, as Syncthing and the like do: each has a
//! copy of its own, and what is written or deleted in one comes to the others file by file, late, and
//! in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use larder_providers::{Clock, Memory, MemorySnapshot, RemotePath};

use super::ground::Files;

/// What those who have a copy share.
pub(crate) type SharedMirror = Arc<Mutex<Mirror>>;

#[derive(Debug)]
pub(crate) struct Mirror {
    /// By the number of the replica.
    copies: BTreeMap<usize, Copy>,
    /// Of so many files that are on their way one arrives at a time.
    lag: u8,
    /// All that is on its way arrives.
    pub(crate) is_prompt: bool,
}

/// What one device has.
#[derive(Debug)]
struct Copy {
    memory: Memory,
    /// As the program that mirrors the folder knows it.
    known: BTreeMap<RemotePath, State>,
    /// Under what number its changes are counted: another one each time the program has forgotten.
    name: usize,
}

/// A state of a file, or that it is deleted.
#[derive(Debug, Clone)]
struct State {
    /// How often each copy has changed it: what it is newer than.
    changes: BTreeMap<usize, u64>,
    file: Option<(Bytes, DateTime<Utc>)>,
}

impl State {
    fn includes(&self, other: &Self) -> bool {
        other.changes.iter().all(|(copy, count)| self.changes.get(copy) >= Some(count))
    }

    fn is_same_file(&self, other: &Self) -> bool {
        match (&self.file, &other.file) {
            (Some((a, _)), Some((b, _))) => a == b,
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Mirror {
    pub(crate) fn new(lag: u8) -> Self {
        Self { copies: BTreeMap::new(), lag, is_prompt: false }
    }

    /// Another device has a copy, which is empty yet; its files tell the time of its own clock.
    pub(crate) fn join(&mut self, number: usize, clock: Clock) -> Memory {
        let memory = Memory::with_clock(clock);
        self.copies
            .insert(number, Copy { memory: memory.clone(), known: BTreeMap::new(), name: number });
        memory
    }

    /// A backup of one copy, and whose.
    pub(crate) fn back_up(&self, random: &mut fastrand::Rng) -> (usize, MemorySnapshot) {
        let number = random.choice(self.copies.keys().copied()).unwrap();
        (number, self.copies[&number].memory.snapshot())
    }

    /// A copy goes back to its backup, which comes to the others as a change of everything.
    pub(crate) fn restore(&mut self, number: usize, backup: &MemorySnapshot) {
        self.scan();
        self.copies[&number].memory.restore(backup);
    }

    /// The program on one device knows nothing any more of what it has: what it holds is as new as what
    /// the others hold, and what they deleted comes back.
    pub(crate) fn forget(&mut self, random: &mut fastrand::Rng) -> usize {
        self.scan();
        let number = random.choice(self.copies.keys().copied()).unwrap();
        let copy = self.copies.get_mut(&number).unwrap();
        copy.known.clear();
        copy.name += 1000;
        number
    }

    /// The folder once everything has arrived.
    pub(crate) fn settled(&mut self) -> Files {
        self.scan();
        let mut settled = BTreeMap::new();
        for copy in self.copies.values() {
            for (path, state) in &copy.known {
                take_up(&mut settled, path, state);
            }
        }
        let files = settled.into_iter().filter_map(|(path, state)| Some((path, state.file?.0)));
        files.collect()
    }

    /// Some of what is on its way to everybody arrives, or all of it.
    pub(crate) fn pass(&mut self, random: &mut fastrand::Rng) {
        let numbers: Vec<usize> = self.copies.keys().copied().collect();
        // By way of any other.
        let rounds = if self.is_prompt { numbers.len() } else { 1 };
        for _ in 0..rounds {
            self.scan();
            for to in &numbers {
                let most = if self.is_prompt { usize::MAX } else { random.usize(..20) };
                self.arrive(*to, most, random);
            }
        }
    }

    /// So many files at most arrive on one device.
    pub(crate) fn arrive(&mut self, to: usize, most: usize, random: &mut fastrand::Rng) {
        self.scan();
        let mut on_their_way = Vec::new();
        for (from, copy) in self.copies.iter().filter(|(from, _)| **from != to) {
            let known = self.copies.get(&to).map(|copy| &copy.known);
            let is_news = |(path, state): &(&RemotePath, &State)| {
                known.and_then(|known| known.get(*path)).is_none_or(|ours| !ours.includes(state))
            };
            let news = copy.known.iter().filter(is_news);
            on_their_way.extend(news.map(|(path, _)| (*from, path.clone())));
        }
        random.shuffle(&mut on_their_way);
        let (is_prompt, lag) = (self.is_prompt, self.lag);
        on_their_way.retain(|_| is_prompt || random.u8(..lag) == 0);
        for (from, path) in on_their_way.into_iter().take(most) {
            let state = self.copies[&from].known[&path].clone();
            let Some(copy) = self.copies.get_mut(&to) else { continue };
            for changed in take_up(&mut copy.known, &path, &state) {
                match copy.known[&changed].file.clone() {
                    Some((bytes, at)) => copy.memory.insert_raw_as_of(&changed, bytes, at),
                    None => drop(copy.memory.remove_raw(&changed)),
                }
            }
        }
    }

    /// The program sees what was done to the copies.
    fn scan(&mut self) {
        for copy in self.copies.values_mut() {
            let files = copy.memory.files();
            let known = copy.known.keys().filter(|path| !files.contains_key(*path)).cloned();
            let gone: Vec<RemotePath> = known.collect();
            let present = files.into_iter().map(|(path, bytes)| (path, Some(bytes)));
            for (path, bytes) in present.chain(gone.into_iter().map(|path| (path, None))) {
                let at = copy.memory.modified(&path).unwrap_or_default();
                let file = bytes.map(|bytes| (bytes, at));
                let found = State { changes: BTreeMap::new(), file };
                match copy.known.get_mut(&path) {
                    Some(known) if known.is_same_file(&found) => {}
                    Some(known) => {
                        *known.changes.entry(copy.name).or_default() += 1;
                        known.file = found.file;
                    }
                    None => {
                        let changes = BTreeMap::from([(copy.name, 1)]);
                        copy.known.insert(path, State { changes, ..found });
                    }
                }
            }
        }
    }
}

/// Takes up a state of a file; says which files of the copy are others now. Of two that know nothing
/// of each other the one written later stays, the other under the name of a conflict copy; and what is
/// written stays before what is deleted.
fn take_up(
    known: &mut BTreeMap<RemotePath, State>,
    path: &RemotePath,
    theirs: &State,
) -> BTreeSet<RemotePath> {
    let Some(ours) = known.get(path) else {
        known.insert(path.clone(), theirs.clone());
        return BTreeSet::from([path.clone()]);
    };
    if ours.includes(theirs) {
        return BTreeSet::new();
    }
    let mut changed = BTreeSet::new();
    let mut state = theirs.clone();
    if !theirs.includes(ours) {
        let is_ours_later = (ours.file.as_ref().map(|(bytes, at)| (*at, bytes.clone())))
            > (theirs.file.as_ref().map(|(bytes, at)| (*at, bytes.clone())));
        let (kept, lost) = if is_ours_later { (ours, theirs) } else { (theirs, ours) };
        let is_lost = lost.file.is_some() && !kept.is_same_file(lost);
        let copied = is_lost.then(|| (conflict_copy(path, lost), lost.clone()));
        state.file = kept.file.clone();
        for (copy, count) in &ours.changes {
            let known = state.changes.entry(*copy).or_default();
            *known = (*known).max(*count);
        }
        if let Some((path, lost)) = copied {
            changed.extend(take_up(known, &path, &lost));
        }
    }
    known.insert(path.clone(), state);
    changed.insert(path.clone());
    changed
}

/// Under what name what lost is kept, as Syncthing has it.
fn conflict_copy(path: &RemotePath, lost: &State) -> RemotePath {
    let stem = path.name().trim_end_matches(".json");
    let at = lost.file.as_ref().map(|(_, at)| at.format("%Y%m%d-%H%M%S").to_string());
    let who = lost.changes.keys().next_back().copied().unwrap_or_default();
    let name = format!("{stem}.sync-conflict-{}-COPY{who}.json", at.unwrap_or_default());
    RemotePath::found(&path.parent().unwrap(), &name).unwrap()
}
