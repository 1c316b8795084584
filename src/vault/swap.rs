//! For tests: somebody who swaps folders of a vault for symlinks, over and over.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Swaps until it is stopped; then every folder is in its place.
#[derive(Debug)]
pub(crate) struct Swapper {
    is_done: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Swapper {
    /// Swaps each folder for a symlink to another one. The symlinks lie in `aside` meanwhile, on the
    /// same disk.
    pub(crate) fn start(pairs: &[(PathBuf, PathBuf)], aside: &Path) -> Self {
        let mut swaps = Vec::new();
        for (number, (folder, outside)) in pairs.iter().enumerate() {
            let link = aside.join(format!("link{number}"));
            symlink(outside, &link).unwrap();
            swaps.push((folder.clone(), link));
        }
        let is_done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_done);
        let thread = thread::spawn(move || {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) || rounds % 2 == 1 {
                for (folder, link) in &swaps {
                    renameat_with(CWD, folder, CWD, link, RenameFlags::EXCHANGE).unwrap();
                }
                rounds += 1;
            }
            rounds
        });
        Self { is_done, thread }
    }

    /// Tells how often each folder was swapped.
    pub(crate) fn stop(self) -> usize {
        self.is_done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// All that can be told of a folder and what is in it; whatever is made, changed or removed there,
/// even for a moment, makes it another.
pub(crate) fn fingerprint(folder: &Path) -> Vec<(PathBuf, [i64; 5], Vec<u8>)> {
    let found = fs::symlink_metadata(folder).unwrap();
    let [mtime, ctime] = [found.mtime(), found.ctime()];
    let times = [mtime, found.mtime_nsec(), ctime, found.ctime_nsec()];
    let number = i64::try_from(found.ino()).unwrap();
    let times = [times[0], times[1], times[2], times[3], number];
    if !found.is_dir() {
        return vec![(folder.to_owned(), times, fs::read(folder).unwrap())];
    }
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let below = paths.iter().flat_map(|path| fingerprint(path));
    [(folder.to_owned(), times, Vec::new())].into_iter().chain(below).collect()
}

/// A folder in memory if the system has one: thousands of files are written there.
pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
