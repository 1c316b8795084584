//! Tests of what a user may not do.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::Command,
};

const NOBODY: u32 = 65_534;

/// Root may do everything, so a test of what one may not runs again as another user. Whether it did.
pub(crate) fn ran_as_nobody(test: &str) -> bool {
    if fs::metadata(tempfile::tempdir().unwrap().path()).unwrap().uid() != 0 {
        return false;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    match command.args(["--exact", test]).uid(NOBODY).gid(NOBODY).current_dir("/").output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        Err(error) => eprintln!("skipped: the test program cannot be started as nobody: {error}"),
    }
    true
}
