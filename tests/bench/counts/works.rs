//! The works, each on the same notes every time. Each makes what it needs, and then does the work as
//! often as it is told.

use std::{collections::BTreeMap, fs, hint::black_box, time::Duration};

use larder::{
    merge,
    model::{
        Books, Change, Changes, Content, DeviceId, Dot, Entity, EntityId, Rules, Stamp,
        entity::{BODY, LAYOUT, PATH},
    },
    remote::codec,
    vault::{
        Vault,
        document::{Format, parse},
    },
};

use crate::notes::{self, Notes};

/// A work: it is told how often it is to be done.
type Work = fn(u32);

pub(crate) const WORKS: &[(&str, Work)] = &[
    ("merge", merge_notes),
    ("join", join_notes),
    ("encode", encode_notes),
    ("decode", decode_notes),
    ("parse", parse_notes),
    ("scan, first", scan_first),
    ("scan, nothing changed", scan_again),
];

const SEED: u32 = 1;
const NOTES: usize = 100;

/// A note, and what two devices made of it without knowing of each other.
struct Triple {
    base: Entity,
    local: Entity,
    remote: Entity,
}

fn merge_notes(times: u32) {
    let (triples, rules) = (triples(), Rules::default());
    for _ in 0..times {
        for Triple { base, local, remote } in &triples {
            let merged = merge::resolve(Some(base), local, remote, &rules);
            assert!(!merged.changes.is_empty());
            black_box(merged);
        }
    }
}

fn join_notes(times: u32) {
    let triples = triples();
    for _ in 0..times {
        for Triple { local, remote, .. } in &triples {
            black_box(merge::join(local, remote));
        }
    }
}

fn encode_notes(times: u32) {
    let triples = triples();
    for _ in 0..times {
        for triple in &triples {
            black_box(codec::encode(&triple.local, "note", false));
        }
    }
}

fn decode_notes(times: u32) {
    let lines: Vec<String> =
        triples().iter().map(|triple| codec::encode(&triple.local, "note", false)).collect();
    for _ in 0..times {
        for line in &lines {
            black_box(codec::decode(line).unwrap());
        }
    }
}

fn parse_notes(times: u32) {
    let texts: Vec<String> = Notes::new(SEED).take(NOTES).collect();
    for _ in 0..times {
        for text in &texts {
            black_box(parse(Format::Markdown, text));
        }
    }
}

fn scan_first(times: u32) {
    let (_dir, vault) = vault();
    for _ in 0..times {
        let scan = vault.scan(&Books::default(), 0, usize::MAX).unwrap();
        assert_eq!(scan.new.len(), NOTES);
    }
}

fn scan_again(times: u32) {
    let (_dir, vault) = vault();
    let first = vault.scan(&Books::default(), 0, usize::MAX).unwrap();
    let mut known = Books::default();
    for (number, file) in (1..).zip(&first.new) {
        known.enter(&file.path, &EntityId::new(format!("e{number}")).unwrap(), file.known());
    }
    // Long after the files were written, so that none of them is read again.
    let later_ms = larder::clock::Clock::system().now().millis() + 3_600_000;
    for _ in 0..times {
        assert!(vault.scan(&known, later_ms, usize::MAX).unwrap().is_unchanged());
    }
}

fn vault() -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    notes::fill(dir.path(), NOTES, SEED).unwrap();
    for number in 0..NOTES {
        let file = fs::File::options().append(true).open(dir.path().join(notes::name(number)));
        let yesterday = std::time::SystemTime::now() - Duration::from_hours(24);
        file.unwrap().set_modified(yesterday).unwrap();
    }
    let vault = Vault::open(dir.path()).unwrap();
    (dir, vault)
}

fn triples() -> Vec<Triple> {
    let notes = Notes::new(SEED).take(NOTES).enumerate();
    notes.map(|(number, note)| triple(number, &note)).collect()
}

/// One device changes the first word of the text and the status, the other the last word and the
/// tags: all has to be merged, and nothing is in conflict.
fn triple(number: usize, note: &str) -> Triple {
    let document = parse(Format::Markdown, note).document;
    let body = document.body.clone().unwrap_or_default();
    let mut fields = document.fields;
    fields.insert(BODY.to_owned(), Content::new(body.clone()));
    fields.insert(PATH.to_owned(), Content::new(notes::name(number)));
    fields.insert(LAYOUT.to_owned(), Content::new(document.layout.unwrap_or_default()));
    let mut base = Entity::new(EntityId::new(format!("note-{number}")).unwrap());
    edit(&mut base, "aaaaaa", 1, fields);
    let (mut local, mut remote) = (base.clone(), base.clone());
    let change = |field: &str, value: serde_json::Value, body: String| {
        let body = (BODY.to_owned(), Content::new(body));
        BTreeMap::from([(field.to_owned(), Content::new(value)), body])
    };
    edit(&mut local, "aaaaaa", 2, change("status", "closed".into(), format!("First{body}")));
    let tags = serde_json::json!(["changed"]);
    edit(&mut remote, "bbbbbb", 1, change("tags", tags, format!("{body}Last words.\n")));
    Triple { base, local, remote }
}

fn edit(entity: &mut Entity, device: &str, counter: u64, fields: BTreeMap<String, Content>) {
    let dot = Dot::new(DeviceId::new(device).unwrap(), counter);
    let changes: Changes =
        fields.into_iter().map(|(field, content)| (field, Change::set(content))).collect();
    entity.edit(&dot, Stamp::from_millis(1_700_000_000_000 + counter as i64), changes);
}
