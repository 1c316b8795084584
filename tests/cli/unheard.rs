//! Answers that do not reach who asked.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    process::{Output, Stdio},
};

use crate::common::{Device, Remote};

/// Runs a command whose standard output takes nothing.
fn to_a_full_disk(device: &Device, args: &[&str]) -> (Option<i32>, String) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let Output { status, stderr, .. } =
        device.command(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let device = Device::joined("laptop", &Remote::folder());
    device.write("a.md", "text\n");
    let told = "error: not all of the answer could be written: No space left on device";
    for args in [
        &["sync", "--json"][..],
        &["sync"],
        &["list"],
        &["list", "--json"],
        &["status"],
        &["log", "--json"],
        &["check", "--json"],
        &["show", "a.md"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ] {
        let (code, said) = to_a_full_disk(&device, args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains(told), "{args:?}: {said}");
    }
    assert_eq!(device.run(&["list"]).stdout, "note       v1    a.md\n", "what it did is done");
    // Why it failed before stays what it is, and is told where it can be.
    let (code, said) = to_a_full_disk(&device, &["sync", "--only", "nope", "--json"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("this vault has no remote nope") && said.contains(told), "{said}");
}

#[test]
fn who_has_read_enough_is_no_failure() {
    let device = Device::joined("laptop", &Remote::folder());
    (0..3000).for_each(|n| device.write(&format!("{n}.md"), "text\n"));
    device.sync();
    for args in [&["list"][..], &["list", "--json"], &["completions", "bash"], &["man"]] {
        let mut child = device.start(args);
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert_eq!(status.code(), Some(0), "{args:?}");
        assert!(stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    }
}
