use super::*;
use crate::{
    model::{
        Blob, ContentHash,
        entity::{BLOB, PATH},
    },
    store::blobs::LOOK_MS_MAX,
};

fn blob(content: char, salt: &str) -> Blob {
    let sha256 = String::from(content).repeat(64);
    let file = format!("blobs/{sha256}-{salt}");
    Blob { sha256, bytes: 7, file }
}

fn photo(name: &str, counter: u64, blob: &Blob) -> Entity {
    let set = |value: serde_json::Value| Change::set(Content::new(value));
    let path = (PATH.to_owned(), set(format!("{name}.jpg").into()));
    let changes = Changes::from([(BLOB.to_owned(), set(blob.to_value())), path]);
    let mut entity = entity(name, "aaaa", &[]);
    entity.edit(&Dot::new(device("aaaa"), counter), Stamp::from_millis(5), changes);
    entity
}

fn files(store: &Store, sha256: &str) -> Vec<(String, bool)> {
    let named = store.blobs_of(sha256).unwrap().into_iter();
    named.map(|named| (named.blob.file, named.agreed)).collect()
}

#[test]
fn what_the_remote_holds_follows_from_what_is_agreed() {
    let mut store = bound(Store::in_memory().unwrap());
    let (old, new) = (blob('0', "b"), blob('0', "a"));
    let update = |state, agreed| update(state, agreed);
    decide(&mut store, &[update(photo("p", 1, &old), Agreed::Never)], 1).unwrap();
    assert_eq!(files(&store, &old.sha256), [(old.file.clone(), false)]);
    assert_eq!(store.new_blob_owners().unwrap(), BTreeSet::from([id("p")]));
    store.agree(&mark(1), &[id("p")]).unwrap();
    assert!(store.is_agreed_blob(&old.file).unwrap());
    assert!(store.new_blob_owners().unwrap().is_empty());
    assert_eq!(store.blob_owners().unwrap(), BTreeSet::from([id("p")]));

    let earlier = Agreed::Earlier(Box::new(photo("p", 1, &old)));
    decide(&mut store, &[update(photo("p", 2, &new), earlier)], 2).unwrap();
    let both = [(old.file.clone(), true), (new.file.clone(), false)];
    assert_eq!(files(&store, &old.sha256), both, "what the remote holds comes first");
    let present: Vec<Blob> = store.present_blobs().unwrap().into_keys().collect();
    assert!(present.iter().eq([&new]), "{present:?}");
    store.agree(&mark(2), &[id("p")]).unwrap();
    assert_eq!(files(&store, &old.sha256), [(new.file.clone(), true)]);
    assert!(!store.is_agreed_blob(&old.file).unwrap());
}

#[test]
fn the_history_names_contents_as_well() {
    let mut store = bound(Store::in_memory().unwrap());
    let (old, new) = (blob('0', "a"), blob('1', "a"));
    let update = update(photo("p", 2, &new), Agreed::Current);
    let update = Update { replaced: Some(photo("p", 1, &old)), ..update };
    decide(&mut store, &[update], 5).unwrap();
    let named = BTreeSet::from([old.file, new.file.clone()]);
    assert_eq!(store.named_blobs().unwrap(), named);
    store.prune_history(6).unwrap();
    assert_eq!(store.named_blobs().unwrap(), BTreeSet::from([new.file]));
}

#[test]
fn a_content_is_found_where_it_lies_and_where_it_went() {
    let mut store = bound(Store::in_memory().unwrap());
    let content = blob('0', "a");
    let mut row = row("p.jpg", "p");
    row.known.sha256 = ContentHash::parse(&content.sha256).unwrap();
    let state = update(photo("p", 1, &content), Agreed::Never);
    decide_with(&mut store, &[state], &[row.clone()], &[], 1).unwrap();
    assert_eq!(store.files_with(&content.sha256).unwrap(), [(row.path, row.known)]);
    assert_eq!(store.files_with(&blob('1', "a").sha256).unwrap(), []);
    store.note_sent_blob(&content.file, 9).unwrap();
    assert_eq!(store.sent_blobs_of(&content.sha256, 8).unwrap(), [content.file]);
    assert!(store.sent_blobs_of(&content.sha256, 9).unwrap().is_empty());
    assert!(store.sent_blobs_of(&"0".repeat(63), 8).unwrap().is_empty());
}

#[test]
fn what_nothing_names_is_counted_from_when_that_was_first_seen() {
    let mut store = bound(Store::in_memory().unwrap());
    let some = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut note =
        |names: &[&str], now_ms: i64| store.note_unnamed(&some(names), now_ms, 90).unwrap();
    assert!(note(&["a", "b"], 1_000).is_empty());
    assert!(note(&["a", "b", "c"], 1_050).is_empty());
    assert_eq!(note(&["a", "b", "c"], 1_090), some(&["a", "b"]));
    // Named again for a while.
    assert_eq!(note(&["a", "c"], 1_140), some(&["a", "c"]));
    assert_eq!(note(&["a", "b", "c"], 1_200), some(&["a", "c"]));
    // A clock that is set back or far ahead makes nothing much older.
    assert_eq!(note(&["b"], 20), some(&[]));
    assert_eq!(note(&["b"], 109), some(&[]));
    assert_eq!(note(&["b"], 110), some(&["b"]));
    assert_eq!(store.unnamed(90).unwrap(), some(&["b"]));
    assert_eq!(store.unnamed(91).unwrap(), some(&[]));
    let mut jump =
        |now_ms: i64| store.note_unnamed(&some(&["d"]), now_ms, 2 * LOOK_MS_MAX).unwrap().len();
    assert_eq!([0, 9 * LOOK_MS_MAX, 10 * LOOK_MS_MAX].map(&mut jump), [0, 0, 1]);
}
