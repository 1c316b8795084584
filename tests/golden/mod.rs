//! Remote folders that were not made by larder's own encoder: what is read from them, and what
//! becomes of damage. `fixtures/remote/make_golden.py` makes them from `docs/format.md` alone.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use larder::{
    clock::Clock,
    engine::{Engine, EngineError, NoteKind, Report, Silent, TurnOptions},
    model::{Stamp, entity::BODY},
    remote::RemoteError,
    seal::{DataKey, Sealed, Sealer},
    store::Store,
    vault::Vault,
};
use larder_providers::{Local, SharedStorage, Traffic};

mod damaged;
mod encrypted;

/// A device with an empty vault, beside a copy of a fixture's remote folder.
struct Device {
    folder: tempfile::TempDir,
    remote: Arc<tempfile::TempDir>,
    engine: Engine,
    /// What the remote is read through, if it is encrypted.
    key: Option<DataKey>,
}

impl Device {
    fn on(remote: &Arc<tempfile::TempDir>, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        let clock = Clock::custom(|| Stamp::parse("2026-12-01T00:00:00.000Z").unwrap());
        let random = fastrand::Rng::with_seed(seed);
        let store = Store::in_memory().unwrap();
        let engine = Engine::new(store, Some(vault), clock, random, "reader").unwrap();
        Self { folder, remote: Arc::clone(remote), engine, key: None }
    }

    /// Another device that has read the same remote.
    async fn newcomer(&self, seed: u64) -> Self {
        let mut newcomer = Self { key: self.key.clone(), ..Self::on(&self.remote, seed) };
        newcomer.turn().await.unwrap();
        newcomer
    }

    fn storage(&self, traffic: &Traffic) -> SharedStorage {
        let local = Arc::new(Local::new(self.remote.path()).with_traffic(traffic.clone()));
        match &self.key {
            Some(key) => Arc::new(Sealed::new(local, Sealer::new(encrypted::ID, key))),
            None => local,
        }
    }

    async fn turn(&mut self) -> Result<Report, EngineError> {
        let traffic = Traffic::new();
        let storage = self.storage(&traffic);
        self.engine.connect(&storage, None).await?;
        self.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent).await
    }

    fn files(&self) -> BTreeMap<String, String> {
        files_in(self.folder.path())
    }

    fn conflicts(&self) -> String {
        let mut lines: Vec<String> = self
            .engine
            .store()
            .conflicts(false)
            .unwrap()
            .into_iter()
            .map(|stored| {
                let conflict = stored.conflict;
                let (kind, state) = (word(conflict.kind), word(conflict.state));
                format!("{} {} {kind} {state} {}\n", stored.entity, conflict.field, conflict.id)
            })
            .collect();
        lines.sort();
        lines.concat()
    }
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/remote")
}

fn name_of(fixture: &Path) -> &str {
    fixture.file_name().unwrap().to_str().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// Every file below a folder with what it holds; none if there is no such folder.
fn files_in(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, read(&path));
            }
        }
    }
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// A copy of a folder, for larder leaves its lock there.
fn copy_of(folder: &Path) -> Arc<tempfile::TempDir> {
    let remote = tempfile::tempdir().unwrap();
    copy(folder, remote.path());
    Arc::new(remote)
}

/// A copy of a fixture's remote.
fn remote_of(fixture: &Path) -> Arc<tempfile::TempDir> {
    copy_of(&fixture.join("remote"))
}

/// Sees to it that a device has what a fixture expects.
#[track_caller]
fn is_as_expected(device: &Device, fixture: &Path) {
    let name = name_of(fixture);
    assert_eq!(device.files(), files_in(&fixture.join("expected")), "{name}");
    assert_eq!(device.conflicts(), read(fixture.join("conflicts.txt")), "{name}");
}

#[tokio::test]
async fn golden_remotes_become_their_files_byte_for_byte() {
    for fixture in folders_in(&fixtures().join("v1")) {
        let name = name_of(&fixture);
        let mut device = Device::on(&remote_of(&fixture), 1);
        let turn = device.turn().await;
        assert_eq!(said(&turn), [""; 0], "{name}");
        is_as_expected(&device, &fixture);
        // What was read is neither news nor an edit.
        let report = turn.unwrap();
        assert_eq!(report.pushed, 0, "{name}: {:?}", report.plan);
        let again = device.turn().await.unwrap();
        assert_eq!((again.pushed, again.pulled), (0, 0), "{name}");
        is_as_expected(&device, &fixture);
    }
}

#[tokio::test]
async fn an_edit_of_a_golden_file_is_an_edit_of_one_field() {
    let fixture = fixtures().join("v1/if-match");
    let mut device = Device::on(&remote_of(&fixture), 2);
    device.turn().await.unwrap();
    let own = device.engine.store().replica().unwrap().unwrap().device;
    for name in ["groceries.md", "siblings.md", "crlf.markdown", "made.md", "readme.txt"] {
        let path = device.folder.path().join(name);
        let text = read(&path) + "one more line\n";
        fs::write(&path, text).unwrap();
        assert_eq!(device.turn().await.unwrap().pushed, 1, "{name}");
        let id = device.engine.find(name).unwrap();
        let record = device.engine.store().record(&id).unwrap().unwrap();
        let is_own = |field: &&String| record.state.siblings(field)[0].dot.device == own;
        let edited: Vec<&String> = record.state.fields.keys().filter(is_own).collect();
        // A record that no file ever showed gets the layout of its first one with the first edit.
        let expected: &[&str] = if name == "made.md" { &["$layout", BODY] } else { &[BODY] };
        assert_eq!(edited, expected, "{name}");
    }
    // Another device reads what was added to a folder that larder did not make.
    assert_eq!(device.newcomer(3).await.files(), device.files());
    let manifest = read(device.remote.path().join("meta.json"));
    assert!(manifest.contains(r#""futureKey":{"kept":true}"#), "{manifest}");
}

#[tokio::test]
async fn two_heads_become_one() {
    let fixture = fixtures().join("v1/two-heads");
    let mut device = Device::on(&remote_of(&fixture), 4);
    let report = device.turn().await.unwrap();
    assert_eq!((report.generation, report.pushed), (3, 0));
    let heads = files_in(&device.remote.path().join("head"));
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads.keys().all(|token| token.starts_with("3-")), "{heads:?}");
    assert_eq!(device.newcomer(5).await.files(), files_in(&fixture.join("expected")));
}

/// A replica that read the remote some generations ago, and the remote as it is now.
async fn behind(fixture: &Path) -> Device {
    let remote = remote_of(fixture);
    copy(&fixture.join("earlier"), remote.path());
    let mut device = Device::on(&remote, 7);
    device.turn().await.unwrap();
    fs::copy(fixture.join("remote/meta.json"), remote.path().join("meta.json")).unwrap();
    device
}

/// The data file of a fixture that has an index, and how long it is.
fn indexed(fixture: &Path) -> (String, u64) {
    let manifest = read(fixture.join("remote/meta.json"));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let packs = manifest["packs"].as_array().unwrap();
    let row = packs.iter().find(|row| row.get("index").is_some()).unwrap();
    (row["file"].as_str().unwrap().to_owned(), row["bytes"].as_u64().unwrap())
}

#[tokio::test]
async fn who_is_a_little_behind_reads_parts_and_has_the_same() {
    let fixture = fixtures().join("v1/blocks");
    let mut device = behind(&fixture).await;
    assert!(device.files().contains_key("parts/6.md"));
    assert!(!device.files().contains_key("parts/7.md"));
    let report = device.turn().await.unwrap();
    is_as_expected(&device, &fixture);
    assert_eq!(report.pushed, 0);
    let (_, whole) = indexed(&fixture);
    assert!(report.cost.bytes_down * 2 < whole, "{} of {whole}", report.cost.bytes_down);
    // The same edits of every record as one who read everything.
    let mut other = Device::on(&remote_of(&fixture), 8);
    other.turn().await.unwrap();
    let states = |device: &Device| {
        let mut states = Vec::new();
        let each = |state| {
            states.push(state);
            Ok(())
        };
        device.engine.store().each_state(each).unwrap();
        states
    };
    assert_eq!(states(&device), states(&other));
}

#[tokio::test]
async fn damage_in_a_part_that_is_not_wanted_hurts_nobody() {
    let fixture = fixtures().join("v1/blocks");
    for (offset, is_wanted) in [(20_000, false), (120_000, true)] {
        let mut device = behind(&fixture).await;
        let (name, _) = indexed(&fixture);
        let path = device.remote.path().join(&name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[offset] ^= 1;
        fs::write(&path, bytes).unwrap();
        let said = said(&device.turn().await);
        assert_eq!(said.len(), usize::from(is_wanted), "{said:?}");
        assert!(said.iter().all(|said| said.starts_with(&name)), "{said:?}");
        // What other files have of the same generation arrives all the same.
        assert_eq!(device.files().get("twice.md").map(String::as_str), Some("thrice\n"));
        assert_eq!(device.files().contains_key("parts/7.md"), !is_wanted);
    }
}

#[tokio::test]
async fn damage_is_named_stops_nothing_else_and_heals() {
    for fixture in folders_in(&fixtures().join("damaged")) {
        let name = name_of(&fixture);
        if !fixture.join("expected.txt").exists() {
            continue;
        }
        let mut device = Device::on(&remote_of(&fixture), 6);
        for _ in 0..2 {
            let said = said(&device.turn().await);
            assert_matches(name, &said, read(fixture.join("expected.txt")).trim_end());
            assert_eq!(device.files(), files_in(&fixture.join("expected")), "{name}");
        }
        copy(&fixture.join("mend"), device.remote.path());
        let report = device.turn().await;
        assert_eq!(said(&report), [""; 0], "{name}");
        assert_eq!(device.files(), files_in(&fixture.join("mended")), "{name}");
        assert_eq!(report.unwrap().pushed, 0, "{name}");
    }
}

/// The damage that a turn reports, or what stopped it.
fn said(turn: &Result<Report, EngineError>) -> Vec<String> {
    match turn {
        Ok(report) => {
            let damage = report.notes.iter().filter(|note| note.kind == NoteKind::Damaged);
            damage.map(|note| format!("{}: {}", note.subject, note.text)).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

/// One message, as expected; an expectation that ends in `…` is how it begins.
fn assert_matches(name: &str, said: &[String], expected: &str) {
    let [message] = said else { panic!("{name}: {said:?} instead of {expected:?}") };
    match expected.strip_suffix(" …") {
        Some(start) => assert!(message.starts_with(start), "{name}: {message}"),
        None => assert_eq!(message, expected, "{name}"),
    }
}

#[test]
fn the_example_of_the_format_is_real() {
    let text = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md"));
    let fixture = fixtures().join("v1/smallest");
    for folder in ["remote", "expected"] {
        for (name, content) in files_in(&fixture.join(folder)) {
            assert!(text.contains(&format!("`{name}`")), "{name}");
            assert!(text.contains(&format!("```\n{content}```\n")), "{name}");
        }
    }
}
