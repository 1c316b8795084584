//! Taking up what lies in data files that nothing names.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use bytes::Bytes;
use larder_providers::{Entry, RemotePath, StorageExt as _};

use super::{BatchSize, Engine, Result, work::weight};
use crate::{
    digest::sha256_hex,
    merge::{LocalEdit, is_marker, join, view},
    model::{
        Change, Changes, DeviceId, Dot, Entity, EntityId, Sibling, Stamp,
        entity::DELETED,
        limits::{DATA_FILE_BYTES_MAX, ENTITY_BYTES_MAX},
    },
    remote::{Loose, Remote, layout},
};

/// How much of what is found is held at once, in batches of a turn: all files have to be read again
/// for what is beyond that.
const BATCHES_HELD: u64 = 8;
/// What a record weighs beside its values, in bytes.
const RECORD_BYTES: u64 = 1024;

/// Which files that nothing names are taken up.
#[derive(Clone, Copy)]
pub(super) struct Adopting<'a> {
    /// Only those that are what their name says.
    pub(super) is_strict: bool,
    /// Only those with edits of such devices that this replica has not seen.
    pub(super) is_lost: &'a dyn Fn(&DeviceId) -> bool,
}

/// Files that nothing names, as far as they were looked at.
#[derive(Default)]
pub(super) struct Adopted {
    looked_at: BTreeSet<RemotePath>,
    /// Those with edits that this replica had not seen.
    pub(super) files: BTreeSet<RemotePath>,
}

impl Engine {
    /// Takes values out of files that a cut turn left behind and whose maker may never come back,
    /// as edits of this device that compete with what is there: their own dots may be missing
    /// earlier ones. What there was has to be sent before the files may go; says whether there was any.
    pub(super) async fn adopt(
        &mut self,
        remote: &Remote,
        orphans: &[Entry],
        adopted: &mut Adopted,
        how: Adopting<'_>,
    ) -> Result<bool> {
        let mut has_values = false;
        let knows = self.replica()?.knows;
        let is_unseen = |entity: &Entity| {
            entity
                .seen()
                .iter()
                .any(|(device, counter)| counter > knows.get(device) && (how.is_lost)(device))
        };
        let orphans: Vec<&Entry> =
            orphans.iter().filter(|orphan| adopted.looked_at.insert(orphan.path.clone())).collect();
        let mut found = Found::new(self.batch_size);
        loop {
            for orphan in &orphans {
                let Some(mut loose) = read_orphan(remote, orphan, how.is_strict).await? else {
                    continue;
                };
                while let Some(entities) = loose.next_portion() {
                    for entity in entities.into_iter().filter(is_unseen) {
                        adopted.files.insert(orphan.path.clone());
                        found.add(entity);
                    }
                }
            }
            let (states, is_all) = found.take();
            for state in states.into_values() {
                for edit in self.unknown_edits(&state)? {
                    self.edit(&state.id, edit)?;
                    has_values = true;
                }
            }
            if is_all {
                return Ok(has_values);
            }
        }
    }

    /// The edits in a state that this replica has neither seen nor holds.
    fn unknown_edits(&self, found: &Entity) -> Result<Vec<LocalEdit>> {
        let record = self.store.record(&found.id)?;
        let is_deleted = view(found, &self.rules).is_deleted;
        // Whoever deleted it had seen what it was; a copy that lies about brings it not back.
        if is_deleted && record.is_some() {
            return Ok(Vec::new());
        }
        let own = record.map_or_else(|| Entity::new(found.id.clone()), |record| record.state);
        let knows = self.replica()?.knows;
        let is_known = |dot: &Dot| own.covers(dot) || knows.covers(dot);
        let fields = || found.fields.iter().filter(|(field, _)| *field != DELETED);
        let has_news = fields().any(|(_, values)| values.iter().any(|s| !is_known(&s.dot)));
        // Nothing of it is left here that what is new could come back with.
        let is_whole = has_news && is_marker(&own);
        let mut edits: BTreeMap<&Dot, (Changes, Stamp)> = BTreeMap::new();
        for (field, siblings) in fields() {
            for sibling in siblings {
                let is_there = |own: &Sibling| own.content == sibling.content;
                let is_wanted = is_whole || !is_known(&sibling.dot);
                if is_wanted && !own.siblings(field).iter().any(is_there) {
                    let (changes, _) =
                        edits.entry(&sibling.dot).or_insert_with(|| (Changes::new(), sibling.at));
                    let waiting = sibling.alternatives.clone();
                    changes.insert(field.clone(), Change::Set(sibling.content.clone(), waiting));
                }
            }
        }
        let found = edits.into_values().map(|(changes, at)| LocalEdit::Found(changes, at));
        // One that nobody here knew goes to the trash.
        Ok(found.chain(is_deleted.then_some(LocalEdit::Deleted)).collect())
    }
}

/// What was found of records, each joined from everything that lies there of it. Those with the highest
/// ids are put off while there are too many.
struct Found {
    states: BTreeMap<EntityId, Entity>,
    bytes: u64,
    bytes_max: u64,
    /// The first record that is wanted: those before it are done with.
    from: Option<EntityId>,
    /// The first that is put off.
    until: Option<EntityId>,
}

impl Found {
    fn new(batch_size: BatchSize) -> Self {
        let bytes_max = batch_size.bytes.saturating_mul(BATCHES_HELD);
        Self { states: BTreeMap::new(), bytes: 0, bytes_max, from: None, until: None }
    }

    fn add(&mut self, entity: Entity) {
        let is_done = self.from.as_ref().is_some_and(|from| entity.id < *from);
        let is_put_off = self.until.as_ref().is_some_and(|until| entity.id >= *until);
        if is_done || is_put_off {
            return;
        }
        match self.states.entry(entity.id.clone()) {
            btree_map::Entry::Vacant(place) => {
                self.bytes += weight_of(&entity);
                place.insert(entity);
            }
            btree_map::Entry::Occupied(mut known) => {
                let both = join(known.get(), &entity);
                let (before, now) = (weight_of(known.get()), weight_of(&both));
                // No honest record comes to more: it could not be sent.
                if now <= before.max(ENTITY_BYTES_MAX as u64) {
                    self.bytes = self.bytes - before + now;
                    known.insert(both);
                }
            }
        }
        while self.bytes > self.bytes_max && self.states.len() > 1 {
            let Some((id, state)) = self.states.pop_last() else { return };
            self.bytes -= weight_of(&state);
            self.until = Some(id);
        }
    }

    /// What is held, and whether that was all; if not, what was put off is wanted next.
    fn take(&mut self) -> (BTreeMap<EntityId, Entity>, bool) {
        self.bytes = 0;
        self.from = self.until.take();
        (std::mem::take(&mut self.states), self.from.is_none())
    }
}

fn weight_of(entity: &Entity) -> u64 {
    weight(entity).saturating_add(RECORD_BYTES)
}

/// A file that no manifest speaks for. One that is damaged was never whole: its writer cannot have
/// committed it.
async fn read_orphan(remote: &Remote, orphan: &Entry, is_strict: bool) -> Result<Option<Loose>> {
    let bytes: Bytes = match remote.storage.read(&orphan.path, DATA_FILE_BYTES_MAX).await {
        Ok((bytes, _)) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The name has the digest's beginning: what was altered since is nobody's edit.
    if is_strict && !layout::is_named_after(&orphan.path, &sha256_hex(&bytes)) {
        return Ok(None);
    }
    Ok(Loose::open(orphan.path.name(), &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Changes, Content};

    /// A record of a title, set by the edit of this counter.
    fn titled(id: usize, device: &str, counter: u64, title: &str) -> Entity {
        let mut state = Entity::new(EntityId::new(format!("e{id:02}")).unwrap());
        let changes = [("title".to_owned(), Change::set(Content::new(title)))];
        let dot = Dot::new(DeviceId::new(device).unwrap(), counter);
        state.edit(&dot, Stamp::from_millis(1), changes.into_iter().collect::<Changes>());
        state
    }

    /// What is found in two files, a part of the records at a time; and how many looks that took.
    fn found(bytes: u64) -> (Vec<Entity>, usize) {
        let mut found = Found::new(BatchSize { bytes, records: 1 });
        let (mut all, mut looks) = (Vec::new(), 0);
        loop {
            looks += 1;
            for (device, title) in [("yyyy", "Oats"), ("zzzz", "Rye")] {
                for id in (0..20).rev() {
                    found.add(titled(id, device, 1 + id as u64, title));
                    let held = found.states.len() as u64;
                    assert!(held == 1 || found.bytes <= found.bytes_max, "{held}");
                    assert_eq!(found.bytes, found.states.values().map(weight_of).sum::<u64>());
                }
            }
            let (states, is_all) = found.take();
            all.extend(states.into_values());
            if is_all {
                return (all, looks);
            }
        }
    }

    #[test]
    fn a_part_at_a_time_each_record_is_found_once_and_whole() {
        let (all, looks) = found(1 << 20);
        assert_eq!((all.len(), looks), (20, 1));
        assert!(all.iter().all(|state| state.siblings("title").len() == 2));
        for (bytes, most) in [(1, 20), (512, 7)] {
            let (parts, looks) = found(bytes);
            assert_eq!(parts, all);
            assert!((2..=most).contains(&looks), "{looks}");
        }
    }

    /// A turn takes up as many records as weigh a few MB.
    #[test]
    fn clocks_of_many_devices_and_objects_weigh_what_they_take() {
        let mut state = titled(1, "aaaa", 1, "Oats");
        assert!(weight(&state) < 100);
        for number in 0..4000 {
            let dot = Dot::new(DeviceId::new(format!("d{number:05}")).unwrap(), 1);
            state.edit(&dot, Stamp::from_millis(1), Changes::new());
        }
        assert!(weight(&state) > 4000 * 100, "{}", weight(&state));
        let objects = serde_json::Value::from(vec![serde_json::json!({"a": 0}); 1000]);
        let changes = [("x".to_owned(), Change::set(Content::new(objects)))];
        let before = weight(&state);
        let dot = Dot::new(DeviceId::new("zzzz").unwrap(), 1);
        state.edit(&dot, Stamp::from_millis(1), changes.into_iter().collect::<Changes>());
        assert!(weight(&state) - before > 1000 * 600);
    }

    #[test]
    fn a_record_does_not_grow_without_end() {
        let long = "x".repeat(6 << 20);
        let mut found = Found::new(BatchSize::default());
        for device in ["aaaa", "bbbb", "cccc", "dddd"] {
            found.add(titled(1, device, 1, &long));
        }
        let (states, is_all) = found.take();
        assert!(is_all);
        assert_eq!(states.values().next().unwrap().siblings("title").len(), 2);
    }
}
