use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What both kinds of folders do alike.
macro_rules! a_folder_does_what_it_should {
    ($test:ident, $of:ident) => {
        #[test]
        fn $test() {
            let dir = tempfile::tempdir().unwrap();
            let root = $of::Dir::root(dir.path()).unwrap();
            root.make("d").unwrap();
            assert_eq!(root.make("d").unwrap_err().kind(), ErrorKind::AlreadyExists);
            let sub = root.open("d").unwrap();
            assert_eq!(root.open("gone").unwrap_err().kind(), ErrorKind::NotFound);
            io::Write::write_all(&mut sub.create("a").unwrap(), b"a").unwrap();
            assert_eq!(sub.create("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
            io::Write::write_all(&mut sub.open_or_create("b").unwrap(), b"bb").unwrap();
            assert_eq!(io::read_to_string(sub.open_or_create("b").unwrap()).unwrap(), "bb");
            assert_eq!(io::read_to_string(sub.open_file("a").unwrap()).unwrap(), "a");
            assert_eq!(sub.names().unwrap().len(), 2);
            symlink("a", dir.path().join("d/l")).unwrap();
            let look = |name| sub.look(name).unwrap().map(|found| (found.kind, found.stat.size));
            assert_eq!((look("a"), look("c")), (Some((Kind::File, 1)), None));
            assert_eq!(look("l").unwrap().0, Kind::Symlink);
            assert_eq!(root.look("d").unwrap().unwrap().kind, Kind::Folder);
            for name in ["a", "l"] {
                assert!($of::is_link(&sub.open(name).unwrap_err()), "{name}");
            }
            let taken = sub.rename_noreplace("a", &sub, "b").unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
            sub.rename_noreplace("a", &root, "c").unwrap();
            root.rename("c", &sub, "b").unwrap();
            sub.sync().unwrap();
            assert_eq!(fs::read(dir.path().join("d/b")).unwrap(), b"a");
            assert!(root.remove_folder("d").is_err());
            sub.remove_file("b").unwrap();
            sub.remove_file("l").unwrap();
            root.remove_folder("d").unwrap();
            assert_eq!(names(dir.path()), [] as [&str; 0]);
        }
    };
}

a_folder_does_what_it_should!(an_open_folder_does_what_it_should, unix);
a_folder_does_what_it_should!(a_folder_by_its_path_does_what_it_should, plain);

#[test]
fn folders_are_reached_by_no_symlink_and_made_where_they_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = Dirs::new(dir.path());
    let mut changed = BTreeSet::new();
    dirs.make("a/b", &mut changed).unwrap();
    dirs.make("a/c", &mut changed).unwrap();
    assert_eq!(changed.iter().collect::<Vec<_>>(), ["", "a"]);
    assert!(dirs.get("a/c").unwrap().is_some() && dirs.get("a/d/e").unwrap().is_none());
    fs::File::create(dir.path().join("a/f")).unwrap();
    symlink("a", dir.path().join("l")).unwrap();
    for (path, at, is_link) in [("l/b", "l", true), ("a/f/g", "a/f", false)] {
        for result in [dirs.get(path).map(drop), dirs.make(path, &mut changed).map(drop)] {
            let found = match result.unwrap_err() {
                VaultError::Symlink { path } => (path, true),
                VaultError::NameTaken { path, taken: "a file" } => (path, false),
                other => panic!("{other}"),
            };
            assert_eq!(found, (dir.path().join(at), is_link));
        }
    }
    let gone = dir.path().join("gone");
    assert!(matches!(Dirs::new(&gone).get("a"), Err(VaultError::NoFolder { .. })));
    // A vault is opened by its path without symlinks, so one in its place has come since.
    assert!(Dirs::new(&dir.path().join("l")).get("b").is_err());
}

#[test]
fn no_more_folders_are_open_than_a_process_may_have() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = Dirs::new(dir.path());
    let paths: Vec<_> = (0..3 * OPEN_MAX).map(|n| format!("a/{}/{n}", n % 7)).collect();
    for path in &paths {
        dirs.make(path, &mut BTreeSet::new()).unwrap().create("x").unwrap();
    }
    assert!(dirs.open.lock().unwrap().len() <= OPEN_MAX);
    for path in paths.iter().rev() {
        assert_eq!(dirs.get(path).unwrap().unwrap().names().unwrap(), ["x"]);
    }
}

#[test]
fn a_file_is_opened_by_a_path_without_symlinks_only() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir_all(root.join("a/b")).unwrap();
    io::Write::write_all(&mut fs::File::create(root.join("a/b/x")).unwrap(), b"x").unwrap();
    symlink("a", root.join("l")).unwrap();
    symlink("x", root.join("a/b/m")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for open in [open_file, unix::open_file_stepwise] {
        assert_eq!(io::read_to_string(open(&root.join("a/b/x")).unwrap()).unwrap(), "x");
        for path in ["l/b/x", "a/b/m", "a/b/x/y"] {
            let error = open(&root.join(path)).unwrap_err();
            assert!(is_link(&error), "{path}: {error}");
        }
        assert_eq!(open(&root.join("a/c")).unwrap_err().kind(), ErrorKind::NotFound);
        // Nobody writes to it, and nobody waits for that.
        open(&root.join("pipe")).unwrap();
    }
}
