//! A remote that went back, was forked, wiped, swapped for another, or lost its head: each is named as
//! such by `sync`, `status` and `check`, and healed.

use crate::common::{Device, Files, Remote, full_pair, settle};

macro_rules! scenarios {
    ($place:expr) => {
        crate::servers::on!($place, went_back, forked, wiped, swapped, headless, torn, lost_pack);
    };
}

mod folder {
    scenarios!(Place::Folder);
}
mod encrypted_folder {
    scenarios!(Place::EncryptedFolder);
}
mod encrypted_dav_server {
    scenarios!(Place::EncryptedServer(Kind::DavServerBare));
}
mod dav_server {
    scenarios!(Place::DAV_SERVER);
}
mod dropbox {
    scenarios!(Place::DROPBOX);
}
#[cfg(feature = "object-stores")]
mod moto {
    scenarios!(Place::MOTO);
}

/// What is in the remote's folder, without what the storage keeps for itself.
fn backup(remote: &Remote) -> Files {
    let mut files = remote.files();
    files.retain(|path, _| !path.contains(".larder-"));
    files
}

fn restore(remote: &Remote, backup: &Files) {
    remote.empty();
    for (path, text) in backup {
        remote.insert(path, &text.0);
    }
}

/// Removes or changes the files in some folders, behind the server's back.
fn hurt(remote: &Remote, begins: &[&str], content: Option<&[u8]>) {
    let files = remote.files().into_keys();
    for path in files.filter(|path| begins.iter().any(|begin| path.starts_with(begin))) {
        match content {
            Some(content) => remote.insert(&path, content),
            None => remote.remove(&path),
        }
    }
}

/// What a check finds, each kind once.
fn kinds(device: &Device) -> Vec<String> {
    let check = device.run(&["check", "--json"]).json();
    let found = check["findings"].as_array().unwrap_or_else(|| panic!("{check}")).iter();
    let mut kinds: Vec<String> = found.map(|f| f["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn is_well(remote: &Remote, a: &Device, b: &Device) {
    settle(&[a, b]);
    for device in [a, b] {
        device.is_sound();
        assert_eq!(device.state(), "synced");
    }
    let newcomer = Device::joined("newcomer", remote);
    newcomer.sync();
    assert_eq!(newcomer.files(), a.files());
}

fn went_back(remote: &Remote) {
    let (a, b) = full_pair(remote, 5);
    let before = backup(remote);
    a.edit("n0.md", "note", "edited");
    a.sync();
    restore(remote, &before);
    assert_eq!(kinds(&a), ["wentBack"]);
    let ran = a.run(&["sync"]).exits(0);
    assert!(ran.stdout.contains("the remote: went back from generation"), "{ran}");
    let told = a.run(&["status"]).exits(0);
    assert!(told.stdout.contains("ago: the remote went back from generation"), "{told}");
    b.sync();
    assert_eq!(b.read("n0.md"), "edited 0\n");
    is_well(remote, &a, &b);
}

fn forked(remote: &Remote) {
    let (a, b) = full_pair(remote, 5);
    let before = backup(remote);
    a.edit("n0.md", "note", "edited");
    settle(&[&a, &b]);
    restore(remote, &before);
    // The other one heals it: what is there now knows everything, by another history.
    b.sync();
    assert_eq!(kinds(&a), ["forked"]);
    let ran = a.run(&["sync"]).exits(0);
    assert!(ran.stdout.contains("the remote: has another history"), "{ran}");
    let told = a.run(&["status", "--json"]).json();
    assert!(told["healed"].as_str().unwrap().contains("has another history"), "{told}");
    assert!(told["healedAt"].is_string(), "{told}");
    assert!(!a.run(&["sync"]).exits(0).stdout.contains("history"));
    is_well(remote, &a, &b);
}

fn wiped(remote: &Remote) {
    let (a, b) = full_pair(remote, 5);
    remote.empty();
    a.run(&["sync"]).exits(5);
    assert_eq!(a.state(), "error");
    let told = a.run(&["status"]).exits(0);
    assert!(told.stdout.contains("the remote folder is empty or not there"), "{told}");
    a.run(&["check"]).exits(5);
    a.run(&["check", "--repair"]).exits(5);
    a.run(&["sync", "--recreate-remote"]).exits(0);
    is_well(remote, &a, &b);
}

fn swapped(remote: &Remote) {
    let (a, b) = full_pair(remote, 5);
    let before = backup(remote);
    remote.empty();
    let stranger = Device::joined("stranger", remote);
    stranger.write("other.md", "not ours\n");
    stranger.sync();
    for args in [&["sync"][..], &["check"], &["check", "--repair"]] {
        let ran = a.run(args).exits(5);
        assert!(ran.stderr.contains("holds another remote"), "{ran}");
    }
    assert_eq!(a.state(), "error");
    restore(remote, &before);
    is_well(remote, &a, &b);
}

fn headless(remote: &Remote) {
    let (a, b) = full_pair(remote, 5);
    b.write("late.md", "late\n");
    b.sync();
    hurt(remote, &["meta.json", "head/", "meta/"], None);
    let ran = a.run(&["sync"]).exits(1);
    assert!(ran.stderr.contains("`larder check --repair`"), "{ran}");
    assert_eq!(a.state(), "error");
    assert!(kinds(&a).contains(&"head".to_owned()));
    // Nobody takes it for a new one.
    let newcomer = Device::new("newcomer").facing(remote);
    newcomer.run(&["init", "--remote", remote.url()]).exits(1);
    a.run(&["sync", "--recreate-remote"]).exits(1);
    let ran = a.run(&["check", "--repair", "--json"]).exits(0).json();
    assert!(!ran["repaired"].as_array().unwrap().is_empty(), "{ran}");
    assert_eq!(a.read("late.md"), "late\n");
    is_well(remote, &a, &b);
}

fn torn(remote: &Remote) {
    let (a, b) = full_pair(remote, 5);
    let has_own = remote.files().keys().any(|file| file.starts_with("meta/"));
    let manifests = if has_own { "meta/" } else { "meta.json" };
    hurt(remote, &[manifests], Some(b"{\"format\": 1, \"minReader"));
    if manifests == "meta.json" {
        a.run(&["sync"]).exits(1);
        assert_eq!(a.state(), "error");
    } else {
        // Who has read it has no need of it, and its next commit writes another.
        a.run(&["sync"]).exits(0);
        Device::new("newcomer").facing(remote).run(&["init", "--remote", remote.url()]).exits(1);
    }
    assert_eq!(kinds(&a), ["head"]);
    a.run(&["check", "--repair", "--read-data"]).exits(0);
    is_well(remote, &a, &b);
}

fn lost_pack(remote: &Remote) {
    let (a, b) = full_pair(remote, 5);
    a.run(&["compact"]).exits(0);
    b.sync();
    hurt(remote, &["packs/"], None);
    assert_eq!(kinds(&b), ["missing"]);
    let ran = b.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("`larder check --repair` sends again"), "{ran}");
    let ran = b.run(&["check", "--repair"]).exits(0);
    assert!(ran.stdout.starts_with("repaired: packs/"), "{ran}");
    is_well(remote, &a, &b);
}
