//! Several remotes of one vault.

mod faulty;

use std::io::Write as _;

use larder_providers::{
    RemotePath,
    layer::{Fault, FaultPlan, Moment},
};

use super::*;
use crate::engine::{BatchSize, EngineError, NoteKind, Progress, Stage, Way};

type Line = Arc<Fault<Memory>>;

/// A device with some remotes.
struct Host {
    device: Device,
    ways: Vec<Way>,
}

/// A storage that can be cut off.
fn line() -> Line {
    let line = Fault::new(Memory::new(), FaultPlan { fail_before: 1.0, ..FaultPlan::default() });
    line.set_calm(true);
    Arc::new(line)
}

impl Host {
    async fn new(name: &str, lines: &[&Line]) -> Self {
        let device = Device::new(name, &(lines[0].clone() as SharedStorage));
        let mut host = Self { device, ways: Vec::new() };
        for line in lines {
            host.add(line).await;
        }
        host
    }

    async fn add(&mut self, line: &Line) {
        let storage: SharedStorage = line.clone();
        let engine = &mut self.device.engine;
        let connected = match self.ways.is_empty() {
            true => engine.connect(&storage, None).await.unwrap(),
            false => engine.add_remote(&storage, None).await.unwrap(),
        };
        self.ways.push(Way { id: connected.id, storage });
    }

    async fn try_sync(&mut self) -> Vec<Result<Report, EngineError>> {
        let options = TurnOptions::default();
        let engine = &mut self.device.engine;
        let turned = engine.turns(&self.ways, &Traffic::new(), options, &Silent).await;
        turned.into_iter().map(|turned| turned.result).collect()
    }

    async fn sync(&mut self) -> Report {
        let mut all = Report::default();
        for result in self.try_sync().await {
            all.add(result.unwrap());
        }
        all
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::File::create(self.device.path(name)).unwrap().write_all(content).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.device.path(name)).unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        self.device.names().into_iter().filter(|name| name != ".larder").collect()
    }
}

/// One has the first remote, one the second, and one between them has both.
async fn chain() -> (Line, Line, [Host; 3]) {
    let (first, second) = (line(), line());
    let left = Host::new("laptop", &[&first]).await;
    let both = Host::new("server", &[&first, &second]).await;
    let right = Host::new("phone", &[&second]).await;
    (first, second, [left, both, right])
}

fn is_head(path: &RemotePath) -> bool {
    path.as_str() == "meta.json" || path.as_str().starts_with("head")
}

fn blobs(line: &Line) -> Vec<String> {
    let files = line.inner().files().into_keys().map(|path| path.as_str().to_owned());
    files.filter(|path| path.starts_with("blobs/")).collect()
}

#[tokio::test]
async fn news_travel_from_one_remote_to_another() {
    let (_, _, [mut left, mut both, mut right]) = chain().await;
    let start = "---\ntitle: Milk\n---\nOne two three.\n";
    left.device.write("note.md", start);
    left.sync().await;
    assert_eq!(both.sync().await.pushed, 1, "in one go");
    right.sync().await;
    assert_eq!(right.device.read("note.md"), start);
    // All three edit it, and the text merges by what each remote was known to hold.
    left.device.write("note.md", &start.replace("One", "1"));
    both.device.write("note.md", &start.replace("Milk", "Oat milk"));
    right.device.write("note.md", &start.replace("three", "3"));
    left.sync().await;
    right.sync().await;
    both.sync().await;
    left.sync().await;
    right.sync().await;
    for host in [&left, &both, &right] {
        let text = host.device.read("note.md");
        assert_eq!(text, "---\ntitle: Oat milk\n---\n1 two 3.\n");
        assert_eq!(host.device.engine.store().conflict_counts().unwrap(), (0, 0));
        assert!(host.device.engine.store().unsent().unwrap().is_empty());
    }
    fs::remove_file(right.device.path("note.md")).unwrap();
    for host in [&mut right, &mut both, &mut left] {
        host.sync().await;
        assert!(host.names().is_empty());
    }
}

#[tokio::test]
async fn nothing_to_do_is_one_request_for_each_remote() {
    let (first, second, [_, mut both, _]) = chain().await;
    for number in 0..40 {
        both.device.write(&format!("{number}.md"), "text\n");
    }
    both.sync().await;
    let before = (first.calls(), second.calls());
    let report = both.sync().await;
    assert!(!report.did_anything());
    assert_eq!((first.calls() - before.0, second.calls() - before.1), (1, 1));
}

#[tokio::test]
async fn a_remote_that_cannot_be_reached_holds_up_no_other() {
    let (first, _, [mut left, mut both, mut right]) = chain().await;
    both.device.write("note.md", "one\n");
    both.sync().await;
    first.set_calm(false);
    both.device.write("note.md", "one\ntwo\n");
    let results = both.try_sync().await;
    assert!(results[0].as_ref().is_err_and(EngineError::is_temporary));
    assert_eq!(results[1].as_ref().map(|report| report.pushed).unwrap(), 1);
    right.sync().await;
    assert_eq!(right.device.read("note.md"), "one\ntwo\n");
    both.device.engine.look_at(&both.ways[0].id).unwrap();
    assert!(both.device.engine.store().trouble().unwrap().is_some());
    both.device.engine.look_at(&both.ways[1].id).unwrap();
    assert!(both.device.engine.store().trouble().unwrap().is_none());
    assert_eq!(both.device.engine.pending_changes().unwrap(), 1, "the first lacks it");
    first.set_calm(true);
    both.sync().await;
    left.sync().await;
    assert_eq!(left.device.read("note.md"), "one\ntwo\n");
}

#[tokio::test]
async fn a_content_is_carried_under_its_name() {
    let (first, second, [mut left, mut both, mut right]) = chain().await;
    let photo: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    left.put("photo.jpg", &photo);
    left.sync().await;
    for host in [&mut both, &mut right, &mut left] {
        host.sync().await;
    }
    both.sync().await;
    assert!(right.bytes("photo.jpg") == photo);
    assert_eq!(blobs(&first), blobs(&second));
    assert_eq!(blobs(&first).len(), 1);
    // From the other side, while nobody changes what is there.
    right.put("other.jpg", &photo[1..]);
    for _ in 0..2 {
        for host in [&mut right, &mut both, &mut left] {
            host.sync().await;
        }
    }
    assert!(left.bytes("other.jpg") == photo[1..]);
    assert_eq!((blobs(&first), blobs(&first).len()), (blobs(&second), 2));
    let before = (first.calls(), second.calls());
    assert!(!both.sync().await.did_anything());
    assert_eq!((first.calls() - before.0, second.calls() - before.1), (1, 1));
}

#[tokio::test]
async fn many_contents_are_carried_to_a_remote_that_is_added() {
    let (first, second) = (line(), line());
    let mut both = Host::new("server", &[&first]).await;
    for number in 0..20_u8 {
        both.put(&format!("{number}.jpg"), &[number | 0x80; 3_000]);
    }
    both.sync().await;
    both.add(&second).await;
    // The line breaks in between, and what came through counts.
    second.crash_at(second.calls() + 20, Moment::After);
    assert!(both.try_sync().await[1].is_err());
    second.revive();
    assert!(!blobs(&second).is_empty());
    // The note is one record more than there are contents.
    both.device.write("note.md", "text\n");
    let (sent, options) = (Sent::default(), TurnOptions::default());
    let engine = &mut both.device.engine;
    let turned = engine.turns(&both.ways, &Traffic::new(), options, &sent).await;
    assert!(turned.iter().all(|turned| turned.result.is_ok()), "{turned:?}");
    assert!(sent.0.lock().unwrap().contains(&(20, 20)), "they go by themselves: {sent:?}");
    assert_eq!((blobs(&first).len(), blobs(&first)), (20, blobs(&second)));
    let mut right = Host::new("phone", &[&second]).await;
    right.sync().await;
    for number in 0..20_u8 {
        assert!(right.bytes(&format!("{number}.jpg")) == [number | 0x80; 3_000]);
    }
}

/// The steps of sending.
#[derive(Debug, Default)]
struct Sent(std::sync::Mutex<Vec<(u64, u64)>>);

impl Progress for Sent {
    fn step(&self, stage: Stage, done: u64, of: u64) {
        if stage == Stage::Send {
            self.0.lock().unwrap().push((done, of));
        }
    }
}

#[tokio::test]
async fn who_is_known_through_another_remote_has_a_name() {
    let (_, _, [mut left, mut both, mut right]) = chain().await;
    left.put("photo.jpg", &[0xff; 5_000]);
    for host in [&mut left, &mut both, &mut right] {
        host.sync().await;
    }
    left.put("photo.jpg", &[0xfe; 5_000]);
    left.sync().await;
    right.put("photo.jpg", &[0xfd; 5_000]);
    right.sync().await;
    for host in [&mut both, &mut left, &mut right] {
        host.sync().await;
    }
    // The server meets the laptop's edit on the remote that the laptop has nothing to do with.
    for host in [&left, &both, &right] {
        assert_eq!(host.names(), ["photo (from laptop).jpg", "photo.jpg"]);
    }
}

#[tokio::test]
async fn a_content_that_does_not_come_holds_up_no_record() {
    let (first, second, [mut left, mut both, mut right]) = chain().await;
    left.put("photo.jpg", &[0xff; 5_000]);
    left.device.write("note.md", "text\n");
    left.sync().await;
    let (path, content) =
        first.inner().files().into_iter().find(|f| f.0.as_str().starts_with("blobs/")).unwrap();
    first.inner().remove_raw(&path);
    both.sync().await;
    right.sync().await;
    assert_eq!(right.device.read("note.md"), "text\n");
    assert!(blobs(&second).is_empty() && right.bytes("photo.jpg").is_empty());
    first.inner().insert_raw(&path, content);
    for host in [&mut both, &mut right] {
        host.sync().await;
    }
    assert_eq!(blobs(&second).len(), 1, "it follows");
    assert!(right.bytes("photo.jpg") == [0xff; 5_000]);
}

#[tokio::test]
async fn two_histories_come_together() {
    let (first, second) = (line(), line());
    let mut left = Host::new("laptop", &[&first]).await;
    let mut right = Host::new("phone", &[&second]).await;
    left.device.write("same.md", "---\nx: 1\n---\nequal\n");
    left.device.write("other.md", "from the laptop\n");
    left.device.write("left.md", "left\n");
    right.device.write("same.md", "---\nx: 1\n---\nequal\n");
    right.device.write("other.md", "from the phone\n");
    left.sync().await;
    right.sync().await;
    left.add(&second).await;
    for _ in 0..2 {
        left.sync().await;
        right.sync().await;
    }
    assert_eq!(left.names(), ["left.md", "other (2).md", "other.md", "same.md"]);
    assert_eq!(right.names(), left.names());
    for name in left.names() {
        assert_eq!(left.device.read(&name), right.device.read(&name));
    }
    let both = [left.device.read("other.md"), left.device.read("other (2).md")];
    assert!(both.iter().any(|text| text.contains("laptop")), "{both:?}");
    assert!(both.iter().any(|text| text.contains("phone")), "{both:?}");
}

#[tokio::test]
async fn a_remote_is_forgotten_and_joined_again() {
    let (_, second, [mut left, mut both, mut right]) = chain().await;
    left.device.write("note.md", "one\n");
    for host in [&mut left, &mut both, &mut right] {
        host.sync().await;
    }
    let files = second.inner().files();
    let gone = both.ways.pop().unwrap();
    both.device.engine.remove_remote(&gone.id).unwrap();
    assert!(both.device.engine.look_at(&gone.id).is_err());
    both.device.write("note.md", "one\ntwo\n");
    both.sync().await;
    assert_eq!(second.inner().files(), files, "nothing there is touched");
    right.device.write("note.md", "zero\none\n");
    right.sync().await;
    both.add(&second).await;
    assert_eq!(both.ways[1].id, gone.id);
    let storage: SharedStorage = second.clone();
    let again = both.device.engine.add_remote(&storage, None).await;
    assert!(matches!(again, Err(EngineError::Refused(_))), "{again:?}");
    let notes = both.sync().await.notes;
    assert!(notes.iter().all(|note| note.kind != NoteKind::NewIdentity), "{notes:?}");
    for host in [&mut left, &mut right] {
        host.sync().await;
        assert_eq!(host.device.read("note.md"), "zero\none\ntwo\n");
    }
}

#[tokio::test]
async fn a_remote_that_was_emptied_stops_itself_alone() {
    let (first, _, [mut left, mut both, mut right]) = chain().await;
    for number in 0..30 {
        left.device.write(&format!("{number}.md"), "text\n");
    }
    for host in [&mut left, &mut both, &mut right] {
        host.sync().await;
    }
    for path in first.inner().files().into_keys() {
        first.inner().remove_raw(&path);
    }
    right.device.write("new.md", "new\n");
    right.sync().await;
    let results = both.try_sync().await;
    assert!(matches!(results[0], Err(EngineError::Brake(_))), "{results:?}");
    assert_eq!(results[1].as_ref().unwrap().pulled, 1);
    assert_eq!(both.names().len(), 31);
    let options = TurnOptions { recreate_remote: true, ..TurnOptions::default() };
    let engine = &mut both.device.engine;
    let turned = engine.turns(&both.ways, &Traffic::new(), options, &Silent).await;
    assert!(turned.iter().all(|turned| turned.result.is_ok()), "{turned:?}");
    left.sync().await;
    assert_eq!(left.names().len(), 31);
}

#[tokio::test]
async fn what_a_brake_stopped_with_one_remote_is_not_done_with_another() {
    let (first, _, [mut left, mut both, mut right]) = chain().await;
    for number in 0..40 {
        left.device.write(&format!("{number}.md"), "text\n");
    }
    for host in [&mut left, &mut both, &mut right] {
        host.sync().await;
    }
    for number in 0..30 {
        fs::remove_file(left.device.path(&format!("{number}.md"))).unwrap();
    }
    let options = TurnOptions { accept_deletes: true, ..TurnOptions::default() };
    let engine = &mut left.device.engine;
    let turned = engine.turns(&left.ways, &Traffic::new(), options, &Silent).await;
    assert!(turned[0].result.is_ok());
    both.device.engine.set_batch_size(BatchSize { bytes: 1 << 20, records: 16 });
    let results = both.try_sync().await;
    assert!(
        matches!(results[..], [Err(EngineError::Brake(_))]),
        "the whole sync stops: {results:?}"
    );
    first.set_calm(false);
    let results = both.try_sync().await;
    assert!(results[0].is_err() && results[1].is_ok());
    assert_eq!(both.names().len(), 40, "no file goes before the first is asked again");
    first.set_calm(true);
    let results = both.try_sync().await;
    assert!(matches!(results[..], [Err(EngineError::Brake(_))]), "{results:?}");
    let engine = &mut both.device.engine;
    engine.turns(&both.ways, &Traffic::new(), options, &Silent).await;
    assert_eq!(both.names().len(), 10);
    let report = right.try_sync().await.remove(0);
    assert!(matches!(report, Err(EngineError::Brake(_))), "and everybody is asked");
    assert!(!both.sync().await.notes.iter().any(|note| note.kind == NoteKind::Damaged));
}

/// What docs/merging.md says of merges and deletions: the deleter had seen both edits, and a merge of
/// them, but not the one that another device made of them through another remote.
#[tokio::test]
async fn a_merge_that_had_not_seen_a_deletion_counts_as_an_edit() {
    let (first, second) = (line(), line());
    let mut laptop = Host::new("laptop", &[&first, &second]).await;
    let mut server = Host::new("server", &[&first, &second]).await;
    laptop.device.write("note.md", "One two three.\n");
    laptop.sync().await;
    server.sync().await;
    // Each brings its edit to another remote.
    second.set_calm(false);
    laptop.device.write("note.md", "1 two three.\n");
    laptop.try_sync().await;
    first.set_calm(false);
    second.set_calm(true);
    server.device.write("note.md", "One two 3.\n");
    server.try_sync().await;
    // One meets the other's there, and so does the other.
    first.set_calm(true);
    second.set_calm(false);
    server.try_sync().await;
    assert_eq!(server.device.read("note.md"), "1 two 3.\n");
    fs::remove_file(server.device.path("note.md")).unwrap();
    server.try_sync().await;
    first.set_calm(false);
    second.set_calm(true);
    laptop.try_sync().await;
    assert_eq!(laptop.device.read("note.md"), "1 two 3.\n");
    first.set_calm(true);
    for _ in 0..2 {
        laptop.sync().await;
        server.sync().await;
    }
    for host in [&laptop, &server] {
        assert_eq!(host.device.read("note.md"), "1 two 3.\n", "nothing is lost");
        let listed = host.device.engine.store().conflict_counts().unwrap();
        assert_eq!(listed, (0, 1), "and it is told why it came back");
    }
    fs::remove_file(server.device.path("note.md")).unwrap();
    for host in [&mut server, &mut laptop] {
        host.sync().await;
        assert!(host.names().is_empty(), "once more, and it stays away");
    }
}

#[tokio::test]
async fn a_text_that_was_taken_out_and_put_back_stays_though_a_remote_saw_neither() {
    let (one, two) = (line(), line());
    let mut laptop = Host::new("laptop", &[&one, &two]).await;
    let mut phone = Host::new("phone", &[&one, &two]).await;
    laptop.put("note.md", b"Hello\nmilk\n");
    laptop.sync().await;
    phone.sync().await;
    two.set_calm(false);
    laptop.put("note.md", b"Hello\nthere\neggs\nbread\n");
    laptop.try_sync().await;
    phone.try_sync().await;
    two.set_calm(true);
    one.set_calm(false);
    laptop.put("note.md", b"Hello\nmilk\n");
    phone.put("note.md", b"Hello\nthere\neggs and ham\nbread\n");
    phone.try_sync().await;
    laptop.try_sync().await;
    one.set_calm(true);
    phone.sync().await;
    laptop.sync().await;
    for host in [&laptop, &phone] {
        let text = String::from_utf8(host.bytes("note.md")).unwrap();
        assert!(text.contains("milk") && text.contains("eggs and ham"), "{text}");
    }
}
