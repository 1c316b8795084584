//! Several remotes: what is known of one says nothing of the others.

use super::*;

fn two_remotes() -> Store {
    let mut store = bound(Store::in_memory().unwrap());
    store.bind(&binding("remote-2")).unwrap();
    store
}

fn agreed(store: &mut Store, of: &str) -> Agreed {
    assert!(store.look_at(&remote(of)).unwrap());
    store.record(&id("e")).unwrap().unwrap().agreed
}

fn mark_of(name: &str) -> RemoteMark {
    RemoteMark { id: remote(name), ..mark(1) }
}

#[test]
fn a_change_leaves_every_remote_behind_at_what_it_holds() {
    let mut store = two_remotes();
    let states: Vec<Entity> =
        (1..=3).map(|last| entity("e", "aaaa", &(1..=last).collect::<Vec<_>>())).collect();
    let earlier = |nth: usize| Agreed::Earlier(Box::new(states[nth].clone()));
    decide(&mut store, &[update(states[0].clone(), Agreed::Never)], 1).unwrap();
    for name in ["remote-1", "remote-2"] {
        assert_eq!(agreed(&mut store, name), Agreed::Never);
        assert!(store.is_behind().unwrap());
    }
    assert_eq!(store.held_nowhere().unwrap(), BTreeSet::from([id("e")]));
    store.agree(&mark_of("remote-2"), &[id("e")]).unwrap();
    assert_eq!(agreed(&mut store, "remote-1"), Agreed::Never);
    assert_eq!(agreed(&mut store, "remote-2"), Agreed::Current);
    assert!(!store.is_behind().unwrap() && store.held_nowhere().unwrap().is_empty());
    assert_eq!(store.unsent().unwrap(), BTreeSet::from([id("e")]), "the first lacks it");
    // News from the first remote.
    store.look_at(&remote("remote-1")).unwrap();
    decide(&mut store, &[update(states[1].clone(), Agreed::Current)], 2).unwrap();
    assert_eq!(agreed(&mut store, "remote-1"), Agreed::Current);
    assert_eq!(agreed(&mut store, "remote-2"), earlier(0));
    // An edit that nobody has.
    store.look_at(&remote("remote-1")).unwrap();
    decide(&mut store, &[update(states[2].clone(), earlier(1))], 3).unwrap();
    assert_eq!(agreed(&mut store, "remote-1"), earlier(1));
    assert_eq!(agreed(&mut store, "remote-2"), earlier(0), "it is as far behind as it was");
    assert_eq!(store.held_nowhere().unwrap(), BTreeSet::from([id("e")]));
    let held = store.held_edit(&id("e"), &device("aaaa")).unwrap().unwrap();
    assert_eq!(held.counter, 2, "what either of them holds");
    // What changes nothing of the state leaves nobody behind.
    store.agree(&mark_of("remote-2"), &[id("e")]).unwrap();
    store.agree(&mark_of("remote-1"), &[]).unwrap();
    store.look_at(&remote("remote-1")).unwrap();
    decide(&mut store, &[update(states[2].clone(), Agreed::Current)], 4).unwrap();
    assert_eq!(agreed(&mut store, "remote-1"), Agreed::Current);
}

#[test]
fn what_is_remembered_of_one_remote_is_not_of_another() {
    let mut store = two_remotes();
    let trouble = Trouble { message: "gone".to_owned(), is_temporary: true, since_ms: 1 };
    let awaited = Awaited { what: "a head".to_owned(), since_ms: 1 };
    store.set_trouble(Some(&trouble)).unwrap();
    store.set_files_read(&BTreeSet::from(["packs/1".to_owned()])).unwrap();
    store.note_try("one").unwrap();
    store.set_looked_ms(Some(3)).unwrap();
    store.set_awaited(Some(&awaited)).unwrap();
    store.set_files_before(Some(7)).unwrap();
    store.note_sent_blob("blobs/0-a", 5).unwrap();
    store.agree(&mark_of("remote-2"), &[]).unwrap();
    assert!(!store.is_cut_elsewhere().unwrap());
    let told = |store: &Store| {
        (store.trouble(), store.files_read(), store.tried(), store.looked_ms(), store.awaited())
    };
    assert!(store.look_at(&remote("remote-1")).unwrap());
    let (trouble, read, tried, looked, awaited) = told(&store);
    assert_eq!((trouble.unwrap(), looked.unwrap(), awaited.unwrap()), (None, None, None));
    assert!(read.unwrap().is_empty() && tried.unwrap().is_empty());
    assert_eq!((store.files_before().unwrap(), store.remote_mark().unwrap()), (None, None));
    assert!(store.sent_blobs_of("0", 0).unwrap().is_empty());
    assert!(store.is_cut_elsewhere().unwrap());
    assert_eq!(store.manifests().unwrap().len(), 1);
    // And the first life of a replica ends for all of them.
    let id = |store: &Store| store.binding().unwrap().unwrap().id;
    assert_eq!(id(&store), remote("remote-1"));
    assert!(!store.look_at(&remote("remote-3")).unwrap());
    assert_eq!(id(&store), remote("remote-1"));
    assert!(store.unbind(&remote("remote-1")).unwrap());
    assert!(!store.unbind(&remote("remote-1")).unwrap());
    assert_eq!(id(&store), remote("remote-2"));
    assert_eq!(store.bindings().unwrap(), [binding("remote-2")]);
}

#[test]
fn a_remote_that_comes_later_holds_nothing_yet() {
    let mut store = bound(Store::in_memory().unwrap());
    decide(&mut store, &[update(entity("e", "aaaa", &[1]), Agreed::Current)], 1).unwrap();
    store.bind(&binding("remote-2")).unwrap();
    store.note_try("a commit").unwrap();
    assert_eq!(store.unagreed().unwrap(), BTreeSet::from([id("e")]));
    assert!(store.held_nowhere().unwrap().is_empty());
    store.unbind(&remote("remote-2")).unwrap();
    store.bind(&binding("remote-2")).unwrap();
    assert_eq!(agreed(&mut store, "remote-2"), Agreed::Never, "what was known of it is forgotten");
    assert_eq!(store.tried().unwrap(), ["a commit"], "but it is still this device's own");
    store.bind(&binding("remote-1")).unwrap();
    assert_eq!(agreed(&mut store, "remote-1"), Agreed::Current, "one that is known stays known");
}

#[test]
fn the_trash_waits_until_all_remotes_hold_the_deletion() {
    let mut store = two_remotes();
    let mut deleted = update(entity("e", "aaaa", &[1]), Agreed::Current);
    deleted.view.is_deleted = true;
    decide(&mut store, &[deleted.clone()], 1).unwrap();
    let of_type = |store: &Store| -> i64 {
        let sql = "SELECT count(*) FROM entity WHERE deleted_ms IS NOT NULL";
        store.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    store.look_at(&remote("remote-1")).unwrap();
    store.empty_trash(1_000, 10).unwrap();
    assert_eq!(of_type(&store), 0);
    store.agree(&mark_of("remote-1"), &[id("e")]).unwrap();
    store.look_at(&remote("remote-2")).unwrap();
    store.empty_trash(1_000, 10).unwrap();
    assert_eq!(of_type(&store), 0, "by the clock of the first");
    store.look_at(&remote("remote-1")).unwrap();
    store.empty_trash(1_000, 10).unwrap();
    assert_eq!(of_type(&store), 1);
}

#[test]
fn what_was_known_of_the_one_remote_is_known_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("replica.db");
    let state = |counters: &[u64]| to_json(&entity("e", "aaaa", counters)).unwrap();
    schema::make_old(&file, 5, |old| {
        let set = |key: &str, value: &str| {
            let sql = "INSERT INTO replica (key, value) VALUES (?1, ?2)";
            old.execute(sql, (key, value)).unwrap();
        };
        set("binding", r#"{"id":"remote-1","commit_mode":"rename"}"#);
        set("remote", &serde_json::to_string(&mark(7)).unwrap());
        set("tried", r#"["x"]"#);
        set("last_scan_ms", "9");
        for (name, agreed, held) in [("e", 2, Some(state(&[1]))), ("f", 0, None), ("g", 1, None)] {
            let sql = "INSERT INTO entity (id, state, agreed, agreed_state, pending, kept, type,
                       version, deleted, modified_ms) VALUES (?1, ?2, ?3, ?4, 0, 0, '', 1, 0, 0)";
            let now = to_json(&entity(name, "aaaa", &[1, 2])).unwrap();
            old.execute(sql, (name, now, agreed, held)).unwrap();
        }
        old.execute_batch(
            "INSERT INTO blob VALUES ('e', 'old', 'x', 1, 0, 1), ('e', 'new', 'y', 2, 1, 0),
                 ('g', 'both', 'z', 3, 1, 1);
             INSERT INTO sent_blob VALUES ('sent', 5);
             INSERT INTO unnamed_blob VALUES ('unnamed', 6)",
        )
        .unwrap();
    });
    let store = Store::open(&file).unwrap();
    assert_eq!(store.binding().unwrap(), Some(binding("remote-1")));
    assert_eq!(store.remote_mark().unwrap(), Some(mark(7)));
    assert_eq!((store.tried().unwrap(), store.last_scan_ms().unwrap()), (vec!["x".to_owned()], 9));
    let agreed = |name: &str| store.record(&id(name)).unwrap().unwrap().agreed;
    assert_eq!(agreed("e"), Agreed::Earlier(Box::new(entity("e", "aaaa", &[1]))));
    assert_eq!((agreed("f"), agreed("g")), (Agreed::Never, Agreed::Current));
    assert_eq!(store.new_blob_owners().unwrap(), BTreeSet::from([id("e")]));
    let holds = |file: &str| store.is_agreed_blob(file).unwrap();
    assert!(holds("old") && !holds("new") && holds("both"));
}
