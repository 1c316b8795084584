mod trees;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::model::EntityId;

/// A vault in a temporary folder, with what a replica would know of it.
struct Fixture {
    dir: tempfile::TempDir,
    vault: Vault,
    known: BTreeMap<VaultPath, KnownFile>,
    keep_bytes: usize,
    last_scan_ms: i64,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let mut fixture =
            Self { dir, vault, known: BTreeMap::new(), keep_bytes: 1 << 20, last_scan_ms: 0 };
        for (path, text) in files {
            fixture.put(path, text);
        }
        fixture.learn();
        fixture
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::create(path).unwrap();
        std::io::Write::write_all(&mut file, text.as_ref()).unwrap();
    }

    /// Scans as if the last scan had begun long after every change.
    fn scan(&self) -> Scan {
        self.try_scan().unwrap()
    }

    fn try_scan(&self) -> Result<Scan, VaultError> {
        self.vault.scan(&books(&self.known), self.last_scan_ms, self.keep_bytes)
    }

    /// Takes over what a scan found.
    fn learn(&mut self) -> Scan {
        let scan = self.scan();
        for path in &scan.vanished {
            self.known.remove(path);
        }
        for renamed in &scan.renamed {
            self.known.remove(&renamed.from);
        }
        let files =
            scan.new.iter().chain(&scan.changed).chain(scan.renamed.iter().map(|r| &r.file));
        for file in files {
            self.known.insert(file.path.clone(), file.known());
        }
        for (path, stat) in &scan.touched {
            self.known.get_mut(path).unwrap().stat = *stat;
        }
        // Far ahead of every file: nothing is racy.
        self.last_scan_ms = i64::MAX / 1_000_000;
        scan
    }
}

fn books(known: &BTreeMap<VaultPath, KnownFile>) -> Books {
    let mut books = Books::default();
    for (path, known) in known {
        books.enter(path, &EntityId::new("e").unwrap(), *known);
    }
    books
}

fn paths<'a>(files: impl IntoIterator<Item = &'a ScannedFile>) -> Vec<&'a str> {
    files.into_iter().map(|file| file.path.as_str()).collect()
}

fn texts(paths: &[VaultPath]) -> Vec<&str> {
    paths.iter().map(VaultPath::as_str).collect()
}

fn skipped(scan: &Scan) -> Vec<(&str, SkipReason)> {
    scan.skipped.iter().map(|item| (item.path.as_str(), item.reason.clone())).collect()
}

fn set_mtime(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn new_changed_touched_and_vanished_files_are_told_apart() {
    let mut f = Fixture::new(&[("a.md", "a"), ("b.md", "b"), ("d/c.md", "c"), ("d/e.md", "e")]);
    assert_eq!(f.known.len(), 4);
    assert!(f.scan().is_unchanged());
    f.put("a.md", "A!");
    set_mtime(&f.at("b.md"), UNIX_EPOCH + Duration::from_secs(7));
    fs::remove_file(f.at("d/c.md")).unwrap();
    f.put("x/y/z.md", "new");
    let scan = f.learn();
    assert_eq!(paths(&scan.changed), ["a.md"]);
    assert_eq!(scan.changed[0].text.as_deref(), Some("A!"));
    assert_eq!(scan.touched.len(), 1);
    assert_eq!(scan.touched[0].1.mtime_ns, 7_000_000_000);
    assert_eq!(texts(&scan.vanished), ["d/c.md"]);
    assert_eq!(paths(&scan.new), ["x/y/z.md"]);
    assert_eq!(
        scan.new[0].sha256.to_string(),
        "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"
    );
    assert_eq!((scan.known_count, scan.brake()), (4, None));
    assert!(f.scan().is_unchanged());
}

#[test]
fn a_file_that_changed_near_the_last_scan_is_read_again() {
    let mut f = Fixture::new(&[("a.md", "one"), ("b.md", "two")]);
    // The same size, mtime, inode and ctime as what is known: only the content tells.
    f.known.get_mut("a.md").unwrap().sha256 = ContentHash::of(b"?");
    let changed_ms = f.known["a.md"].stat.ctime_ns / 1_000_000;
    for (last_scan_ms, changed) in
        [(changed_ms, 1), (changed_ms + 1900, 1), (changed_ms - 60_000, 1), (changed_ms + 2100, 0)]
    {
        f.last_scan_ms = last_scan_ms;
        let scan = f.scan();
        assert_eq!(scan.changed.len(), changed, "{}", last_scan_ms - changed_ms);
        assert_eq!(scan.touched, []);
    }
}

#[test]
fn an_edit_that_hides_its_mtime_is_seen_by_the_ctime() {
    let f = Fixture::new(&[("a.md", "one")]);
    let before = fs::metadata(f.at("a.md")).unwrap().modified().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    f.put("a.md", "two");
    set_mtime(&f.at("a.md"), before);
    assert_eq!(paths(&f.scan().changed), ["a.md"]);
}

#[test]
fn renames_are_found_by_inode_and_by_content() {
    let mut f = Fixture::new(&[
        ("a.md", "same"),
        ("b.md", "two"),
        ("c.md", "three"),
        ("d/x.md", "dup"),
        ("d/y.md", "dup"),
        ("e.md", ""),
    ]);
    fs::create_dir(f.at("n")).unwrap();
    fs::rename(f.at("a.md"), f.at("n/a.md")).unwrap();
    fs::rename(f.at("b.md"), f.at("B2.md")).unwrap();
    f.put("B2.md", "two and more");
    // A copy and a removal, as some programs rename.
    f.put("n/c.md", "three");
    fs::remove_file(f.at("c.md")).unwrap();
    fs::rename(f.at("d"), f.at("n/d")).unwrap();
    fs::rename(f.at("e.md"), f.at("empty.md")).unwrap();
    let scan = f.learn();
    let found: Vec<_> = scan
        .renamed
        .iter()
        .map(|r| (r.from.as_str(), r.file.path.as_str(), r.same_content))
        .collect();
    assert_eq!(
        found,
        [
            ("a.md", "n/a.md", true),
            ("b.md", "B2.md", false),
            ("c.md", "n/c.md", true),
            ("d/x.md", "n/d/x.md", true),
            ("d/y.md", "n/d/y.md", true),
            ("e.md", "empty.md", true),
        ]
    );
    assert_eq!(scan.renamed[1].file.text.as_deref(), Some("two and more"));
    assert!(scan.new.is_empty() && scan.vanished.is_empty() && scan.changed.is_empty());
    assert!(f.scan().is_unchanged());
}

#[test]
fn a_number_that_is_used_again_makes_no_rename() {
    let f = Fixture::new(&[("a.md", "the old note")]);
    let inode = fs::metadata(f.at("a.md")).unwrap().ino();
    std::thread::sleep(Duration::from_millis(20));
    fs::remove_file(f.at("a.md")).unwrap();
    f.put("b.md", "quite another note");
    let again = fs::metadata(f.at("b.md")).unwrap().ino() == inode;
    let scan = f.scan();
    assert_eq!(texts(&scan.vanished), ["a.md"], "number used again: {again}");
    assert_eq!(paths(&scan.new), ["b.md"]);
}

#[test]
fn each_file_is_in_one_rename_only() {
    let f = Fixture::new(&[("a/x.md", "same"), ("b/y.md", "same"), ("c.md", "same")]);
    // They live on elsewhere: else their numbers are used again, and tell who is who by chance.
    let elsewhere = tempfile::tempdir().unwrap();
    for (number, path) in ["a/x.md", "b/y.md", "c.md"].into_iter().enumerate() {
        fs::rename(f.at(path), elsewhere.path().join(number.to_string())).unwrap();
    }
    f.put("n/y.md", "same");
    f.put("n/z.md", "same");
    let scan = f.scan();
    assert_eq!((scan.renamed.len(), scan.vanished.len(), scan.new.len()), (2, 1, 0));
    assert!(scan.renamed.iter().any(|r| r.from.file_name() == r.file.path.file_name()));
    assert_eq!(scan, f.scan());
}

#[test]
fn what_is_no_record_is_passed_over_or_reported() {
    let f = Fixture::new(&[("a.md", "a")]);
    f.put("bin.dat", b"\xff\xfe");
    f.put("zero.txt", b"a\0b");
    f.put("CON.md", "x");
    f.put("e\u{301}.md", "x");
    f.put("back\\slash.md", "x");
    f.put("big.txt", vec![b'x'; 1 << 20]);
    f.put("bigger.txt", vec![b'x'; (1 << 20) + 1]);
    symlink("/etc/passwd", f.at("link.md")).unwrap();
    symlink("/etc", f.at("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(f.at("sock")).unwrap();
    for path in [
        ".larder/replica.db",
        ".git/config",
        "sub/.git/config",
        ".DS_Store",
        "sub/a.md~",
        ".larder-tmp-abc",
        "sub/.larder/x",
    ] {
        f.put(path, "x");
    }
    f.put(".hidden/.note.md", "x");
    f.put(".gitignore", "*.md");
    f.put(".ignore", "*.md");
    let scan = f.scan();
    assert_eq!(
        scan.new.iter().map(|file| (file.path.as_str(), file.kind)).collect::<Vec<_>>(),
        [
            (".gitignore", FileKind::Text),
            (".hidden/.note.md", FileKind::Text),
            (".ignore", FileKind::Text),
            ("big.txt", FileKind::Text),
            ("bigger.txt", FileKind::Blob),
            ("bin.dat", FileKind::Blob),
            ("zero.txt", FileKind::Blob),
        ]
    );
    assert_eq!(
        skipped(&scan),
        [
            ("CON.md", SkipReason::BadName(BadPath::Device)),
            ("back\\slash.md", SkipReason::BadName(BadPath::Backslash)),
            ("e\u{301}.md", SkipReason::BadName(BadPath::NotComposed)),
            ("folder", SkipReason::Symlink),
            ("link.md", SkipReason::Symlink),
            ("sock", SkipReason::NotAFile),
        ]
    );
}

#[test]
fn names_that_are_no_utf_8_are_reported() {
    use std::os::unix::ffi::OsStrExt;
    let f = Fixture::new(&[]);
    fs::File::create(f.dir.path().join(std::ffi::OsStr::from_bytes(b"a\xff.md"))).unwrap();
    assert_eq!(skipped(&f.scan()), [("a\u{fffd}.md", SkipReason::BadName(BadPath::NotUtf8))]);
}

#[test]
fn ignore_files_hold_in_their_folder_and_delete_nothing() {
    let mut f = Fixture::new(&[
        ("a.md", "a"),
        ("log/x.md", "x"),
        ("sub/b.txt", "b"),
        ("sub/keep.txt", "k"),
    ]);
    f.put(".larderignore", "/log/\n*.bak\n");
    f.put("sub/.larderignore", "*.txt\n!keep.txt\n");
    f.put("a.bak", "x");
    let scan = f.learn();
    assert_eq!(paths(&scan.new), [".larderignore", "sub/.larderignore"]);
    assert_eq!(texts(&scan.ignored), ["log/x.md", "sub/b.txt"]);
    assert_eq!(scan.vanished, []);
    fs::remove_file(f.at("log/x.md")).unwrap();
    assert_eq!(texts(&f.scan().vanished), ["log/x.md"]);
    f.put(".larderignore", "a{b\n");
    let scan = f.scan();
    assert!(
        matches!(&scan.skipped[..], [Skipped { path, reason: SkipReason::BadIgnoreFile(_) }] if path == ".larderignore"),
        "{:?}",
        scan.skipped
    );
}

#[test]
fn what_is_skipped_is_not_gone() {
    let f = Fixture::new(&[
        ("a.md", "a"),
        ("d/b.md", "b"),
        ("c.md", "c"),
        ("e/f.md", "f"),
        ("g.md", "g"),
    ]);
    fs::remove_file(f.at("a.md")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(f.at("a.md")).unwrap();
    fs::rename(f.at("d"), f.at("real")).unwrap();
    symlink(f.at("real"), f.at("d")).unwrap();
    fs::remove_file(f.at("c.md")).unwrap();
    symlink("a.md", f.at("c.md")).unwrap();
    fs::remove_dir_all(f.at("e")).unwrap();
    f.put("e", "a file now");
    fs::remove_file(f.at("g.md")).unwrap();
    fs::create_dir(f.at("g.md")).unwrap();
    let scan = f.scan();
    assert_eq!(texts(&scan.vanished), ["e/f.md", "g.md"]);
    assert_eq!(paths(&scan.new), ["e", "real/b.md"]);
}

#[test]
fn two_names_that_differ_in_case_are_two_files() {
    let f = Fixture::new(&[("Note.md", "a"), ("note.md", "b")]);
    let twins = f.known.len() == 2;
    assert!(twins || f.known.len() == 1);
    if twins {
        fs::rename(f.at("note.md"), f.at("NOTE.md")).unwrap();
        let scan = f.scan();
        assert_eq!((scan.renamed.len(), scan.vanished.len()), (1, 0));
    }
}

#[test]
fn a_file_that_never_stands_still_is_busy_and_not_gone() {
    let f = Fixture::new(&[("a.md", "a")]);
    let path = f.at("a.md");
    let result = read::read_with(&path, |attempt| f.put("a.md", "x".repeat(attempt + 2)));
    assert!(matches!(result, Err(SkipReason::Busy)));
    let result = read::read_with(&path, |attempt| {
        if attempt == 0 {
            f.put("a.md", "other");
        }
    });
    assert_eq!(result.ok().flatten().and_then(|reading| reading.text).as_deref(), Some("other"));
    let result = read::read_with(&path, |_| {
        fs::remove_file(&path).ok();
    });
    assert!(matches!(result, Ok(None)));
}

#[test]
fn a_symlink_that_takes_a_files_place_is_not_read() {
    let f = Fixture::new(&[("a.md", "a"), ("secret", "s")]);
    let path = f.at("a.md");
    let result = read::read_with(&path, |attempt| {
        if attempt == 0 {
            fs::remove_file(&path).unwrap();
            symlink(f.at("secret"), &path).unwrap();
        }
    });
    assert!(matches!(result, Err(SkipReason::Symlink)));
}

#[test]
fn the_brake_works_from_ten_files_on() {
    for (count, gone, brake) in [
        (9, 9, None),
        (10, 5, None),
        (10, 6, Some(Brake { gone: 6, known: 10 })),
        (11, 11, Some(Brake { gone: 11, known: 11 })),
    ] {
        let names: Vec<String> = (0..count).map(|n| format!("{n}.md")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), n.as_str())).collect();
        let f = Fixture::new(&files);
        for name in &names[..gone] {
            fs::remove_file(f.at(name)).unwrap();
        }
        assert_eq!(f.scan().brake(), brake);
    }
}

#[test]
fn a_folder_that_is_gone_is_an_error() {
    let f = Fixture::new(&[("a.md", "a")]);
    fs::rename(f.dir.path(), f.dir.path().with_extension("away")).unwrap();
    let result = f.try_scan();
    fs::rename(f.dir.path().with_extension("away"), f.dir.path()).unwrap();
    assert!(matches!(result, Err(VaultError::NoFolder { .. })), "{result:?}");
}

/// Root may read everything, so the check runs this test again as another user.
#[test]
fn folders_that_cannot_be_read_lose_no_file() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let mode =
        |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let is_root = fs::metadata(tempfile::tempdir().unwrap().path()).unwrap().uid() == 0;
    if is_root {
        let name = "vault::scan::tests::folders_that_cannot_be_read_lose_no_file";
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        match command.args(["--exact", name]).uid(NOBODY).gid(NOBODY).current_dir("/").output() {
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout))
            }
            Err(error) => {
                println!("skipped: the test program cannot be started as nobody: {error}")
            }
        }
        return;
    }
    let f = Fixture::new(&[("a.md", "a"), ("d/b.md", "b"), ("d/e/c.md", "c")]);
    mode(&f.at("d"), 0o000);
    f.put("a.md", "changed");
    mode(&f.at("a.md"), 0o000);
    let scan = f.scan();
    mode(&f.at("d"), 0o755);
    assert_eq!(scan.vanished, []);
    let reasons = skipped(&scan);
    assert!(
        matches!(
            reasons[..],
            [("a.md", SkipReason::Unreadable(_)), ("d", SkipReason::Unreadable(_))]
        ),
        "{reasons:?}"
    );
    mode(f.dir.path(), 0o000);
    let result = f.try_scan();
    mode(f.dir.path(), 0o755);
    assert!(matches!(result, Err(VaultError::Unreadable { .. })), "{result:?}");
}

#[test]
fn no_more_text_is_kept_than_there_is_room_for() {
    let mut f = Fixture::new(&[]);
    for n in 0..50 {
        f.put(&format!("{n}.md"), format!("{n:0100}"));
    }
    for (keep_bytes, kept) in [(0, 0), (99, 0), (1000, 10), (1099, 10), (4999, 49), (5000, 50)] {
        f.keep_bytes = keep_bytes;
        let scan = f.scan();
        assert_eq!(scan.new.len(), 50);
        assert_eq!(scan.new.iter().filter(|file| file.text.is_some()).count(), kept);
        for file in &scan.new {
            let text = f.vault.load(file).unwrap().unwrap();
            assert_eq!(ContentHash::of(text.as_bytes()), file.sha256);
        }
    }
    // Whether the text is kept makes no difference to what is found.
    f.learn();
    f.put("0.md", "changed");
    fs::rename(f.at("1.md"), f.at("one.md")).unwrap();
    let mut all = f.scan();
    f.keep_bytes = 0;
    for file in all.changed.iter_mut().chain(all.renamed.iter_mut().map(|r| &mut r.file)) {
        assert!(file.text.take().is_some());
    }
    assert_eq!(f.scan(), all);
}

#[test]
fn a_text_that_is_read_later_is_still_the_one_that_was_scanned() {
    let mut f = Fixture::new(&[]);
    f.keep_bytes = 0;
    let names = ["changed.md", "gone.md", "same.md", "link.md", "binary.md"];
    for name in names {
        f.put(name, name);
    }
    let scan = f.scan();
    f.put("changed.md", "Changed.md");
    fs::remove_file(f.at("gone.md")).unwrap();
    set_mtime(&f.at("same.md"), UNIX_EPOCH);
    fs::remove_file(f.at("link.md")).unwrap();
    symlink("same.md", f.at("link.md")).unwrap();
    f.put("binary.md", b"\xff");
    let load =
        |name: &str| f.vault.load(scan.new.iter().find(|file| file.path.as_str() == name).unwrap());
    assert_eq!(load("changed.md"), Ok(None));
    assert_eq!(load("gone.md"), Ok(None));
    assert_eq!(load("same.md"), Ok(Some("same.md".to_owned())));
    assert_eq!(load("link.md"), Err(SkipReason::Symlink));
    assert_eq!(load("binary.md"), Ok(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_content_alone_tells_what_a_file_is(
        start in prop::collection::vec(any::<u8>(), 0..40),
        is_text: bool,
        // Around the most bytes of a text, and around the pieces that a blob is hashed in.
        size in prop::sample::select(vec![0_usize, 1 << 17, 1 << 20, 1 << 21]),
        off in -2_isize..3,
    ) {
        let mut bytes = if is_text { "täxt".as_bytes().to_vec() } else { start };
        bytes.resize(bytes.len().max(size.saturating_add_signed(off)), b'x');
        let f = Fixture::new(&[]);
        f.put("f", &bytes);
        let scan = f.scan();
        let file = &scan.new[0];
        let fits = bytes.len() <= 1 << 20 && !bytes.contains(&0);
        let text = std::str::from_utf8(&bytes).ok().filter(|_| fits);
        prop_assert_eq!(file.kind, if text.is_some() { FileKind::Text } else { FileKind::Blob });
        prop_assert_eq!(file.no_text().is_none(), text.is_some());
        prop_assert_eq!(file.sha256, ContentHash::of(&bytes));
        prop_assert_eq!(file.stat.size, bytes.len() as u64);
        let loaded = f.vault.load(file).unwrap();
        prop_assert_eq!(loaded.as_deref(), text);
    }
}

#[test]
fn blobs_are_reported_as_texts_are() {
    let big = vec![7; (1 << 20) + 5];
    let mut f = Fixture::new(&[("a.md", "a"), ("b.md", "b"), ("t.md", "t")]);
    f.put("big", &big);
    f.put("small", b"\xff1");
    f.put("gone", b"\xff2");
    f.put("edited", b"\xff3");
    assert_eq!(paths(&f.learn().new), ["big", "edited", "gone", "small"]);
    assert!(f.scan().is_unchanged());
    fs::rename(f.at("big"), f.at("large")).unwrap();
    fs::remove_file(f.at("gone")).unwrap();
    set_mtime(&f.at("small"), UNIX_EPOCH);
    f.put("edited", b"\xff4");
    // From text to blob, by its content or its size, and from blob to text.
    f.put("a.md", b"a\0");
    f.put("b.md", &big[1..]);
    fs::rename(f.at("t.md"), f.at("u.md")).unwrap();
    f.put("u.md", b"\xfft");
    let scan = f.learn();
    assert_eq!(paths(&scan.changed), ["a.md", "b.md", "edited"]);
    assert!(scan.changed.iter().all(|file| file.kind == FileKind::Blob && file.text.is_none()));
    let renamed: Vec<_> = scan.renamed.iter().map(|r| (r.from.as_str(), r.file.kind)).collect();
    assert_eq!(renamed, [("big", FileKind::Blob), ("t.md", FileKind::Blob)]);
    assert_eq!((texts(&scan.vanished), scan.touched.len()), (vec!["gone"], 1));
    f.put("a.md", "a");
    let scan = f.learn();
    assert_eq!((paths(&scan.changed), scan.changed[0].kind), (vec!["a.md"], FileKind::Text));
}

#[test]
fn a_large_file_that_grows_while_it_is_read_is_busy() {
    use std::io::Write;
    let f = Fixture::new(&[]);
    f.put("log", vec![b'x'; 2 << 20]);
    let path = f.at("log");
    let grow = || fs::File::options().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    assert!(matches!(read::read_with(&path, |_| grow()), Err(SkipReason::Busy)));
    let result = read::read_with(&path, |attempt| {
        if attempt == 0 {
            grow()
        }
    });
    assert_eq!(result.ok().flatten().map(|reading| reading.stat.size), Some((2 << 20) + 4));
}

#[test]
fn one_file_is_read_as_a_scan_would() {
    let f = Fixture::new(&[("d/a.md", "a")]);
    symlink(f.at("d"), f.at("l")).unwrap();
    let read = |path: &str| f.vault.read(&VaultPath::new(path).unwrap());
    assert_eq!(read("d/a.md").unwrap().unwrap().known(), f.known["d/a.md"]);
    assert_eq!(read("d/gone.md"), Ok(None));
    assert_eq!(read("d/a.md/x"), Ok(None));
    assert_eq!(read("l/a.md"), Err(SkipReason::Symlink));
    assert_eq!(read("d"), Err(SkipReason::NotAFile));
}
