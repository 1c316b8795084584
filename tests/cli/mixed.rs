//! A vault with an encrypted remote and one in clear: each is used as what it is, whatever becomes of the
//! other and of the replica.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Device, Place, Ran, Remote};

/// A device with an encrypted remote, and one in clear as `backup`.
fn two() -> (Device, Remote, Remote) {
    let (sealed, clear) = (Remote::start(Place::EncryptedFolder).unwrap(), Remote::folder());
    let device = Device::joined("laptop", &sealed);
    let ran = device.run(&["remote", "add", "backup", clear.url(), "--json"]).exits(0);
    assert_eq!(ran.json()["encrypted"], false);
    assert!(ran.stderr.contains("folder is encrypted and this one is not"), "{ran}");
    (device, sealed, clear)
}

/// A run of who knows no passphrase.
fn run_unknowing(device: &Device, args: &[&str]) -> Ran {
    device.run_in(&[("LARDER_PASSPHRASE", None)], args)
}

fn id_of(device: &Device, name: &str) -> String {
    let told = device.run(&["remote", "show", "--remote", name, "--json"]).exits(0).json();
    told["remoteId"].as_str().unwrap().to_owned()
}

fn encrypted(rows: &Value) -> Vec<&Value> {
    rows.as_array().unwrap().iter().map(|row| &row["encrypted"]).collect()
}

fn holds(remote: &Remote, word: &str) -> bool {
    let has = |hay: &[u8]| hay.windows(word.len()).any(|part| part == word.as_bytes());
    remote.files().iter().any(|(name, text)| has(&text.0) || has(name.as_bytes()))
}

/// Puts in the place of a remote what another one holds, under the id of the first: as an attacker who
/// has the storage may show it.
fn show_in_clear(at: &Remote, id: &str) -> Device {
    let (clear, evil) = (Remote::folder(), Device::new("evil"));
    evil.run(&["init", "--remote", clear.url()]).exits(0);
    evil.write("evil.md", "Evil.\n");
    evil.sync();
    let other = id_of(&evil, "folder");
    at.empty();
    for (path, text) in clear.files() {
        at.insert(&path, String::from_utf8_lossy(&text.0).replace(&other, id).as_bytes());
    }
    evil
}

fn lose_replica(device: &Device) {
    fs::remove_file(device.root().join(".larder/replica.db")).unwrap();
}

#[test]
fn news_travel_both_ways_and_nothing_is_told_to_the_encrypted_one() {
    let (both, sealed, clear) = two();
    let (a, c) = (Device::joined("planted-desk", &sealed), Device::joined("phone", &clear));
    a.write("plantedname.md", "---\ntitle: plantedtitle\n---\nplantedbody one two\n");
    c.write("plantedphone.md", "plantedphone\n");
    c.write("photo.bin", [b"\0plantedblob".as_slice(), &[7; 100_000]].concat());
    for device in [&a, &c, &both, &a, &c] {
        device.sync();
    }
    assert_eq!(a.names(), ["photo.bin", "plantedname.md", "plantedphone.md"]);
    a.edit("plantedname.md", "one", "1");
    c.edit("plantedname.md", "two", "2");
    both.edit("plantedname.md", "plantedtitle", "plantedtitle too");
    for device in [&a, &c, &both, &a, &c] {
        device.sync();
    }
    assert_eq!(a.read("plantedname.md"), "---\ntitle: plantedtitle too\n---\nplantedbody 1 2\n");
    assert_eq!((a.files(), both.files()), (c.files(), c.files()));
    for args in [&["compact", "--force"][..], &["compact", "--force", "--remote", "backup"]] {
        both.run(args).exits(0);
    }
    for word in ["plantedname", "plantedtitle", "plantedbody", "plantedphone", "plantedblob"] {
        assert!(!holds(&sealed, word), "{word} lies on the encrypted remote");
    }
    assert!(!holds(&sealed, "planted-desk") && holds(&clear, "plantedblob"));
    // The key is known: an idle turn is one request for each, and asks nobody.
    let told = run_unknowing(&both, &["sync", "--json"]).exits(0);
    assert_eq!(told.number("requests"), 2);
    assert_eq!(encrypted(&told.json()["remotes"]), [true, false]);
    let status = both.run(&["status", "--json"]).exits(0).json();
    assert_eq!((&status["state"], &status["encrypted"]), (&json!("synced"), &json!(true)));
    assert_eq!(encrypted(&status["remotes"]), [true, false]);
    let status = both.run(&["status"]).exits(0);
    assert!(status.stdout.contains(" (encrypted), synced "), "{status}");
    let rows = both.run(&["remote", "list", "--json"]).exits(0).rows();
    assert_eq!(encrypted(&rows.into()), [true, false]);
    for (name, is_encrypted) in [("folder", true), ("backup", false)] {
        let shown = both.run(&["remote", "show", "--remote", name, "--json"]).exits(0).json();
        assert_eq!(shown["encrypted"], is_encrypted);
        run_unknowing(&both, &["check", "--read-data", "--remote", name]).exits(0);
    }
}

#[test]
fn a_lost_replica_knows_which_is_which() {
    let (both, sealed, clear) = two();
    both.write("note.md", "one\n");
    both.sync();
    lose_replica(&both);
    both.write("more.md", "two\n");
    let told = run_unknowing(&both, &["sync", "--json"]).exits(0);
    assert_eq!(encrypted(&told.json()["remotes"]), [true, false]);
    for remote in [&sealed, &clear] {
        let other = Device::joined("phone", remote);
        other.sync();
        assert_eq!(other.files(), both.files());
    }
    // Both at once: the replica is gone, and the encrypted one comes in clear.
    let (id, held) = (id_of(&both, "folder"), sealed.files());
    lose_replica(&both);
    show_in_clear(&sealed, &id);
    let before = sealed.files();
    both.write("third.md", "three\n");
    let ran = both.run(&["sync"]).exits(2);
    assert!(ran.stderr.contains("folder: the remote there is not encrypted"), "{ran}");
    assert!(ran.stdout.contains("backup: 1 sent"), "{ran}");
    assert_eq!(both.names(), ["more.md", "note.md", "third.md"]);
    assert_eq!(sealed.files(), before, "nothing was written there");
    for args in [&["remote", "set", sealed.url()][..], &["check"], &["compact"]] {
        let ran = both.run(args);
        assert!(ran.code != 0, "{ran}");
    }
    assert_eq!(sealed.files(), before, "nothing was written there");
    sealed.empty();
    held.iter().for_each(|(path, text)| sealed.insert(path, &text.0));
    both.sync();
    assert_eq!(both.state(), "synced");
}

#[test]
fn an_encrypted_remote_is_added_to_one_in_clear_and_stays_when_that_goes() {
    let (clear, sealed) = (Remote::folder(), Remote::folder());
    let device = Device::joined("laptop", &clear);
    device.write("note.md", "plantedbody\n");
    device.sync();
    // What is there in clear is not taken for an encrypted one, and nothing is kept of the try.
    let other = Remote::folder();
    Device::joined("other", &other);
    let before = other.files();
    let ran = device.run(&["remote", "add", "safe", other.url(), "--encrypt"]).exits(2);
    assert!(ran.stderr.contains("the remote there is not encrypted"), "{ran}");
    assert_eq!(other.files(), before);
    assert_eq!(device.run(&["remote", "list", "--json"]).exits(0).rows().len(), 1);
    assert!(!device.root().join(".larder/encrypted").exists());
    let added =
        device.run(&["remote", "add", "safe", sealed.url(), "--encrypt", "--json"]).exits(0);
    assert_eq!(added.json()["encrypted"], true);
    device.sync();
    assert!(!holds(&sealed, "plantedbody") && !holds(&sealed, "note"));
    // Who comes to it later needs not say that it is encrypted.
    let late = Device::joined("phone", &clear);
    let added = late.run(&["remote", "add", "safe", sealed.url(), "--json"]).exits(0);
    assert_eq!(
        (&added.json()["created"], &added.json()["encrypted"]),
        (&json!(false), &json!(true))
    );
    late.sync();
    assert_eq!(late.state(), "synced");
    // The one in clear goes: what is left is encrypted, also without the replica.
    device.run(&["remote", "remove", "folder"]).exits(0);
    let id = id_of(&device, "safe");
    lose_replica(&device);
    device.sync();
    lose_replica(&device);
    show_in_clear(&sealed, &id);
    let ran = device.run(&["sync"]).exits(2);
    assert!(ran.stderr.contains("the remote there is not encrypted"), "{ran}");
    assert_eq!(device.names(), ["note.md"]);
}

#[test]
fn a_remote_that_was_encrypted_is_none_in_clear_after_it_was_removed() {
    let (both, sealed, clear) = two();
    both.write("note.md", "one\n");
    both.sync();
    let id = id_of(&both, "folder");
    both.run(&["remote", "remove", "folder"]).exits(0);
    // What is left is in clear, with the replica and without.
    both.edit("note.md", "one", "two");
    both.sync();
    lose_replica(&both);
    both.sync();
    assert_eq!(both.run(&["status", "--json"]).json()["encrypted"], false);
    let phone = Device::joined("phone", &clear);
    phone.sync();
    assert_eq!(phone.read("note.md"), "two\n");
    let held = sealed.files();
    show_in_clear(&sealed, &id);
    for more in [&[][..], &["--encrypt"]] {
        let ran = both.run(&[&["remote", "add", "again", sealed.url()], more].concat()).exits(2);
        assert!(ran.stderr.contains("the remote there is not encrypted"), "{ran}");
    }
    both.sync();
    assert_eq!(both.names(), ["note.md"]);
    sealed.empty();
    held.iter().for_each(|(path, text)| sealed.insert(path, &text.0));
    let added = both.run(&["remote", "add", "again", sealed.url(), "--json"]).exits(0);
    assert_eq!(added.json()["encrypted"], true);
    both.sync();
    assert_eq!(both.state(), "synced");
}

#[test]
fn commands_are_about_the_one_that_is_chosen() {
    let (both, sealed, clear) = two();
    both.write("note.md", "one\n");
    both.sync();
    both.run(&["remote", "set-default", "backup"]).exits(0);
    assert_eq!(both.run(&["status", "--json"]).json()["encrypted"], false);
    let ran = both.run(&["remote", "passphrase"]).exits(2);
    assert!(ran.stderr.contains("the remote backup of this vault is not encrypted"), "{ran}");
    let args = ["remote", "passphrase", "--remote", "folder"];
    let mut command = both.command(&args);
    command.env("LARDER_NEW_PASSPHRASE", "another one altogether");
    Ran::new(&args, command.output().unwrap()).exits(0);
    assert!(sealed.files().keys().any(|file| file.starts_with("keys/2-")));
    assert!(!clear.files().keys().any(|file| file.starts_with("keys/")));
    // The address of the default one is given again: it is that one that is looked at.
    both.run(&["init", "--remote", clear.url()]).exits(0);
    let link = both.home().join("link");
    std::os::unix::fs::symlink(sealed.url(), &link).unwrap();
    for (url, code) in [(sealed.url(), 2), (link.to_str().unwrap(), 5)] {
        both.run(&["init", "--remote", url]).exits(2);
        both.run(&["remote", "set", "--remote", "backup", url]).exits(code);
    }
    both.run(&["remote", "set", "--remote", "folder", sealed.url()]).exits(0);
    // One that was emptied is filled again as what it was.
    sealed.empty();
    let ran = both.run(&["sync"]).exits(5);
    assert!(ran.stderr.contains("folder: the remote folder is empty"), "{ran}");
    let ran = both.run(&["sync", "--recreate-remote"]).exits(2);
    let words = "several remotes (backup, folder); say which one is to be filled again";
    assert!(ran.stderr.contains(words), "{ran}");
    assert!(!sealed.files().keys().any(|file| !file.starts_with(".larder-")), "{ran}");
    let ran = run_unknowing(&both, &["sync", "--recreate-remote", "--only", "folder"]).exits(2);
    assert!(ran.stderr.contains("a passphrase is needed for the remote folder"), "{ran}");
    assert!(!sealed.files().keys().any(|file| !file.starts_with(".larder-")), "{ran}");
    both.run(&["sync", "--recreate-remote", "--only", "folder"]).exits(0);
    assert!(!holds(&sealed, "note"));
    let phone = Device::joined("phone", &sealed);
    phone.sync();
    assert_eq!(phone.files(), both.files());
}
