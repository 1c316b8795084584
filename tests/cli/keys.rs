//! The key of an encrypted remote: kept on a device, replaced there, forgotten; and what is left of it on
//! a remote that was damaged.

use std::{fs, process::Stdio};

use insta::assert_snapshot;

use crate::common::{Device, Place, Ran, Remote, Text};

const MODES: [&str; 3] = ["if-match", "rename", "devices"];

fn encrypted() -> Remote {
    Remote::start(Place::EncryptedFolder).unwrap()
}

/// A device that has sent a note to a new remote.
fn made(remote: &Remote, commit: &str) -> Device {
    let device = Device::new("laptop");
    device.run(&["init", "--encrypt", "--commit", commit, "--remote", remote.url()]).exits(0);
    device.write("note.md", "Hot.\n");
    device.sync();
    device
}

/// A run of somebody who does not know the passphrase.
fn alone(device: &Device, args: &[&str]) -> Ran {
    let mut command = device.command(args);
    command.env_remove("LARDER_PASSPHRASE").env("LARDER_NEW_PASSPHRASE", "another passphrase");
    Ran::new(args, command.stdin(Stdio::null()).output().unwrap())
}

/// Replaces the key that is kept by one that is as good but for another remote.
fn replace_key(device: &Device) {
    let file = device.home().join("state/larder/passwords.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (account, key) = kept.as_object_mut().unwrap().iter_mut().next().unwrap();
    assert!(account.starts_with("larder-key:"), "{account}");
    *key = "A".repeat(43).into();
    fs::write(&file, kept.to_string()).unwrap();
}

/// Has the vault forget by what it tells the right key from others.
fn forget_fingerprint(device: &Device) {
    let file = device.root().join(".larder/encrypted");
    let text = fs::read_to_string(&file).unwrap();
    let (id, fingerprint) = text.trim_end().split_once(' ').unwrap();
    assert_eq!(fingerprint.len(), 16, "{text}");
    fs::write(&file, format!("{id}\n")).unwrap();
}

#[test]
fn a_kept_key_that_is_not_that_of_the_remote_is_noticed_and_not_used() {
    for (commit, is_known) in MODES.into_iter().flat_map(|mode| [(mode, true), (mode, false)]) {
        let remote = encrypted();
        let device = made(&remote, commit);
        device.write("note.md", "Hotter.\n");
        let before = remote.files();
        replace_key(&device);
        if !is_known {
            forget_fingerprint(&device);
        }
        for args in [
            &["check", "--repair"][..],
            &["check"],
            &["sync"],
            &["remote", "passphrase"],
            &["compact", "--force"],
            &["daemon"],
        ] {
            let ran = alone(&device, args).exits(2);
            assert!(ran.stderr.contains("does not open it, and is not used"), "{commit}: {ran}");
            assert!(ran.stderr.contains("set LARDER_PASSPHRASE"), "{commit}: {ran}");
            assert_eq!(remote.files(), before, "{commit}: {args:?}");
        }
        // Who knows the passphrase has the right one again.
        let ran = device.run(&["check", "--repair"]).exits(0);
        assert!(!ran.stdout.contains("repaired"), "{commit}: {ran}");
        alone(&device, &["sync"]).exits(0);
        let other = Device::joined("phone", &remote);
        other.sync();
        assert_eq!(other.files(), device.files(), "{commit}");
    }
}

#[test]
fn a_newcomer_with_a_key_of_another_remote_is_asked_for_the_passphrase() {
    let remote = encrypted();
    let device = made(&remote, "if-match");
    let vault = device.root().join(".larder");
    replace_key(&device);
    fs::remove_dir_all(vault).unwrap();
    let join = ["sync", "--remote", remote.url()];
    let ran = alone(&device, &join).exits(2);
    assert_snapshot!(ran.stderr, @"error: the key that is kept for this remote does not open it, and is not used; set LARDER_PASSPHRASE, or run the command in a terminal once");
    let ran = device.run(&join).exits(0);
    assert!(
        ran.stderr.contains("warning: the key that is kept for this remote does not open it"),
        "{ran}"
    );
    alone(&device, &["sync"]).exits(0);
}

#[test]
fn a_damaged_meta_of_an_encrypted_remote_is_repaired() {
    let damages: [fn(&str) -> String; 5] = [
        |text| {
            let (most, end) = text.split_at(text.rfind('"').unwrap() - 9);
            let other = if end.starts_with('A') { "B" } else { "A" };
            most.to_owned() + other + &end[1..]
        },
        |_| "not JSON at all".to_owned(),
        |text| text[..text.len() / 2].to_owned(),
        |text| text.replace("\"sealed\":\"b", "\"sealed\":\"c"),
        |_| String::new(),
    ];
    for (commit, damage) in MODES.into_iter().flat_map(|mode| damages.map(|damage| (mode, damage)))
    {
        for is_known in [true, false] {
            let remote = encrypted();
            let device = made(&remote, commit);
            let before = lossy(&remote.files()["meta.json"]);
            let damaged = damage(&before);
            assert_ne!(before, damaged);
            remote.insert("meta.json", damaged.as_bytes());
            if !is_known {
                forget_fingerprint(&device);
            }
            let ran = alone(&device, &["check"]);
            assert_ne!(ran.code, 0, "{commit}: {damaged}: {ran}");
            let ran = alone(&device, &["check", "--repair"]).exits(0);
            assert!(ran.stdout.contains("repaired: "), "{commit}: {ran}");
            alone(&device, &["check", "--read-data"]).exits(0);
            let meta = lossy(&remote.files()["meta.json"]);
            assert!(
                meta.contains("\"sealed\":") && !meta.contains("commitMode"),
                "{commit}: {meta}"
            );
            let other = Device::joined("phone", &remote);
            other.sync();
            assert_eq!(other.files(), device.files(), "{commit}");
        }
    }
}

#[test]
fn a_remote_that_is_filled_again_over_old_keys_can_be_joined() {
    let other = encrypted();
    made(&other, "if-match");
    let foreign = other.files().into_iter().find(|(file, _)| file.starts_with("keys/")).unwrap().1;
    // What is left in `keys`, and whether it opens the remote still.
    let left: [(Option<&[u8]>, bool); 4] = [
        (None, true),
        (Some(b"{\"format\": 1,"), false),
        (Some(b""), false),
        (Some(&foreign.0), false),
    ];
    for (commit, (key, opens)) in MODES.into_iter().flat_map(|mode| left.map(|left| (mode, left))) {
        let remote = encrypted();
        let device = made(&remote, commit);
        for file in remote.files().into_keys() {
            match key {
                _ if !file.starts_with("keys/") => remote.remove(&file),
                Some(key) => remote.insert(&file, key),
                None => {}
            }
        }
        device.run(&["sync"]).exits(5);
        let refill = ["sync", "--recreate-remote"];
        if opens {
            alone(&device, &refill).exits(0);
        } else {
            let ran = alone(&device, &refill).exits(2);
            assert!(ran.stderr.contains("a passphrase is needed"), "{commit}: {ran}");
            device.run(&refill).exits(0);
        }
        let newcomer = Device::joined("phone", &remote);
        newcomer.sync();
        assert_eq!(newcomer.files(), device.files(), "{commit}");
        alone(&device, &["check"]).exits(0);
    }
}

#[test]
fn a_logout_forgets_the_key_too() {
    let remote = encrypted();
    let device = made(&remote, "if-match");
    let none = alone(&device, &["remote", "logout", "webdavs://ann@example.org/x"]).exits(0);
    assert_snapshot!(none.stdout, @"No password of ann@example.org is kept.");
    alone(&device, &["sync"]).exits(0);
    let ran = alone(&device, &["remote", "logout"]).exits(0);
    assert_snapshot!(ran.stdout, @"The key of the remote is forgotten.");
    alone(&device, &["sync"]).exits(2);
    let ran = alone(&device, &["remote", "logout"]).exits(0);
    assert_snapshot!(ran.stdout, @"No key of the remote is kept.");
    device.sync();
    let ran = alone(&device, &["remote", "logout", remote.url(), "--json"]).exits(0);
    assert_snapshot!(ran.stdout, @r#"{"account":null,"forgotten":false,"keyForgotten":true}"#);
    alone(&device, &["sync"]).exits(2);
    // One in clear, which needs nothing.
    let clear = Remote::folder();
    let ran = Device::joined("desk", &clear).run(&["remote", "logout"]).exits(2);
    assert!(ran.stderr.contains("has neither an account whose password would be kept nor a key"));
}

#[test]
fn who_finds_no_key_is_told_who_can_write_one() {
    let remote = encrypted();
    made(&remote, "if-match");
    for file in remote.files().into_keys().filter(|file| file.starts_with("keys/")) {
        remote.remove(&file);
    }
    let ran = Device::new("phone").run(&["sync", "--remote", remote.url()]).exits(1);
    assert_snapshot!(ran.stderr, @"
    error: the remote's key is missing or damaged: there is none in the folder keys
      nothing is lost: run `larder remote passphrase` on a device that still syncs with it, which writes the key anew
    ");
}

fn lossy(text: &Text) -> String {
    String::from_utf8_lossy(&text.0).into_owned()
}
