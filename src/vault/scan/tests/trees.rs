//! Odd trees, and the walk of the crate `ignore` as a second opinion.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::WalkBuilder;

use super::super::litter::is_litter;
use super::*;
use crate::model::path::{TEMP_PREFIX, is_reserved};

/// Every file and symlink below a folder that no ignore file excludes, as another walk finds them.
fn walked(root: &Path) -> BTreeSet<String> {
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false).add_custom_ignore_filename(IGNORE_FILE);
    walk.filter_entry(|entry| {
        let name = entry.file_name().to_str().unwrap_or_default();
        let is_ours = is_reserved(name) || name.starts_with(TEMP_PREFIX);
        entry.depth() == 0 || !is_litter(name) && !is_ours
    });
    let entries = walk.build().map(Result::unwrap);
    let files = entries.filter(|entry| !entry.file_type().unwrap().is_dir());
    files
        .map(|entry| entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned())
        .collect()
}

/// What a scan found, if all of it is new.
fn found(scan: &Scan) -> BTreeSet<String> {
    let skipped = scan.skipped.iter().map(|item| item.path.clone());
    scan.new.iter().map(|file| file.path.to_string()).chain(skipped).collect()
}

fn name() -> impl Strategy<Value = &'static str> {
    let names = ["a", "b", "c.md", "d.txt", "é", ".h", ".larder", "x~", "[a", "a b", "!a", "#a"];
    prop::sample::select(names.to_vec())
}

fn pattern() -> impl Strategy<Value = &'static str> {
    let patterns = [
        "a",
        "/a",
        "a/",
        "b/",
        "!a",
        "!/a",
        "!b/",
        "*",
        "!*",
        "*.md",
        "!c.md",
        "/*",
        "!/b",
        "a/b",
        "/a/b",
        "a/*",
        "!a/c.md",
        "**/a",
        "a/**",
        "**/b/c.md",
        "a/**/b",
        "!a/b/",
        "[ab]",
        "?",
        "é",
        "\\!a",
        "\\#a",
        "#a",
        "a b",
        ".h",
        "!.larder",
        "[a",
        "{a,b}",
        "a{b",
        "b//",
        "/",
        "!",
    ];
    prop::sample::select(patterns.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn ignore_files_hold_as_another_walk_reads_them(
        files in prop::collection::vec(prop::collection::vec(name(), 1..5), 0..30),
        links in prop::collection::vec(prop::collection::vec(name(), 1..4), 0..3),
        rules in prop::collection::vec(
            (prop::collection::vec(name(), 0..4), prop::collection::vec(pattern(), 0..5)),
            0..5,
        ),
    ) {
        let f = Fixture::new(&[]);
        let fits = |path: &str| {
            let parent = f.at(path).parent().unwrap().to_owned();
            fs::create_dir_all(parent).is_ok() && fs::symlink_metadata(f.at(path)).is_err()
        };
        for path in files.iter().map(|parts| parts.join("/")).filter(|path| fits(path)) {
            f.put(&path, &path);
        }
        for path in links.iter().map(|parts| parts.join("/")).filter(|path| fits(path)) {
            symlink(f.dir.path(), f.at(&path)).unwrap();
        }
        for (folder, lines) in &rules {
            let path = [folder.join("/").as_str(), IGNORE_FILE].join("/");
            if fits(path.trim_start_matches('/')) {
                f.put(path.trim_start_matches('/'), lines.join("\n"));
            }
        }
        let mut scan = f.scan();
        scan.skipped.retain(|item| !matches!(item.reason, SkipReason::BadIgnoreFile(_)));
        prop_assert_eq!(found(&scan), walked(f.vault.root()));
    }
}

#[test]
fn deep_and_wide_trees_are_found_whole_and_once() {
    let mut f = Fixture::new(&[]);
    let deep = "d/".repeat(400);
    let mut count = 0;
    let mut put = |path: String| {
        f.put(&path, "x");
        count += 1;
    };
    put(format!("{deep}bottom.md"));
    (0..3000).for_each(|n| put(format!("huge/a name that is not so short {n:05}.md")));
    (0..600).for_each(|n| put(format!("many/{n}/{n}.md")));
    (0..90).for_each(|n| put(format!("huge/sub {n}/a.md")));
    for _ in 0..5 {
        let scan = f.scan();
        assert_eq!((scan.new.len(), scan.skipped.len()), (count, 0));
        assert_eq!(found(&scan).len(), count);
    }
    f.learn();
    for _ in 0..5 {
        assert!(f.scan().is_unchanged());
    }
    assert_eq!(found(&f.learn()).len(), 0);
    fs::remove_file(f.at("huge/a name that is not so short 01234.md")).unwrap();
    fs::rename(f.at(&format!("{deep}bottom.md")), f.at("top.md")).unwrap();
    let scan = f.scan();
    assert_eq!(texts(&scan.vanished), ["huge/a name that is not so short 01234.md"]);
    assert_eq!((scan.renamed.len(), scan.new.len()), (1, 0));
}

#[test]
fn folders_whose_names_are_no_utf_8_are_walked_and_their_files_reported() {
    let f = Fixture::new(&[("a.md", "a")]);
    let folder = f.dir.path().join(OsStr::from_bytes(b"no\xff"));
    fs::create_dir_all(folder.join("below")).unwrap();
    for path in [&b"b.md"[..], b"below/c.md", b"below/\xfe", b"ignored.txt"] {
        fs::File::create(folder.join(OsStr::from_bytes(path))).unwrap();
    }
    f.put(IGNORE_FILE, "*.txt\n");
    let reason = SkipReason::BadName(BadPath::NotUtf8);
    let scan = f.scan();
    assert_eq!(
        skipped(&scan),
        ["no\u{fffd}/b.md", "no\u{fffd}/below/c.md", "no\u{fffd}/below/\u{fffd}"]
            .map(|path| (path, reason.clone()))
    );
    assert_eq!(paths(&scan.new), [IGNORE_FILE]);
}

#[test]
fn symlinks_that_lead_back_are_not_followed() {
    let f = Fixture::new(&[("d/e/a.md", "a")]);
    symlink(f.dir.path(), f.at("d/e/up")).unwrap();
    symlink("itself", f.at("d/itself")).unwrap();
    symlink("../..", f.at("d/e/root")).unwrap();
    let scan = f.scan();
    let expected = ["d/e/root", "d/e/up", "d/itself"].map(|path| (path, SkipReason::Symlink));
    assert_eq!(skipped(&scan), expected);
    assert!(scan.is_unchanged());
}

#[test]
fn what_comes_and_goes_while_it_is_looked_at_disturbs_nothing() {
    let stay: Vec<String> = (0..1500).map(|n| format!("d{}/stay {n}.md", n % 7)).collect();
    let files: Vec<(&str, &str)> = stay.iter().map(|path| (path.as_str(), "x")).collect();
    let f = Fixture::new(&files);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (0..50).cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                f.put(&format!("d{}/passing/{n}/a.md", n % 9), "x");
                f.put(&format!("d{}/passing {n}.md", n % 7), "x");
                fs::remove_dir_all(f.at(&format!("d{}/passing", (n + 3) % 9))).ok();
                fs::remove_file(f.at(&format!("d{}/passing {n}.md", n % 7))).ok();
            }
        });
        for _ in 0..20 {
            let scan = f.scan();
            assert_eq!((&scan.vanished, &scan.changed, &scan.skipped), (&vec![], &vec![], &vec![]));
            assert!(scan.new.iter().all(|file| file.path.as_str().contains("passing")));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
