#[cfg(target_os = "linux")]
mod swapped;

use crate::vault::stat::file_stat;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Books, ContentHash, EntityId, KnownFile};

fn vault() -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    (dir, vault)
}

fn path(text: &str) -> VaultPath {
    VaultPath::new(text).unwrap()
}

fn done(written: Written) -> FileStat {
    match written {
        Written::Done(stat) => stat,
        Written::Moved => panic!("the file moved"),
    }
}

fn put(path: &Path, text: &str) -> FileStat {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file_stat(&fs::symlink_metadata(path).unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_file_gets_its_folders_and_the_usual_mode() {
    let (dir, vault) = vault();
    let stat = done(vault.write(&path("a/b/c.md"), b"hello", Expect::Absent).unwrap());
    let file = dir.path().join("a/b/c.md");
    assert_eq!(fs::read(&file).unwrap(), b"hello");
    assert_eq!(file_stat(&fs::symlink_metadata(&file).unwrap()), stat);
    let usual = File::create(dir.path().join("usual")).unwrap().metadata().unwrap().mode();
    assert_eq!(fs::metadata(&file).unwrap().mode(), usual);
    assert_eq!(names(&dir.path().join("a/b")), ["c.md"]);
}

#[test]
fn a_replaced_file_keeps_its_mode() {
    let (dir, vault) = vault();
    let file = dir.path().join("a.md");
    put(&file, "old");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let stat = file_stat(&fs::metadata(&file).unwrap());
    let new = done(vault.write(&path("a.md"), b"new", Expect::Is(stat)).unwrap());
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    assert_ne!(new.inode, stat.inode);
    let again = done(vault.write(&path("a.md"), b"newer", Expect::Is(new)).unwrap());
    assert_eq!(again.size, 5);
}

#[test]
fn a_file_that_is_not_what_the_scan_saw_is_left_alone() {
    let (dir, vault) = vault();
    let file = dir.path().join("a.md");
    let seen = put(&file, "seen");
    std::thread::sleep(Duration::from_millis(20));
    put(&file, "user");
    assert_eq!(vault.write(&path("a.md"), b"x", Expect::Is(seen)).unwrap(), Written::Moved);
    assert_eq!(vault.write(&path("a.md"), b"x", Expect::Absent).unwrap(), Written::Moved);
    assert_eq!(vault.remove(&path("a.md"), seen).unwrap(), Removed::Moved);
    assert_eq!(vault.rename(&path("a.md"), &path("b.md"), seen).unwrap(), Written::Moved);
    assert_eq!(vault.write(&path("gone.md"), b"x", Expect::Is(seen)).unwrap(), Written::Moved);
    assert_eq!(vault.remove(&path("gone.md"), seen).unwrap(), Removed::Moved);
    assert_eq!(fs::read(&file).unwrap(), b"user");
    assert_eq!(names(dir.path()), ["a.md"]);
}

#[test]
fn a_file_that_appears_during_the_write_is_left_alone() {
    let (dir, vault) = vault();
    let dirs = vault.dirs();
    let root = dirs.get("").unwrap().unwrap();
    let (mut temp, _) = temp::Temp::new(&dirs, "", &root).unwrap();
    put(&dir.path().join("a.md"), "user");
    assert_eq!(names(vault.root()).len(), 2);
    assert!(!temp.put(&root, "a.md", Expect::Absent).unwrap());
    assert_eq!(fs::read(dir.path().join("a.md")).unwrap(), b"user");
    drop(temp);
    assert_eq!(names(vault.root()), ["a.md"]);
}

#[test]
fn an_edit_right_after_the_write_is_noticed() {
    let (dir, vault) = vault();
    let stat = done(vault.write(&path("a.md"), b"ours", Expect::Absent).unwrap());
    std::thread::sleep(Duration::from_millis(20));
    put(&dir.path().join("a.md"), "user");
    let known = KnownFile { stat, sha256: ContentHash::of(b"ours") };
    let mut books = Books::default();
    books.enter(&path("a.md"), &EntityId::new("e").unwrap(), known);
    let scan = vault.scan(&books, i64::MAX / 1_000_000, 0).unwrap();
    assert_eq!(scan.changed.len(), 1);
}

#[test]
fn nothing_is_written_through_a_symlink() {
    let (dir, vault) = vault();
    let outside = tempfile::tempdir().unwrap();
    let secret = put(&outside.path().join("secret.md"), "secret");
    symlink(outside.path(), dir.path().join("d")).unwrap();
    symlink(outside.path().join("secret.md"), dir.path().join("l.md")).unwrap();
    for result in [
        vault.write(&path("d/new.md"), b"x", Expect::Absent),
        vault.write(&path("d/sub/new.md"), b"x", Expect::Absent),
        vault.rename(&path("d/secret.md"), &path("x.md"), secret),
    ] {
        assert!(matches!(result, Err(VaultError::Symlink { .. })), "{result:?}");
    }
    let result = vault.write(&path("d/secret.md"), b"x", Expect::Is(secret));
    assert!(matches!(result, Err(VaultError::Symlink { .. })), "{result:?}");
    assert!(matches!(vault.remove(&path("d/secret.md"), secret), Err(VaultError::Symlink { .. })));
    for expect in [Expect::Is(secret), Expect::Absent] {
        let result = vault.write(&path("l.md"), b"x", expect);
        assert!(matches!(result, Err(VaultError::NameTaken { .. })), "{result:?}");
    }
    assert!(matches!(vault.remove(&path("l.md"), secret), Err(VaultError::NameTaken { .. })));
    assert!(matches!(vault.stat(&path("d/secret.md")), Err(VaultError::Symlink { .. })));
    assert_eq!(vault.stat(&path("l.md")).unwrap(), None);
    let own = put(&dir.path().join("own.md"), "own");
    let result = vault.rename(&path("own.md"), &path("d/own.md"), own);
    assert!(matches!(result, Err(VaultError::Symlink { .. })));
    let result = vault.rename(&path("own.md"), &path("l.md"), own);
    assert!(matches!(result, Err(VaultError::NameTaken { .. })), "{result:?}");
    assert_eq!(names(outside.path()), ["secret.md"]);
    assert_eq!(fs::read(outside.path().join("secret.md")).unwrap(), b"secret");
}

#[test]
fn names_that_are_taken_are_said_to_be() {
    let (dir, vault) = vault();
    fs::create_dir(dir.path().join("d.md")).unwrap();
    put(&dir.path().join("f"), "x");
    let result = vault.write(&path("d.md"), b"x", Expect::Absent);
    assert!(matches!(result, Err(VaultError::NameTaken { taken: "a folder", .. })), "{result:?}");
    let result = vault.write(&path("f/x.md"), b"x", Expect::Absent);
    assert!(matches!(result, Err(VaultError::NameTaken { taken: "a file", .. })), "{result:?}");
    assert!(result.unwrap_err().to_string().contains("rename one"));
}

#[test]
fn removing_prunes_empty_folders_and_never_the_root() {
    let (dir, vault) = vault();
    let a = done(vault.write(&path("a/b/c.md"), b"x", Expect::Absent).unwrap());
    let d = done(vault.write(&path("a/d.md"), b"x", Expect::Absent).unwrap());
    assert_eq!(vault.remove(&path("a/b/c.md"), a).unwrap(), Removed::Done);
    assert_eq!(names(&dir.path().join("a")), ["d.md"]);
    assert_eq!(vault.remove(&path("a/d.md"), d).unwrap(), Removed::Done);
    assert_eq!(names(dir.path()), [] as [&str; 0]);
    assert!(dir.path().is_dir());
}

#[test]
fn a_rename_takes_no_name_that_is_taken() {
    let (dir, vault) = vault();
    let a = done(vault.write(&path("x/a.md"), b"a", Expect::Absent).unwrap());
    put(&dir.path().join("b.md"), "b");
    assert_eq!(vault.rename(&path("x/a.md"), &path("b.md"), a).unwrap(), Written::Moved);
    let dirs = vault.dirs();
    let (root, x) = (dirs.get("").unwrap().unwrap(), dirs.get("x").unwrap().unwrap());
    assert!(!x.rename_new("a.md", &root, "b.md").unwrap());
    assert_eq!(fs::read(dir.path().join("x/a.md")).unwrap(), b"a");
    let moved = done(vault.rename(&path("x/a.md"), &path("y/A.md"), a).unwrap());
    assert!(moved.same_content(&a));
    assert_eq!(names(dir.path()), ["b.md", "y"]);
    assert_eq!(file_stat(&fs::metadata(dir.path().join("y/A.md")).unwrap()), moved);
    let cased = done(vault.rename(&path("y/A.md"), &path("y/a.md"), moved).unwrap());
    assert_eq!(names(&dir.path().join("y")), ["a.md"]);
    assert!(cased.same_content(&a));
}

#[test]
fn what_an_interrupted_write_left_is_cleaned_up() {
    let (dir, vault) = vault();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::create_dir_all(dir.path().join(".larder")).unwrap();
    put(&dir.path().join("a/b/.larder-tmp-Ab1"), "x");
    put(&dir.path().join(".larder-tmp-root"), "x");
    put(&dir.path().join(".larder/.larder-tmp-own"), "x");
    put(&dir.path().join("a/keep.md"), "x");
    let scan = vault.scan(&Books::default(), 0, 0).unwrap();
    assert_eq!((scan.new.len(), scan.skipped.len()), (1, 0));
    assert_eq!(vault.clean_temps().unwrap(), 2);
    assert_eq!(names(&dir.path().join("a")), ["b", "keep.md"]);
    assert_eq!(names(&dir.path().join("a/b")), [] as [&str; 0]);
    assert_eq!(names(&dir.path().join(".larder")), [".larder-tmp-own"]);
    assert_eq!(vault.clean_temps().unwrap(), 0);
}

/// What stands at a path before a batch, and what the job expects there.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    Seen,
    Edited,
    NotSeen,
    Folder,
    Linked,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_batch_writes_each_file_as_if_it_were_alone(
        jobs in prop::collection::vec((0..4_usize, prop::sample::select(vec![
            Before::Nothing, Before::Nothing, Before::Nothing, Before::Seen, Before::Seen,
            Before::Edited, Before::NotSeen, Before::Folder, Before::Linked,
        ])), 0..60),
    ) {
        let (dir, vault) = vault();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("linked")).unwrap();
        let mut all = Vec::new();
        for (number, (folder, before)) in jobs.into_iter().enumerate() {
            let folder = ["", "a/", "a/b/c/", "d/"][folder];
            let folder = if matches!(before, Before::Linked) { "linked/" } else { folder };
            let name = path(&format!("{folder}{number}.md"));
            let at = name.under(dir.path());
            if !matches!(before, Before::Nothing | Before::Linked) {
                fs::create_dir_all(at.parent().unwrap()).unwrap();
            }
            let expect = match before {
                Before::Nothing | Before::Linked => Expect::Absent,
                Before::Seen => Expect::Is(put(&at, "seen")),
                Before::Edited => {
                    let seen = put(&at, "seen");
                    put(&at, "edited");
                    Expect::Is(seen)
                }
                Before::NotSeen => {
                    put(&at, "user");
                    Expect::Absent
                }
                Before::Folder => {
                    fs::create_dir(&at).unwrap();
                    Expect::Absent
                }
            };
            all.push((name, before, expect));
        }
        let bytes: Vec<_> = (0..all.len()).map(|number| format!("ours {number}")).collect();
        let jobs: Vec<_> = all
            .iter()
            .zip(&bytes)
            .map(|((path, _, expect), bytes)| WriteJob { path, bytes: bytes.as_bytes(), expect: *expect })
            .collect();
        let results = vault.write_all(&jobs, |_| Ok::<_, ()>(())).unwrap();
        prop_assert_eq!(results.len(), jobs.len());
        for ((job, (_, before, _)), result) in jobs.iter().zip(&all).zip(results) {
            let at = job.path.under(dir.path());
            let there = fs::read(&at).ok();
            match before {
                Before::Nothing | Before::Seen => {
                    prop_assert_eq!(there.as_deref(), Some(job.bytes));
                    prop_assert_eq!(vault.stat(job.path).unwrap(), Some(done(result.unwrap())));
                }
                Before::Edited | Before::NotSeen => {
                    prop_assert!(matches!(result, Ok(Written::Moved)), "{result:?}");
                    prop_assert!(there.is_some_and(|there| there != job.bytes));
                }
                Before::Folder => {
                    prop_assert!(matches!(result, Err(VaultError::NameTaken { .. })), "{result:?}");
                }
                Before::Linked => {
                    prop_assert!(matches!(result, Err(VaultError::Symlink { .. })), "{result:?}");
                }
            }
        }
        prop_assert_eq!(vault.clean_temps().unwrap(), 0);
        prop_assert_eq!(names(outside.path()), [] as [&str; 0]);
    }
}

#[test]
fn a_content_is_placed_as_a_written_file_is() {
    let (dir, vault) = vault();
    let (file, contents) = (dir.path().join("a/b/big"), dir.path().join(".larder/blobs"));
    let gathered = |text: &str| {
        let sha256 = ContentHash::of(text.as_bytes());
        let (mut part, _) = vault.content_part(sha256).unwrap();
        part.write_all(text.as_bytes()).unwrap();
        assert!(!vault.has_content(sha256).unwrap());
        vault.keep_content(sha256).unwrap();
        assert!(vault.has_content(sha256).unwrap());
        sha256
    };
    let one = gathered("one");
    let first = done(vault.adopt(one, &path("a/b/big"), Expect::Absent).unwrap());
    assert!(!vault.has_content(one).unwrap());
    assert_eq!(fs::read(&file).unwrap(), b"one");
    assert_eq!(vault.stat(&path("a/b/big")).unwrap(), Some(first));
    let usual = File::create(dir.path().join("usual")).unwrap().metadata().unwrap().mode();
    assert_eq!(fs::metadata(&file).unwrap().mode(), usual);
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let two = gathered("two!");
    let wrong = FileStat { size: 9, ..first };
    for expect in [Expect::Absent, Expect::Is(wrong)] {
        assert_eq!(vault.adopt(two, &path("a/b/big"), expect).unwrap(), Written::Moved);
        assert!(vault.has_content(two).unwrap());
    }
    let second = vault.adopt(two, &path("a/b/big"), Expect::Is(first)).unwrap();
    assert_eq!(vault.stat(&path("a/b/big")).unwrap(), Some(done(second)));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    assert!(vault.copy_content(&path("a/b/big"), two).unwrap());
    assert!(!vault.copy_content(&path("a/b/big"), one).unwrap());
    assert!(!vault.copy_content(&path("a/gone"), one).unwrap());
    symlink(dir.path().join("a"), dir.path().join("c")).unwrap();
    symlink(&file, dir.path().join("l")).unwrap();
    let placed = vault.adopt(two, &path("c/big"), Expect::Absent);
    assert!(matches!(placed, Err(VaultError::Symlink { .. })), "{placed:?}");
    let copied = vault.copy_content(&path("c/b/big"), two);
    assert!(matches!(copied, Err(VaultError::Symlink { .. })), "{copied:?}");
    assert!(!vault.copy_content(&path("l"), two).unwrap());
    vault.clear_contents(&[two].into()).unwrap();
    assert_eq!(names(&contents), [two.to_string()]);
    vault.clear_contents(&BTreeSet::new()).unwrap();
    assert_eq!(names(&contents), [] as [&str; 0]);
    assert_eq!(vault.clean_temps().unwrap(), 0);
}

#[test]
fn contents_are_gathered_and_cleared_in_larders_own_folder_only() {
    let (dir, vault) = vault();
    let outside = tempfile::tempdir().unwrap();
    put(&outside.path().join("secret.md"), "secret");
    fs::create_dir(dir.path().join(".larder")).unwrap();
    symlink(outside.path(), dir.path().join(".larder/blobs")).unwrap();
    let sha256 = ContentHash::of(b"x");
    for failed in [
        vault.content_part(sha256).map(drop),
        vault.keep_content(sha256),
        vault.has_content(sha256).map(drop),
        vault.clear_contents(&BTreeSet::new()),
        vault.adopt(sha256, &path("a.md"), Expect::Absent).map(drop),
    ] {
        assert!(matches!(failed, Err(VaultError::Symlink { .. })), "{failed:?}");
    }
    assert_eq!(names(outside.path()), ["secret.md"]);
}

#[test]
fn a_large_batch_makes_its_folders_and_takes_each_path_once() {
    let (dir, vault) = vault();
    let paths: Vec<_> = (0..2000).map(|n| path(&format!("{}/{}/{n}.md", n % 7, n % 40))).collect();
    let twice = paths.iter().chain(&paths[..100]);
    let jobs: Vec<_> = twice
        .map(|path| WriteJob { path, bytes: path.as_str().as_bytes(), expect: Expect::Absent })
        .collect();
    let results = vault.write_all(&jobs, |_| Ok::<_, ()>(())).unwrap();
    for (path, result) in paths.iter().zip(&results) {
        assert!(matches!(result, Ok(Written::Done(_))), "{result:?}");
        assert_eq!(fs::read(path.under(dir.path())).unwrap(), path.as_str().as_bytes());
    }
    assert!(results[2000..].iter().all(|result| matches!(result, Ok(Written::Moved))));
    assert_eq!(vault.clean_temps().unwrap(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn only_local_disks_are_made_durable_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Dirs::new(path).get("").ok().flatten();
    let of = |folder: &Path| durable::Systems::of([open(dir.path()), open(folder)].into_iter());
    assert!(of(Path::new("/proc")).is_none());
    assert!(of(&dir.path().join("gone")).is_none());
    if let Some(systems) = of(dir.path()) {
        systems.sync().unwrap();
    }
}

#[test]
fn errors_say_what_to_do() {
    let full = VaultError::write(Path::new("/v/a.md"), io::Error::from(ErrorKind::StorageFull));
    assert!(matches!(full, VaultError::DiskFull { .. }));
    assert_eq!(full.to_string(), "/v/a.md: the disk is full; free some space and sync again");
    let denied = VaultError::write(Path::new("/v/a.md"), ErrorKind::PermissionDenied.into());
    assert!(matches!(denied, VaultError::Permission { .. }));
    assert!(!denied.is_temporary());
    let busy = VaultError::write(Path::new("/v/a.md"), ErrorKind::ResourceBusy.into());
    assert!(busy.is_temporary());
    // A folder that takes no file: not even root may write there.
    let proc = Vault { root: "/proc/self".into(), gate: Default::default() };
    let result = proc.write(&path("larder.md"), b"x", Expect::Absent);
    assert!(result.is_err(), "{result:?}");
}

#[test]
fn of_a_folder_that_is_gone_nobody_says_that_a_file_took_its_place() {
    let (dir, vault) = vault();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let temp = ".larder-tmp-0";
    put(&dir.path().join("sub").join(temp), "text");
    assert!(vault.waits(&path("sub/note.md"), temp).unwrap());
    fs::rename(dir.path().join("sub"), dir.path().join("other")).unwrap();
    assert!(vault.waits(&path("sub/note.md"), temp).unwrap());
    fs::create_dir(dir.path().join("sub")).unwrap();
    assert!(!vault.waits(&path("sub/note.md"), temp).unwrap());
}
