//! A replica whose database is damaged: noticed, set aside, made anew, and no edit lost.

use std::{fs, path::PathBuf};

use crate::common::{Device, Remote, pair, settle};

const PAGE: usize = 8192;

fn database(device: &Device) -> PathBuf {
    device.root().join(".larder/replica.db")
}

fn spoil(device: &Device, how: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(database(device)).unwrap();
    how(&mut bytes);
    fs::write(database(device), bytes).unwrap();
}

fn aside(device: &Device) -> Vec<String> {
    let entries = fs::read_dir(device.root().join(".larder")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("replica.db.damaged-")).collect()
}

/// Two devices with many notes, each with edits that the other has not seen, and the laptop with
/// some that were not sent.
fn busy_pair(remote: &Remote) -> (Device, Device) {
    let (a, b) = pair(remote);
    for n in 0..200 {
        a.write(
            &format!("n{n}.md"),
            format!("---\ntitle: Note {n}\n---\n{}\n", "text ".repeat(40)),
        );
    }
    settle(&[&a, &b]);
    a.edit("n0.md", "Note 0", "Note zero");
    a.sync();
    // From here on the other device's are news, and the laptop's own are unsent.
    b.edit("n1.md", "Note 1", "Note one");
    b.delete("n2.md");
    b.write("from b.md", "b\n");
    b.sync();
    a.edit("n3.md", "Note 3", "Note three");
    a.write("from a.md", "a\n");
    a.delete("n4.md");
    let put = r#"{"path":"put.md","body":"put\n"}"#;
    a.run(&["put", "--type", "note", put]).exits(0);
    (a, b)
}

fn is_well(a: &Device, b: &Device) {
    settle(&[a, b]);
    settle(&[b, a]);
    assert_eq!(a.read("n0.md").lines().nth(1), Some("title: Note zero"));
    assert_eq!(a.read("n1.md").lines().nth(1), Some("title: Note one"));
    assert_eq!(a.read("n3.md").lines().nth(1), Some("title: Note three"));
    assert_eq!((a.read("from a.md"), a.read("from b.md")), ("a\n".into(), "b\n".into()));
    assert!(a.read("put.md").ends_with("put\n"));
    for device in [a, b] {
        device.is_sound();
    }
    assert_eq!(a.sync().number("pushed"), 0);
}

fn damaged(how: impl Fn(&mut Vec<u8>), keeps_deletions: bool) {
    let remote = Remote::folder();
    let (a, b) = busy_pair(&remote);
    spoil(&a, how);
    let ran = a.run(&["sync"]);
    assert!([0, 3].contains(&ran.code), "{ran}");
    assert!(ran.stderr.contains("was damaged. It was set aside as"), "{ran}");
    assert_eq!(aside(&a).len(), 1);
    is_well(&a, &b);
    if keeps_deletions {
        let names = a.names();
        assert!(!names.contains(&"n2.md".into()) && !names.contains(&"n4.md".into()), "{ran}");
    }
    assert_eq!(a.run(&["sync"]).exits(0).stderr, "");
}

#[test]
fn a_header_that_was_overwritten() {
    damaged(|bytes| bytes[..64].fill(b'x'), true);
}

#[test]
fn pages_that_were_zeroed() {
    damaged(
        |bytes| {
            let middle = bytes.len() / PAGE / 2;
            bytes[middle * PAGE..(middle + 3) * PAGE].fill(0);
        },
        false,
    );
}

#[test]
fn every_page_in_turn() {
    let remote = Remote::folder();
    let (a, b) = pair(&remote);
    (0..60)
        .for_each(|n| a.write(&format!("n{n}.md"), format!("note {n}, {}\n", "long ".repeat(50))));
    settle(&[&a, &b]);
    let pages = fs::read(database(&a)).unwrap().len() / PAGE;
    for page in 1..pages {
        a.write("n0.md", format!("unsent before page {page}\n"));
        spoil(&a, |bytes| {
            let at = page * PAGE;
            if let Some(bytes) = bytes.get_mut(at..at + PAGE) {
                bytes.fill(0);
            }
        });
        // Of a page that nobody reads nobody needs to know.
        let ran = a.run(&["sync"]);
        assert!([0, 3].contains(&ran.code), "page {page}: {ran}");
        settle(&[&a, &b]);
        let text = b.read("n0.md");
        assert!(text.contains(&format!("before page {page}\n")), "page {page}: {text}");
        assert_eq!(b.names().len(), 60);
        (0..60)
            .skip(1)
            .for_each(|n| assert!(a.read(&format!("n{n}.md")).starts_with(&format!("note {n},"))));
        for file in aside(&a) {
            fs::remove_file(a.root().join(".larder").join(file)).unwrap();
        }
    }
}

#[test]
fn a_database_that_was_cut() {
    damaged(|bytes| bytes.truncate(bytes.len() / 2 / PAGE * PAGE), false);
    damaged(|bytes| bytes.truncate(bytes.len() / 2 + 100), false);
}

#[test]
fn noise_all_over() {
    damaged(|bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x5a), false);
}

#[test]
fn a_log_of_noise() {
    let remote = Remote::folder();
    let (a, b) = busy_pair(&remote);
    fs::write(a.root().join(".larder/replica.db-wal"), vec![0x5a; 100_000]).unwrap();
    let ran = a.run(&["sync"]).exits(0);
    assert!(ran.stderr.contains("All of its records could be read"), "{ran}");
    is_well(&a, &b);
}

#[test]
fn a_database_that_is_gone() {
    let remote = Remote::folder();
    let (a, b) = busy_pair(&remote);
    a.sync();
    a.edit("n3.md", "three", "drei");
    for content in [None, Some("")] {
        fs::remove_file(database(&a)).unwrap();
        if let Some(content) = content {
            fs::write(database(&a), content).unwrap();
        }
        let ran = a.run(&["sync"]);
        assert!([0, 3].contains(&ran.code), "{ran}");
        settle(&[&a, &b]);
        assert!(b.read("n3.md").contains("drei"));
        assert!(b.read("put.md").ends_with("put\n"));
    }
}

#[test]
fn who_only_looks_says_what_to_do() {
    let remote = Remote::folder();
    let (a, b) = busy_pair(&remote);
    spoil(&a, |bytes| bytes[..64].fill(b'x'));
    let ran = a.run(&["status"]).exits(1);
    assert!(ran.stderr.contains("`larder sync` sets it aside"), "{ran}");
    assert_eq!(ran.stderr.matches("file is not a database").count(), 1, "{ran}");
    assert_eq!(aside(&a).len(), 0);
    a.sync();
    is_well(&a, &b);
    // Whoever asks for a repair gets one, too.
    spoil(&a, |bytes| bytes[..64].fill(b'x'));
    a.run(&["check", "--repair"]).exits(0);
    is_well(&a, &b);
}

/// A database that is gone is no reason to stop, and none to be silent.
#[test]
fn a_replica_that_is_gone_or_empty() {
    let device = Device::joined("laptop", &Remote::folder());
    device.write("note.md", "text\n");
    let told = "This vault's database (.larder/replica.db) was gone, and was made anew. ";
    assert!(!device.sync().stderr.contains(told));
    fs::remove_file(database(&device)).unwrap();
    let ran = device.run(&["sync", "-q"]).exits(0);
    assert!(ran.stderr.starts_with(told), "{ran}");
    assert_eq!(device.run(&["sync", "-q"]).exits(0).said(), "");
    fs::write(database(&device), "").unwrap();
    // A command that needs no remote makes it already.
    device.run(&["put", "--type", "x", "{}"]);
    let ran = device.run(&["sync", "-q"]).exits(0);
    assert!(ran.stderr.starts_with(told), "{ran}");
    // What is damaged is told of as that.
    fs::write(database(&device), "nothing at all".repeat(1000)).unwrap();
    let ran = device.run(&["sync", "-q"]).exits(0);
    assert!(ran.stderr.contains("was damaged") && !ran.stderr.contains(told), "{ran}");
}
