//! What a remote lost, sent again by who has it.

use larder_providers::{RemotePath, StorageExt};

use super::*;
use crate::{
    engine::{
        CheckOptions, CheckReport, CompactOptions, EngineError, FindingKind, NoteKind,
        RepairOptions,
    },
    remote::{CommitMode, RemoteError},
};

const MODES: [CommitMode; 3] = [CommitMode::IfMatch, CommitMode::Rename, CommitMode::Devices];
const HEADS: [&str; 4] = ["meta.json", "head/", "meta/", "heads/"];

struct Pair {
    memory: Memory,
    a: Device,
    b: Device,
}

impl Pair {
    /// Two devices that have three notes in several files.
    async fn new(mode: CommitMode) -> Self {
        let memory = Memory::new();
        let storage: SharedStorage = Arc::new(memory.clone());
        let (mut a, mut b) = (Device::new("laptop", &storage), Device::new("phone", &storage));
        a.engine.connect(&storage, Some(mode)).await.unwrap();
        b.connect().await;
        for name in ["one.md", "two.md", "three.md"] {
            a.write(name, &format!("{name}\n"));
            a.sync().await;
        }
        b.sync().await;
        b.write("b.md", "b.md\n");
        b.sync().await;
        a.sync().await;
        Self { memory, a, b }
    }

    fn remove(&self, begins: &str) -> Vec<RemotePath> {
        let files = self.memory.files().into_keys();
        let gone: Vec<RemotePath> =
            files.filter(|file| file.as_str().starts_with(begins)).collect();
        gone.iter().for_each(|file| drop(self.memory.remove_raw(file)));
        gone
    }

    fn lose_head(&self) {
        HEADS.iter().for_each(|begin| drop(self.remove(begin)));
    }

    /// Everything is in order, and everybody, a newcomer too, has these notes.
    async fn is_whole(&mut self, names: &[&str]) {
        for _ in 0..2 {
            self.a.sync().await;
            self.b.sync().await;
        }
        let mut newcomer = Device::new("newcomer", &self.a.storage);
        newcomer.connect().await;
        let report = newcomer.sync().await;
        assert!(report.notes.is_empty(), "{:?}", report.notes);
        for device in [&self.a, &self.b, &newcomer] {
            assert_eq!(device.names(), names);
            names.iter().for_each(|name| assert_eq!(device.read(name), self.a.read(name)));
        }
        for device in [&mut self.a, &mut self.b, &mut newcomer] {
            let report = check(device).await.unwrap();
            assert!(report.is_ok(), "{report:?}");
            assert_eq!(device.sync().await.pushed, 0);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a user does not write atomically either")]
fn write_photo(device: &Device) {
    fs::write(device.path("photo.jpg"), [0_u8, 159, 146, 150]).unwrap();
}

async fn check(device: &mut Device) -> Result<CheckReport, EngineError> {
    let (storage, options) = (device.storage.clone(), CheckOptions { read_data: true });
    device.engine.check(&storage, &Traffic::new(), options).await
}

async fn try_repair(device: &mut Device, accept_loss: bool) -> Result<CheckReport, EngineError> {
    let (storage, options) =
        (device.storage.clone(), RepairOptions { read_data: true, accept_loss });
    device.engine.repair(&storage, &Traffic::new(), options, &Silent).await
}

async fn repair(device: &mut Device) -> CheckReport {
    try_repair(device, false).await.unwrap()
}

fn kinds(report: &CheckReport) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = report.findings.iter().map(|found| found.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn lost_files_are_written_anew_from_who_has_read_them() {
    for mode in MODES {
        for compacts in [false, true] {
            let mut pair = Pair::new(mode).await;
            if compacts {
                let (storage, options) = (pair.a.storage.clone(), CompactOptions::default());
                let traffic = Traffic::new();
                pair.a.engine.compact(&storage, &traffic, options, &Silent).await.unwrap();
                pair.b.sync().await;
            }
            let gone =
                ["entities/", "packs/", "deltas/"].map(|begins| pair.remove(begins)).concat();
            assert!(!gone.is_empty());
            assert!(!check(&mut pair.a).await.unwrap().is_ok());
            let report = repair(&mut pair.a).await;
            assert!(report.is_ok(), "{mode:?}: {report:?}");
            assert!(!report.repaired.is_empty());
            pair.is_whole(&["b.md", "one.md", "three.md", "two.md"]).await;
        }
    }
}

#[tokio::test]
async fn a_lost_head_is_made_anew_and_nobody_takes_the_folder_for_a_new_one() {
    for mode in MODES {
        let mut pair = Pair::new(mode).await;
        // An edit that the repairing device has not seen.
        pair.b.write("late.md", "late\n");
        pair.b.sync().await;
        pair.lose_head();
        let mut newcomer = Device::new("newcomer", &pair.a.storage);
        let storage = pair.a.storage.clone();
        assert!(newcomer.engine.connect(&storage, None).await.is_err(), "{mode:?}");
        let traffic = Traffic::new();
        let turn = pair.a.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
        let error = turn.await.unwrap_err();
        let is_named = matches!(error, EngineError::Remote(RemoteError::HeadMissing { .. }));
        assert!(is_named || mode == CommitMode::Devices, "{mode:?}: {error}");
        let report = repair(&mut pair.a).await;
        assert!(report.is_ok(), "{mode:?}: {report:?}");
        // Its maker need not come back for it.
        assert_eq!(pair.a.read("late.md"), "late\n", "{mode:?}: {report:?}");
        pair.is_whole(&["b.md", "late.md", "one.md", "three.md", "two.md"]).await;
    }
}

#[tokio::test]
async fn a_head_without_any_whole_manifest_claims_nothing() {
    for mode in MODES {
        let mut pair = Pair::new(mode).await;
        pair.b.write("late.md", "late\n");
        pair.b.sync().await;
        pair.lose_head();
        // Of what both have, a part is gone; and the latest edit of the phone is there.
        let first = pair.memory.files().into_keys().find(|file| file.as_str().contains(".0-"));
        let first = first.or_else(|| pair.memory.files().into_keys().next()).unwrap();
        pair.memory.remove_raw(&first);
        let report = repair(&mut pair.a).await;
        assert!(report.is_ok(), "{mode:?}: {report:?}");
        assert!(report.repaired.iter().any(|line| line.contains("sent anew")), "{report:?}");
        pair.is_whole(&["b.md", "late.md", "one.md", "three.md", "two.md"]).await;
    }
}

#[tokio::test]
async fn who_is_behind_says_who_may_have_it_and_goes_on_only_when_told() {
    for accept_loss in [false, true] {
        let mut pair = Pair::new(CommitMode::Rename).await;
        pair.b.write("late.md", "late\n");
        pair.b.sync().await;
        pair.b.write("later.md", "later\n");
        pair.b.sync().await;
        let files = pair.memory.files().into_keys();
        let latest = files
            .filter(|file| file.as_str().starts_with("entities/"))
            .max_by_key(|file| crate::remote::layout::data_generation(file.as_str()));
        let latest = latest.unwrap();
        pair.memory.remove_raw(&latest);
        let report = repair(&mut pair.a).await;
        assert_eq!(kinds(&report), [FindingKind::Missing]);
        let [advice] = report.advice.as_slice() else { panic!("{report:?}") };
        assert!(advice.contains("larder check --read-data --repair"), "{advice}");
        assert_eq!(pair.a.read("late.md"), "late\n");
        if !accept_loss {
            let report = repair(&mut pair.b).await;
            assert!(report.is_ok(), "{report:?}");
            pair.is_whole(&["b.md", "late.md", "later.md", "one.md", "three.md", "two.md"]).await;
            continue;
        }
        let report = try_repair(&mut pair.a, true).await.unwrap();
        assert!(report.is_ok(), "{report:?}");
        assert!(!pair.a.names().contains(&"later.md".to_owned()));
        // Who has it finds out and brings it back.
        pair.b.sync().await;
        assert_eq!(pair.b.read("later.md"), "later\n");
        assert_eq!(kinds(&check(&mut pair.b).await.unwrap()), [FindingKind::Lacking]);
        let report = repair(&mut pair.b).await;
        assert!(report.is_ok(), "{report:?}");
        pair.is_whole(&["b.md", "late.md", "later.md", "one.md", "three.md", "two.md"]).await;
    }
}

#[tokio::test]
async fn lost_and_altered_contents_go_up_again_under_another_name() {
    for altered in [false, true] {
        let mut pair = Pair::new(CommitMode::IfMatch).await;
        write_photo(&pair.a);
        pair.a.sync().await;
        pair.b.sync().await;
        let files = pair.memory.files();
        let blob = files.keys().find(|file| file.as_str().starts_with("blobs/")).unwrap();
        match altered {
            true => pair.memory.insert_raw(blob, vec![0_u8, 159, 146, 151]),
            false => drop(pair.memory.remove_raw(blob)),
        }
        let report = repair(&mut pair.b).await;
        assert!(report.is_ok(), "{report:?}");
        assert!(report.repaired[0].contains("sent again under another name"), "{report:?}");
        let mut newcomer = Device::new("newcomer", &pair.a.storage);
        newcomer.connect().await;
        newcomer.sync().await;
        assert_eq!(fs::read(newcomer.path("photo.jpg")).unwrap(), [0_u8, 159, 146, 150]);
    }
}

#[tokio::test]
async fn a_content_that_nobody_has_is_said_to_be_gone() {
    let mut pair = Pair::new(CommitMode::IfMatch).await;
    write_photo(&pair.a);
    pair.a.sync().await;
    pair.remove("blobs/");
    // The phone knows the record, and never got the content.
    pair.b.sync().await;
    let report = repair(&mut pair.b).await;
    assert!(!report.is_ok(), "{report:?}");
    assert!(report.advice.iter().any(|line| line.contains("its content is gone")), "{report:?}");
    assert!(repair(&mut pair.a).await.is_ok());
    pair.b.sync().await;
    assert_eq!(fs::read(pair.b.path("photo.jpg")).unwrap(), [0_u8, 159, 146, 150]);
}

#[tokio::test]
async fn two_who_repair_at_once_make_one_head() {
    for mode in MODES {
        let mut pair = Pair::new(mode).await;
        pair.lose_head();
        pair.a.write("a only.md", "a\n");
        pair.b.write("b only.md", "b\n");
        let (first, second) =
            tokio::join!(try_repair(&mut pair.a, false), try_repair(&mut pair.b, false));
        first.unwrap();
        second.unwrap();
        pair.is_whole(&["a only.md", "b only.md", "b.md", "one.md", "three.md", "two.md"]).await;
    }
}

#[tokio::test]
async fn a_history_that_was_replaced_is_named_although_nothing_is_lacking() {
    let mut pair = Pair::new(CommitMode::IfMatch).await;
    let meta = RemotePath::new("meta.json").unwrap();
    let before = pair.memory.snapshot();
    pair.a.write("one.md", "one, edited\n");
    pair.a.sync().await;
    let (lost, _) = pair.b.storage.read(&meta, 1 << 20).await.unwrap();
    // The folder is restored from a backup, and the phone, which had seen more, heals it.
    pair.b.sync().await;
    pair.memory.restore(&before);
    let report = pair.b.sync().await;
    assert!(report.notes.iter().any(|note| note.kind == NoteKind::Healed), "{:?}", report.notes);
    let (now, _) = pair.b.storage.read(&meta, 1 << 20).await.unwrap();
    assert_ne!(lost, now);
    assert!(kinds(&check(&mut pair.a).await.unwrap()).contains(&FindingKind::Forked));
    let report = pair.a.sync().await;
    let [note] = report.notes.as_slice() else { panic!("{:?}", report.notes) };
    assert!(note.text.contains("another history"), "{note:?}");
    assert!(pair.a.sync().await.notes.is_empty());
    pair.is_whole(&["b.md", "one.md", "three.md", "two.md"]).await;
}

#[tokio::test]
async fn a_check_tells_edits_from_damage() {
    let mut pair = Pair::new(CommitMode::IfMatch).await;
    pair.a.write("one.md", "one, edited\n");
    pair.a.write("new.md", "new\n");
    fs::remove_file(pair.a.path("two.md")).unwrap();
    let report = check(&mut pair.a).await.unwrap();
    assert_eq!(kinds(&report), [FindingKind::Edited]);
    assert_eq!(report.findings.len(), 3);
    assert!(report.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_only_the_torn_head_of_a_lost_device_named_is_taken_up() {
    let mut pair = Pair::new(CommitMode::Devices).await;
    pair.a.write("four.md", "four.md\n");
    pair.a.write("gone.md", "gone.md\n");
    pair.a.sync().await;
    fs::remove_file(pair.a.path("gone.md")).unwrap();
    pair.a.sync().await;
    let head = format!("heads/{}.json", pair.a.engine.replica().unwrap().device);
    let head = RemotePath::new(head).unwrap();
    let whole = pair.memory.files()[&head].clone();
    pair.memory.write(&head, whole.slice(..whole.len() / 2)).await.unwrap();
    let report = pair.b.sync().await;
    let waits = |note: &crate::engine::Note| note.text.contains("check --repair");
    assert!(report.notes.iter().any(waits), "{report:?}");
    assert_eq!(pair.b.names(), ["b.md", "one.md", "three.md", "two.md"]);
    let report = repair(&mut pair.b).await;
    assert!(report.repaired.iter().any(|text| text.contains("taken up")), "{report:?}");
    assert_eq!(pair.b.names(), ["b.md", "four.md", "one.md", "three.md", "two.md"]);
    let mut newcomer = Device::new("newcomer", &pair.b.storage);
    newcomer.connect().await;
    newcomer.sync().await;
    assert_eq!(newcomer.names(), pair.b.names());
    assert_eq!(newcomer.read("four.md"), "four.md\n");
    // Taken up once: whatever became of it, no repair, nor compaction, has it again.
    pair.b.write("four.md", "edited since\n");
    fs::remove_file(pair.b.path("three.md")).unwrap();
    pair.b.sync().await;
    newcomer.sync().await;
    let report = repair(&mut newcomer).await;
    assert_eq!((&report.repaired, repair(&mut pair.b).await.repaired), (&vec![], vec![]));
    let (storage, device) = (pair.b.storage.clone(), pair.a.engine.replica().unwrap().device);
    pair.b.engine.forget_device(&storage, &device).await.unwrap();
    let options = CompactOptions { force: true, ..CompactOptions::default() };
    pair.b.engine.compact(&storage, &Traffic::new(), options, &Silent).await.unwrap();
    pair.b.sync().await;
    assert_eq!(pair.b.names(), ["b.md", "four.md", "one.md", "two.md"]);
    assert_eq!(pair.b.read("four.md"), "edited since\n");
    // And should the device come back after all, everybody has the same.
    pair.a.sync().await;
    pair.b.sync().await;
    pair.a.sync().await;
    assert_eq!(pair.a.names(), pair.b.names());
}

/// What a head that cannot be read may name is left alone; that is not to say that it is gone.
#[tokio::test(start_paused = true)]
async fn contents_are_not_missed_while_a_head_cannot_be_read() {
    let mut pair = Pair::new(CommitMode::Devices).await;
    pair.b.write("photo.jpg", "\0photo");
    pair.b.sync().await;
    pair.a.write("four.md", "four.md\n");
    pair.a.sync().await;
    pair.b.sync().await;
    let head = format!("heads/{}.json", pair.a.engine.replica().unwrap().device);
    let head = RemotePath::new(head).unwrap();
    let whole = pair.memory.files()[&head].clone();
    pair.memory.insert_raw(&head, whole.slice(..whole.len() / 2));
    let contents = |pair: &Pair| {
        let files = pair.memory.files().into_keys();
        files.filter(|path| path.as_str().starts_with("blobs/")).collect::<Vec<_>>()
    };
    let before = contents(&pair);
    assert_eq!(before.len(), 1);
    let report = check(&mut pair.b).await.unwrap();
    assert!(!kinds(&report).contains(&FindingKind::Missing), "{report:?}");
    let report = repair(&mut pair.b).await;
    assert!(!report.repaired.iter().any(|text| text.contains("sent again")), "{report:?}");
    assert_eq!(contents(&pair), before);
}

#[tokio::test(start_paused = true)]
async fn files_of_a_device_that_lives_are_left_to_its_head() {
    let mut pair = Pair::new(CommitMode::Devices).await;
    pair.a.write("four.md", "four.md\n");
    pair.a.sync().await;
    let head_of = |device: &Device| {
        let head = format!("heads/{}.json", device.engine.replica().unwrap().device);
        RemotePath::new(head).unwrap()
    };
    // The head of one was cut off for good; that of another is on its way, its files are there.
    let mut c = Device::new("tablet", &pair.a.storage);
    c.connect().await;
    c.sync().await;
    let (torn, late) = (head_of(&pair.a), head_of(&c));
    c.write("late.md", "late.md\n");
    c.sync().await;
    let head = pair.memory.remove_raw(&late).unwrap();
    let whole = pair.memory.files()[&torn].clone();
    pair.memory.write(&torn, whole.slice(..whole.len() / 2)).await.unwrap();
    pair.b.sync().await;
    repair(&mut pair.b).await;
    assert!(!pair.b.names().contains(&"late.md".to_owned()));
    assert!(pair.b.names().contains(&"four.md".to_owned()));
    pair.memory.write(&late, head).await.unwrap();
    pair.b.sync().await;
    assert_eq!(pair.b.read("late.md"), "late.md\n");
}

/// Programs that mirror folders leave copies of it; where it is no head nobody joins them.
#[tokio::test]
async fn copies_of_meta_json_go_and_those_of_another_remote_are_named() {
    for mode in [CommitMode::Rename, CommitMode::Devices] {
        for is_repaired in [false, true] {
            let mut pair = Pair::new(mode).await;
            let meta = pair.memory.files()[&RemotePath::new("meta.json").unwrap()].clone();
            let text = String::from_utf8(meta.to_vec()).unwrap();
            let at = text.find("remoteId").unwrap() + 12;
            let foreign = format!("{}other-{}", &text[..at], &text[at..]);
            let root = RemotePath::root();
            for (name, text) in [
                ("meta (conflicted copy).json", &text),
                ("meta.sync-conflict-20261120-101500-AB.json", &text),
                ("meta (2).json", &foreign),
                ("meta (3).json", &"{".to_owned()),
            ] {
                let file = RemotePath::found(&root, name).unwrap();
                pair.memory.write(&file, text.clone().into()).await.unwrap();
            }
            let left = |pair: &Pair| {
                let files = pair.memory.files().into_keys();
                let names = files.map(|file| file.as_str().to_owned());
                names.filter(|name| name.starts_with("meta") && !name.contains('/')).collect()
            };
            let before: Vec<String> = left(&pair);
            assert_eq!(before.len(), 5);
            pair.a.sync().await;
            let storage = pair.a.storage.clone();
            let options = CheckOptions { read_data: false };
            let found = pair.a.engine.check(&storage, &Traffic::new(), options).await.unwrap();
            let named =
                |words: &str| found.findings.iter().filter(|f| f.detail.contains(words)).count();
            assert_eq!(named("a compaction removes it"), 2, "{found:?}");
            assert_eq!((named("of another remote, other-"), named("cannot be read")), (1, 1));
            if is_repaired {
                let report = repair(&mut pair.a).await;
                assert_eq!(report.repaired.len(), 2, "{report:?}");
            } else {
                let options = CompactOptions::default();
                pair.a.engine.compact(&storage, &Traffic::new(), options, &Silent).await.unwrap();
            }
            let after: Vec<String> = left(&pair);
            assert_eq!(after, ["meta (2).json", "meta (3).json", "meta.json"], "{mode:?}");
        }
    }
}
