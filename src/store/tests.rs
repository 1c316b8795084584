mod cost;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use super::*;
use crate::{
    merge::{conflicts, view},
    model::{
        Agreed, Change, Changes, ConflictState, Content, ContentHash, DeviceId, Dot, Entity,
        EntityId, FileStat, KnownFile, Record, RemoteId, Rules, Stamp, Update, VaultPath,
        VersionVector,
    },
};

mod blobs;
mod checkpoint;
mod remotes;

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn id(name: &str) -> EntityId {
    EntityId::new(name).unwrap()
}

fn path(text: &str) -> VaultPath {
    VaultPath::new(text).unwrap()
}

/// A record whose fields were set by one device, one edit each.
fn entity(name: &str, by: &str, counters: &[u64]) -> Entity {
    let mut entity = Entity::new(id(name));
    for counter in counters {
        let content = Content::with_source(format!("v{counter}"), format!("'v{counter}'"));
        let changes = Changes::from([("title".to_owned(), Change::set(content))]);
        let at = Stamp::from_millis(i64::try_from(*counter).unwrap());
        entity.edit(&Dot::new(device(by), *counter), at, changes);
    }
    entity
}

fn update(state: Entity, agreed: Agreed) -> Update {
    let rules = Rules::default();
    Update {
        view: view(&state, &rules),
        conflicts: conflicts(&state, &rules),
        settled: Vec::new(),
        replaced: None,
        shown: None,
        kept: false,
        file: None,
        agreed,
        state,
    }
}

fn replica() -> Replica {
    Replica {
        device: device("aaaa"),
        counter: 3,
        attempted: 2,
        last_stamp: Stamp::from_millis(9),
        knows: [(device("aaaa"), 3)].into_iter().collect(),
        body: Some("1:2".to_owned()),
    }
}

fn decide(store: &mut Store, updates: &[Update], now_ms: i64) -> Result<()> {
    decide_with(store, updates, &[], &[], now_ms)
}

fn decide_with(
    store: &mut Store,
    updates: &[Update],
    seen: &[FileRow],
    intents: &[Intent],
    now_ms: i64,
) -> Result<()> {
    let pending: BTreeSet<EntityId> = intents.iter().map(|intent| intent.entity.clone()).collect();
    store.decide(&Decided {
        updates,
        pending: &pending,
        replica: &replica(),
        seen,
        gone: &[],
        intents,
        scanned_ms: Some(now_ms),
        now_ms,
    })
}

fn row(name: &str, of: &str) -> FileRow {
    let stat = FileStat { size: 4, mtime_ns: -5, ctime_ns: 6, inode: u64::MAX >> 1 };
    let known = KnownFile { stat, sha256: ContentHash::of(b"x") };
    FileRow { path: path(name), entity: id(of), known }
}

fn remote(name: &str) -> RemoteId {
    RemoteId::new(name).unwrap()
}

fn binding(name: &str) -> Binding {
    Binding { id: remote(name), commit_mode: "rename".to_owned() }
}

/// The store of a vault with a remote.
fn bound(mut store: Store) -> Store {
    store.bind(&binding("remote-1")).unwrap();
    store
}

fn mark(knows: u64) -> RemoteMark {
    RemoteMark {
        id: remote("remote-1"),
        generation: knows,
        manifest_sha256: String::new(),
        manifest: "{}".to_owned(),
        head: format!("{knows}-x"),
        outdone: BTreeSet::new(),
        synced_ms: 7,
    }
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut store = bound(Store::in_memory().unwrap());
    let (old, new) = (entity("e", "aaaa", &[1]), entity("e", "aaaa", &[1, 2]));
    for agreed in [Agreed::Never, Agreed::Current, Agreed::Earlier(Box::new(old.clone()))] {
        for shown in [None, Some(old.clone())] {
            for kept in [false, true] {
                let written =
                    Update { shown: shown.clone(), kept, ..update(new.clone(), agreed.clone()) };
                decide_with(&mut store, &[written], &[row("a.md", "e")], &[], 1).unwrap();
                let record = Record {
                    state: new.clone(),
                    agreed: agreed.clone(),
                    file: Some(path("a.md")),
                    file_sha256: Some(row("a.md", "e").known.sha256.to_string()),
                    shown: shown.clone(),
                    kept,
                };
                assert_eq!(store.record(&id("e")).unwrap(), Some(record));
            }
        }
    }
    assert_eq!(store.replica().unwrap(), Some(replica()));
    let files = store.files().unwrap();
    let file = files.get("a.md").unwrap();
    assert_eq!((files.len(), file.entity(), *file.known), (1, id("e"), row("a.md", "e").known));
    assert_eq!(store.file_at(&path("a.md")).unwrap(), Some(row("a.md", "e")));
    assert_eq!(store.file_at(&path("b.md")).unwrap(), None);
    assert_eq!(store.record(&id("other")).unwrap(), None);
}

#[test]
fn what_a_remote_lacks_is_found_by_its_edits() {
    let mut store = bound(Store::in_memory().unwrap());
    let updates = [
        update(entity("a", "aaaa", &[1]), Agreed::Current),
        update(entity("b", "aaaa", &[2, 3]), Agreed::Current),
        update(entity("c", "bbbb", &[5]), Agreed::Current),
        update(entity("d", "bbbb", &[4]), Agreed::Never),
    ];
    decide(&mut store, &updates, 1).unwrap();
    let lacks = |knows: &[(&str, u64)]| {
        let knows: VersionVector = knows.iter().map(|(d, c)| (device(d), *c)).collect();
        let found = store.unsettled(&knows).unwrap();
        found.iter().map(EntityId::to_string).collect::<Vec<_>>().join("")
    };
    assert_eq!(lacks(&[("aaaa", 3), ("bbbb", 5)]), "d");
    assert_eq!(lacks(&[("aaaa", 2), ("bbbb", 5)]), "bd");
    assert_eq!(lacks(&[("aaaa", 9), ("cccc", 9)]), "cd");
    assert_eq!(lacks(&[]), "abcd");
    assert_eq!(store.unsent().unwrap(), BTreeSet::from([id("d")]));
}

#[test]
fn agreement_and_files_still_to_be_written_settle() {
    let mut store = bound(Store::in_memory().unwrap());
    let state = entity("e", "aaaa", &[1]);
    let shown = Some(entity("e", "aaaa", &[1]));
    let intent =
        Intent { path: path("a.md"), entity: id("e"), sha256: Some("00".repeat(32)), temp: None };
    let gone = Intent { path: path("b.md"), entity: id("e"), sha256: None, temp: None };
    let written = Update { shown, ..update(state, Agreed::Never) };
    let intents = [intent, gone];
    decide_with(&mut store, &[written], &[row("b.md", "e")], &intents, 1).unwrap();
    assert_eq!(store.intents().unwrap(), intents);
    store.agree(&mark(1), &[id("e")]).unwrap();
    assert_eq!(store.record(&id("e")).unwrap().unwrap().agreed, Agreed::Current);
    assert_eq!(store.remote_mark().unwrap(), Some(mark(1)));
    let everything = [(device("aaaa"), 1)].into_iter().collect();
    assert_eq!(store.unsettled(&everything).unwrap().len(), 1, "its file is behind");
    store.settle_files(&[row("a.md", "e")], &[path("b.md")], &[id("e")]).unwrap();
    let record = store.record(&id("e")).unwrap().unwrap();
    assert_eq!((record.shown, record.file), (None, Some(path("a.md"))));
    assert!(store.intents().unwrap().is_empty());
    assert!(store.unsettled(&everything).unwrap().is_empty());
    store.revisit(&[id("e")]).unwrap();
    assert_eq!(store.unsettled(&everything).unwrap().len(), 1);
}

#[test]
fn a_stopped_transaction_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("replica.db");
    let mut store = bound(Store::open(&file).unwrap());
    decide(&mut store, &[update(entity("e", "aaaa", &[1]), Agreed::Never)], 1).unwrap();
    let before = store.record(&id("e")).unwrap();
    let may_commit = Arc::new(AtomicBool::new(false));
    let gate = may_commit.clone();
    store.set_commit_gate(Box::new(move || gate.load(SeqCst)));
    let changed = Update {
        replaced: Some(entity("e", "aaaa", &[1])),
        ..update(entity("e", "aaaa", &[1, 2]), Agreed::Current)
    };
    let more = [changed, update(entity("f", "aaaa", &[3]), Agreed::Never)];
    let stopped = decide_with(&mut store, &more, &[row("a.md", "e")], &[], 2).unwrap_err();
    assert!(matches!(stopped, StoreError::Stopped), "{stopped}");
    assert!(store.agree(&mark(1), &[id("e")]).is_err());
    for store in [&store, &Store::open(&file).unwrap()] {
        assert_eq!(store.record(&id("e")).unwrap(), before);
        assert_eq!(store.all_ids().unwrap().len(), 1);
        assert!(store.history(&id("e")).unwrap().is_empty());
        assert!(store.files().unwrap().is_empty());
        assert_eq!(store.last_scan_ms().unwrap(), 1);
        assert_eq!(store.remote_mark().unwrap(), None);
    }
    may_commit.store(true, SeqCst);
    decide(&mut store, &more, 2).unwrap();
    assert_eq!(store.all_ids().unwrap().len(), 2);
}

#[test]
fn history_lists_what_was_replaced_until_it_is_old() {
    let mut store = bound(Store::in_memory().unwrap());
    for version in 2..5 {
        let counters: Vec<u64> = (1..=version).collect();
        let replaced = Some(entity("e", "aaaa", &counters[..counters.len() - 1]));
        let state = entity("e", "aaaa", &counters);
        let now_ms = i64::try_from(version).unwrap() * 100;
        decide(&mut store, &[Update { replaced, ..update(state, Agreed::Never) }], now_ms).unwrap();
    }
    let versions = |store: &Store| {
        let past = store.history(&id("e")).unwrap();
        past.iter().map(|past| (past.recorded_ms, past.state.version())).collect::<Vec<_>>()
    };
    assert_eq!(versions(&store), [(400, 3), (300, 2), (200, 1)]);
    assert_eq!(store.recent_history(2).unwrap().len(), 2);
    assert_eq!(store.prune_history(300).unwrap(), 1);
    assert_eq!(versions(&store), [(400, 3), (300, 2)]);
}

#[test]
fn a_conflict_stays_listed_until_it_is_settled() {
    let mut store = bound(Store::in_memory().unwrap());
    let joined = crate::merge::join(&entity("e", "aaaa", &[1]), &entity("e", "bbbb", &[2]));
    let contested = update(joined.clone(), Agreed::Never);
    let conflict = contested.conflicts[0].clone();
    decide(&mut store, std::slice::from_ref(&contested), 1).unwrap();
    decide(&mut store, &[contested], 2).unwrap();
    let listed = store.conflicts(false).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].conflict, listed[0].detected_ms), (&conflict, 1));
    assert_eq!(store.conflict_counts().unwrap(), (0, 1));
    let mut settled = joined;
    let change = Change::set(Content::new("both"));
    let changes = Changes::from([("title".to_owned(), change)]);
    settled.edit(&Dot::new(device("aaaa"), 3), Stamp::from_millis(9), changes);
    let settled = Update { settled: vec![conflict.id.clone()], ..update(settled, Agreed::Never) };
    decide(&mut store, &[settled], 3).unwrap();
    assert!(store.conflicts(false).unwrap().is_empty());
    assert_eq!(store.conflicts(true).unwrap()[0].conflict.state, ConflictState::Resolved);
}

#[test]
fn rivals_for_a_path_are_found_whatever_its_case() {
    let mut store = bound(Store::in_memory().unwrap());
    let lies_at = |name: &str, at: &str, counter: u64| {
        let mut state = Entity::new(id(name));
        let change = Change::set(Content::new(at));
        let changes = Changes::from([("path".to_owned(), change)]);
        state.edit(&Dot::new(device("aaaa"), counter), Stamp::from_millis(1), changes);
        update(state, Agreed::Never)
    };
    let mut deleted = lies_at("c", "note.md", 3);
    deleted.view.is_deleted = true;
    let updates = [lies_at("a", "Note.md", 1), lies_at("b", "note.MD", 2), deleted];
    decide(&mut store, &updates, 1).unwrap();
    let found = store.claimants(&path("NOTE.md").key()).unwrap();
    assert_eq!(found, BTreeSet::from([id("a"), id("b")]));
    assert_eq!(store.ids_of_path("note.md").unwrap(), BTreeSet::from([id("c")]));
    assert_eq!(store.live_count().unwrap(), 2);
}
