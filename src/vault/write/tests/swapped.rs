//! Folders that are swapped for symlinks while larder writes, renames, removes and reads.

use std::path::PathBuf;

use super::*;
use crate::vault::SkipReason;
use crate::vault::swap::{Swapper, fingerprint, tempdir};

const FOLDERS: usize = 8;
const FILES: usize = 60;

/// A vault beside a folder that nobody may touch and that looks like it.
struct Ground {
    dir: tempfile::TempDir,
    vault: Vault,
    outside: PathBuf,
    refused: Vec<VaultError>,
    done: usize,
}

impl Ground {
    fn new() -> Self {
        let dir = tempdir();
        let (root, outside) = (dir.path().join("vault"), dir.path().join("outside"));
        for (top, text) in [(&root, "own"), (&outside, "secret")] {
            for folder in (0..FOLDERS).map(|folder| top.join(format!("f{folder}/sub"))) {
                fs::create_dir_all(&folder).unwrap();
                put(&folder.join("keep.md"), text);
                for file in 0..FILES {
                    put(&folder.join(format!("../{file}.md")), text);
                }
            }
        }
        fs::create_dir_all(outside.join("blobs")).unwrap();
        put(&outside.join("blobs/secret"), "secret");
        fs::create_dir_all(root.join(".larder/blobs")).unwrap();
        let vault = Vault::open(&root).unwrap();
        Self { dir, vault, outside, refused: Vec::new(), done: 0 }
    }

    /// Has something done while the folders are swapped. Nothing may come of it outside, and what is
    /// refused is so for the symlink.
    fn while_swapped(&mut self, work: impl Fn(&mut Self)) {
        let before = fingerprint(&self.outside);
        let mut pairs: Vec<_> = (0..FOLDERS).map(|folder| format!("f{folder}")).collect();
        let sub = pairs.iter().step_by(2).map(|folder| format!("{folder}/sub")).collect::<Vec<_>>();
        pairs.retain(|folder| !sub.contains(&format!("{folder}/sub")));
        pairs.extend(sub);
        let mut pairs: Vec<_> = pairs
            .iter()
            .map(|folder| (self.vault.root().join(folder), self.outside.join(folder)))
            .collect();
        pairs.push((self.vault.root().join(".larder/blobs"), self.outside.join("blobs")));
        let swapper = Swapper::start(&pairs, self.dir.path());
        // Until some of it came through and some did not: on a machine that is busy with other
        // things the swapper may sleep for a while.
        for _ in 0..100 {
            work(self);
            if self.done > 0 && !self.refused.is_empty() {
                break;
            }
        }
        let rounds = swapper.stop();
        let after = fingerprint(&self.outside);
        let differs = after.iter().filter(|entry| !before.contains(entry));
        let differs: Vec<_> = differs.map(|(path, ..)| path).collect();
        assert!(differs.is_empty() && after.len() == before.len(), "{differs:?}");
        for error in &self.refused {
            assert!(matches!(error, VaultError::Symlink { .. }), "{error}");
        }
        let refused = self.refused.len();
        assert!(rounds > 0 && self.done > 0 && refused > 0, "{rounds} {} {refused}", self.done);
    }

    fn note<T>(&mut self, result: Result<T, VaultError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done += 1;
                Some(value)
            }
            Err(error) => {
                self.refused.push(error);
                None
            }
        }
    }

    /// Half of the files lie one folder further down.
    fn each(name: &str) -> Vec<VaultPath> {
        let all = (0..FILES).flat_map(|file| (0..FOLDERS).map(move |folder| (folder, file)));
        let sub = |file| if file % 2 == 0 { "" } else { "sub/" };
        all.map(|(folder, file)| path(&format!("f{folder}/{}{name}{file}.md", sub(file)))).collect()
    }

    /// Writes many files over whatever is there, and says how many could be written.
    fn write_each(&mut self, name: &str, text: &str) -> usize {
        let paths = Self::each(name);
        let jobs = paths.iter().map(|path| WriteJob {
            path,
            bytes: text.as_bytes(),
            expect: match self.vault.stat(path) {
                Ok(Some(stat)) => Expect::Is(stat),
                _ => Expect::Absent,
            },
        });
        let jobs: Vec<_> = jobs.collect();
        let results = self.vault.write_all(&jobs, |_| Ok::<_, ()>(())).unwrap();
        let results = results.into_iter().map(|result| self.note(result));
        results.filter(|written| matches!(written, Some(Written::Done(_)))).count()
    }
}

#[test]
fn nothing_is_written_renamed_or_removed_outside() {
    let mut ground = Ground::new();
    ground.while_swapped(|ground| {
        for round in 0..4 {
            ground.write_each(&format!("new{round}-"), "new");
            ground.write_each("new0-", &format!("newer {round}"));
        }
        for path in Ground::each("new0-") {
            let Ok(Some(stat)) = ground.vault.stat(&path) else { continue };
            let to = VaultPath::new(&path.as_str().replace("new0", "moved")).unwrap();
            let moved = ground.vault.rename(&path, &to, stat);
            ground.note(moved);
        }
        for path in Ground::each("new1-").into_iter().chain(Ground::each("moved-")) {
            let Ok(Some(stat)) = ground.vault.stat(&path) else { continue };
            let removed = ground.vault.remove(&path, stat);
            ground.note(removed);
            let text = "again".as_bytes();
            let written = ground.vault.write(&path, text, Expect::Absent);
            ground.note(written);
            let cleaned = ground.vault.clean_temps();
            ground.note(cleaned);
        }
    });
    // Nothing that was refused is in the way of doing it now.
    assert_eq!(ground.vault.clean_temps().unwrap(), 0);
    assert_eq!(ground.write_each("new2-", "last"), FOLDERS * FILES);
    for path in Ground::each("new2-") {
        assert_eq!(fs::read(path.under(ground.vault.root())).unwrap(), b"last");
    }
    for path in Ground::each("new3-") {
        if let Some(stat) = ground.vault.stat(&path).unwrap() {
            assert_eq!(ground.vault.remove(&path, stat).unwrap(), Removed::Done);
        }
    }
    assert!(fs::read(ground.vault.root().join("f0/0.md")).unwrap() == b"own");
}

#[test]
fn contents_are_not_gathered_or_placed_outside() {
    let mut ground = Ground::new();
    ground.while_swapped(|ground| {
        for path in Ground::each("blob") {
            let sha256 = ContentHash::of(path.as_str().as_bytes());
            let part = ground.vault.content_part(sha256);
            let Some((mut part, _)) = ground.note(part) else { continue };
            part.write_all(path.as_str().as_bytes()).unwrap();
            let kept = ground.vault.keep_content(sha256);
            if ground.note(kept).is_some() {
                let placed = ground.vault.adopt(sha256, &path, Expect::Absent);
                if ground.note(placed).is_some() {
                    let copied = ground.vault.copy_content(&path, sha256);
                    ground.note(copied);
                }
            }
            let cleared = ground.vault.clear_contents(&BTreeSet::new());
            ground.note(cleared);
        }
    });
}

#[test]
fn nothing_is_read_outside() {
    let mut ground = Ground::new();
    ground.while_swapped(|ground| {
        let mut texts = Vec::new();
        for path in Ground::each("") {
            match ground.vault.read(&path) {
                Ok(read) => texts.extend(read.and_then(|read| read.text)),
                Err(SkipReason::Symlink | SkipReason::Busy) => {
                    ground.refused.push(VaultError::Symlink { path: PathBuf::new() });
                }
                Err(other) => panic!("{other}"),
            }
        }
        for _ in 0..20 {
            let scan = ground.vault.scan(&Books::default(), 0, usize::MAX).unwrap();
            texts.extend(scan.new.into_iter().filter_map(|file| file.text));
        }
        assert!(texts.iter().all(|text| text == "own"), "something outside was read");
        ground.done += texts.len();
    });
}
