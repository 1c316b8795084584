//! Encrypted remotes through the binary: made, joined, opened by the right passphrase only, never used
//! in clear; and nothing of what the notes say lies on them.

use std::fs;

use insta::assert_snapshot;
use larder_providers::testing::Kind;

use crate::common::{Device, PASSPHRASE, Place, Remote, Text, pair, settle, tree};

fn encrypted() -> Remote {
    Remote::start(Place::EncryptedFolder).unwrap()
}

/// Has a device forget what it opened.
fn forget_key(device: &Device) {
    fs::remove_dir_all(device.home().join("state")).unwrap();
}

#[test]
fn a_passphrase_is_needed_once_and_costs_no_request() {
    let remote = encrypted();
    let (a, b) = pair(&remote);
    a.write("note.md", "---\ntitle: Tea\n---\nHot.\n");
    settle(&[&a, &b]);
    let none = [("LARDER_PASSPHRASE", None)];
    // An idle turn is one request, as on a remote in clear.
    assert_eq!(b.run_in(&none, &["sync", "--json"]).exits(0).number("requests"), 1);
    let told = b.run_in(&none, &["remote", "show", "--json"]).exits(0).json();
    assert_eq!(told["encrypted"], true);
    assert_eq!(b.run(&["status", "--json"]).exits(0).json()["encrypted"], true);
    assert!(b.run(&["status"]).exits(0).stdout.contains("remote (encrypted)\n"));
    for args in [&["check", "--read-data"][..], &["compact"], &["check", "--read-data"]] {
        b.run_in(&none, args).exits(0);
    }
    assert_eq!(b.read("note.md"), "---\ntitle: Tea\n---\nHot.\n");
    forget_key(&b);
    let ran = b.run_in(&none, &["sync"]).exits(2);
    assert_snapshot!(ran.stderr, @"error: the remote is encrypted; set LARDER_PASSPHRASE, or run the command in a terminal once");
    b.sync();
    b.run_in(&none, &["sync"]).exits(0);
}

#[test]
fn a_wrong_passphrase_says_so_at_once_and_changes_nothing() {
    let remote = encrypted();
    let a = Device::joined("laptop", &remote);
    a.write("note.md", "Hot.\n");
    a.sync();
    let before = remote.files();
    let newcomer = Device::new("newcomer");
    newcomer.write("mine.md", "Mine.\n");
    let wrong = [("LARDER_PASSPHRASE", Some("correct horse buttery"))];
    let args = ["sync", "--remote", remote.url()];
    let ran = newcomer.run_in(&wrong, &args).exits(1);
    assert_snapshot!(ran.stderr, @"error: the passphrase is wrong: it does not open this remote");
    assert_eq!(remote.files(), before);
    assert!(!newcomer.root().join(".larder").exists(), "it is no vault yet");
    let short = [("LARDER_PASSPHRASE", Some("short"))];
    let elsewhere = encrypted();
    let args = ["init", "--encrypt", "--remote", elsewhere.url()];
    let ran = newcomer.run_in(&short, &args).exits(2);
    assert_snapshot!(ran.stderr, @"error: a passphrase needs at least 8 characters");
    assert!(elsewhere.files().is_empty());
    newcomer.run(&["sync", "--remote", remote.url()]).exits(0);
    assert_eq!(newcomer.read("note.md"), "Hot.\n");
}

#[test]
fn another_passphrase_opens_the_same_data() {
    for place in [Place::EncryptedFolder, Place::EncryptedServer(Kind::DavServerBare)] {
        let remote = Remote::start(place).unwrap();
        let (a, b) = pair(&remote);
        a.write("note.md", "Hot.\n");
        settle(&[&a, &b]);
        let before = remote.files();
        a.run_in(&[], &["remote", "passphrase"]).exits(2);
        let new = "another one altogether";
        let changed = [("LARDER_NEW_PASSPHRASE", Some(new))];
        a.run_in(&changed, &["remote", "passphrase", "--json"]).exits(0);
        let mut after = remote.files();
        let moved: Vec<&String> = after.keys().filter(|file| !before.contains_key(*file)).collect();
        assert!(moved.len() == 1 && moved[0].starts_with("keys/2-"), "{moved:?}");
        after.retain(|file, _| !file.starts_with("keys/"));
        let mut kept = before.clone();
        kept.retain(|file, _| !file.starts_with("keys/"));
        assert_eq!(after, kept, "no data was sent again");
        // Who knew the key goes on; who comes new needs the new passphrase.
        assert_eq!(b.run(&["sync", "--json"]).exits(0).number("requests"), 1);
        let newcomer = Device::new("newcomer");
        let args = ["sync", "--remote", remote.url()];
        assert!(newcomer.run(&args).exits(1).stderr.contains("the passphrase is wrong"));
        newcomer.run_in(&[("LARDER_PASSPHRASE", Some(new))], &args).exits(0);
        assert_eq!(newcomer.files(), a.files());
    }
}

#[test]
fn a_remote_in_clear_stays_one_and_is_no_place_for_a_vault_that_is_encrypted() {
    let clear = Remote::folder();
    let a = Device::joined("laptop", &clear);
    a.write("note.md", "Hot.\n");
    a.sync();
    let newcomer = Device::new("newcomer");
    let ran = newcomer.run(&["sync", "--encrypt", "--remote", clear.url()]).exits(2);
    assert!(ran.stderr.contains("the remote there is not encrypted"), "{ran}");
    assert!(!newcomer.root().join(".larder").exists());
    let ran = a.run(&["sync", "--encrypt", "--remote", clear.url()]).exits(2);
    assert!(ran.stderr.contains("chosen when a remote is made"), "{ran}");
    let ran = a.run(&["init", "--encrypt", "--remote", clear.url()]).exits(2);
    assert!(ran.stderr.contains("chosen when a remote is made"), "{ran}");
    let ran = a.run(&["remote", "passphrase"]).exits(2);
    assert!(ran.stderr.contains("is not encrypted"), "{ran}");
    assert_eq!(a.run(&["remote", "show", "--json"]).exits(0).json()["encrypted"], false);
}

#[test]
fn what_was_encrypted_is_never_taken_or_given_in_clear() {
    for commit in ["if-match", "rename", "devices"] {
        let remote = encrypted();
        let a = Device::new("laptop");
        a.run(&["init", "--encrypt", "--commit", commit, "--remote", remote.url()]).exits(0);
        a.write("note.md", "Hot.\n");
        a.sync();
        // The same remote in clear, as an attacker who knows its id may show it.
        let id = a.run(&["remote", "show", "--json"]).json()["remoteId"].clone();
        let (clear, b) = (Remote::folder(), Device::new("other"));
        b.run(&["init", "--commit", commit, "--remote", clear.url()]).exits(0);
        b.write("evil.md", "Evil.\n");
        b.sync();
        let other = b.run(&["remote", "show", "--json"]).json()["remoteId"].clone();
        let (id, other) = (id.as_str().unwrap(), other.as_str().unwrap());
        remote.empty();
        for (path, text) in clear.files() {
            let text = String::from_utf8_lossy(&text.0).replace(other, id);
            remote.insert(&path, text.as_bytes());
        }
        let before = remote.files();
        for (args, code) in [(&["check"][..], 2), (&["check", "--repair"], 2), (&["sync"], 1)] {
            let ran = a.run(args).exits(code);
            assert!(ran.stderr.contains("the remote there is not encrypted"), "{commit}: {ran}");
        }
        a.run(&["remote", "set", remote.url()]).exits(2);
        // A replica that is lost does not forget it.
        fs::remove_file(a.root().join(".larder/replica.db")).unwrap();
        a.run(&["sync"]).exits(2);
        assert_eq!(a.names(), ["note.md"]);
        assert_eq!(remote.files().len(), before.len(), "{commit}: something was added");
    }
}

#[test]
fn who_has_forgotten_that_a_remote_is_encrypted_sends_nothing_in_clear() {
    for place in [Place::EncryptedFolder, Place::EncryptedMirror] {
        let remote = Remote::start(place).unwrap();
        let device = Device::joined("laptop", &remote);
        device.write("note.md", "Very private words.\n");
        device.sync();
        let mark = device.root().join(".larder/encrypted");
        let whole = fs::read_to_string(&mark).unwrap();
        for (n, left) in [None, Some(""), Some("garbage\n"), whole.get(..20)].iter().enumerate() {
            match left {
                Some(left) => fs::write(&mark, left).unwrap(),
                None => fs::remove_file(&mark).unwrap(),
            }
            device.write("note.md", format!("Very private words, and more: {n}.\n"));
            device.sync();
            assert!(fs::read_to_string(&mark).unwrap().contains(&whole[..36]), "it is back");
            assert!(device.run(&["status"]).stdout.contains("(encrypted)"));
            for (path, text) in remote.files() {
                assert!(!lossy(&text).contains("private"), "{path}");
            }
        }
        Device::joined("other", &remote).sync();
    }
}

#[test]
fn a_remote_that_was_encrypted_is_not_joined_in_clear_by_who_has_its_key() {
    let remote = Remote::start(Place::EncryptedMirror).unwrap();
    let device = Device::joined("laptop", &remote);
    device.write("note.md", "Very private words.\n");
    device.sync();
    let before = remote.files();

    // A new replica, and somebody who says that the remote is one in clear.
    fs::remove_dir_all(device.root().join(".larder")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&before["meta.json"].0).unwrap();
    let meta = serde_json::json!({
        "format": 1, "minReader": 1, "remoteId": meta["remoteId"], "commitMode": "devices",
    });
    for file in before.keys() {
        remote.remove(file);
    }
    remote.insert("meta.json", meta.to_string().as_bytes());
    for _ in 0..2 {
        let ran = device.run(&["sync", "--remote", remote.url()]);
        assert_ne!(ran.code, 0, "{ran}");
        assert!(remote.files().values().all(|text| !lossy(text).contains("private")));
    }
}

#[test]
fn a_remote_whose_key_was_lost_is_told_and_gets_another() {
    let remote = encrypted();
    let device = Device::joined("laptop", &remote);
    device.write("note.md", "Hot.\n");
    device.sync();
    for file in remote.files().into_keys().filter(|file| file.starts_with("keys/")) {
        remote.remove(&file);
    }
    let ran = device.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("`larder remote passphrase` writes one"), "{ran}");
    let new = [("LARDER_NEW_PASSPHRASE", Some("another passphrase"))];
    device.run_in(&new, &["remote", "passphrase"]).exits(0);
    device.run(&["check"]).exits(0);
    let newcomer = Device::new("newcomer");
    let new = [("LARDER_PASSPHRASE", Some("another passphrase"))];
    newcomer.run_in(&new, &["sync", "--remote", remote.url()]).exits(0);
    assert_eq!(newcomer.read("note.md"), "Hot.\n");
}

#[test]
fn one_file_in_clear_or_from_elsewhere_is_refused() {
    let remote = encrypted();
    let (a, b) = pair(&remote);
    for n in 0..3 {
        a.write(&format!("n{n}.md"), "one\n");
        a.sync();
    }
    let files = remote.files();
    let entities: Vec<&String> =
        files.keys().filter(|file| file.starts_with("entities/")).collect();
    let (first, second) = (&files[entities[0]].0, &files[entities[1]].0);
    remote.insert(entities[0], second);
    remote.insert(entities[1], first);
    remote.insert(entities[2], b"{\"id\":\"x\"}\n");
    let ran = b.run(&["sync", "--json"]).exits(0);
    let notes = ran.json()["notes"].as_array().unwrap().clone();
    let damaged = notes.iter().filter(|note| note["kind"] == "damaged").count();
    assert_eq!((damaged, b.names().len()), (3, 0), "{ran}");
    assert!(ran.stdout.contains("was not encrypted for this place"), "{ran}");
    assert!(ran.stdout.contains("it is not encrypted, as everything on this remote"), "{ran}");
    // Without reading only what has no length of a sealed file is noticed.
    let ran = a.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("1 finding."), "{ran}");
    a.run(&["check", "--repair", "--read-data"]).exits(0);
    b.sync();
    assert_eq!(b.names().len(), 3);
}

#[test]
fn a_larder_that_knows_no_encryption_is_told_to_be_updated() {
    let remote = encrypted();
    Device::joined("laptop", &remote);
    let meta = fs::read_to_string(remote.dir().join("meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
    // Whoever knows form 1 looks at this before anything else.
    assert_eq!((&meta["format"], &meta["minReader"]), (&2.into(), &2.into()));
    let keys: Vec<&String> = meta.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["encryption", "format", "minReader", "remoteId", "sealed"]);
    // And so does this one with a form that comes after.
    let newer = meta.to_string().replace("\"minReader\":2", "\"minReader\":3");
    remote.insert("meta.json", newer.as_bytes());
    let ran = Device::new("newcomer").run(&["init", "--remote", remote.url()]).exits(6);
    assert!(ran.stderr.contains("needs a newer larder (form 3"), "{ran}");
    let ran =
        Device::new("newcomer").run(&["init", "--encrypt", "--remote", remote.url()]).exits(6);
    assert!(ran.stderr.contains("needs a newer larder (form 3"), "{ran}");
}

#[test]
fn an_emptied_remote_is_filled_again_and_can_be_joined() {
    let remote = encrypted();
    let a = Device::joined("laptop", &remote);
    a.write("note.md", "Hot.\n");
    a.sync();
    remote.empty();
    a.run(&["sync"]).exits(5);
    let none = [("LARDER_PASSPHRASE", None)];
    let ran = a.run_in(&none, &["sync", "--recreate-remote"]).exits(2);
    assert!(ran.stderr.contains("a passphrase is needed"), "{ran}");
    a.run(&["sync", "--recreate-remote"]).exits(0);
    let b = Device::joined("phone", &remote);
    b.sync();
    assert_eq!(b.files(), a.files());
}

#[test]
fn nothing_that_the_notes_say_lies_on_the_remote() {
    const PLANTED: [&str; 12] = [
        "plantedtitle",
        "plantedbody",
        "plantedtag",
        "plantedfield",
        "plantedtype",
        "plantedid",
        "plantedfile",
        "plantedfolder",
        "plantedblob",
        "plantedrule",
        "laptop-planted",
        PASSPHRASE,
    ];
    for place in [
        Place::EncryptedFolder,
        Place::EncryptedMirror,
        Place::EncryptedServer(Kind::DavServerBare),
    ] {
        let remote = Remote::start(place).unwrap();
        let (a, b) = (Device::joined("laptop-planted", &remote), Device::joined("phone", &remote));
        let head = "id: plantedid\ntitle: plantedtitle\ntags: [plantedtag]\nplantedfield: 1";
        a.write("plantedfolder/plantedfile.md", format!("---\n{head}\n---\nplantedbody\n"));
        a.write("photo.bin", [b"\0plantedblob".as_slice(), &[7; 100_000]].concat());
        a.write("larder.toml", "[[type]]\nname = \"plantedrule\"\nfiles = [\"x/**\"]\n");
        settle(&[&a, &b]);
        a.run(&["put", "--type", "plantedtype", "{\"plantedfield\": \"plantedbody\"}"]).exits(0);
        a.sync();
        b.edit("plantedfolder/plantedfile.md", "plantedbody", "plantedbody too");
        b.sync();
        a.rename("photo.bin", "plantedfile.bin");
        settle(&[&a, &b]);
        let mut all = remote.files();
        a.run(&["compact", "--force"]).exits(0);
        all.extend(remote.files());
        for folder in ["entities/", "packs/", "blobs/", "keys/"] {
            assert!(all.keys().any(|file| file.starts_with(folder)), "{folder} {all:?}");
        }
        for (file, text) in &all {
            if file.contains(".larder-") {
                continue;
            }
            for word in
                PLANTED.iter().chain(&["title", "fields", "lastModified", "note.", "blobs/"])
            {
                let has = |hay: &[u8]| hay.windows(word.len()).any(|part| part == word.as_bytes());
                assert!(!has(&text.0), "{word} in {file} on {place:?}");
                assert!(!has(file.as_bytes()) || *word == "blobs/", "{word} is in the name {file}");
            }
        }
        assert_eq!(a.files(), b.files());
    }
}

#[test]
fn passphrase_and_key_are_told_to_nobody() {
    let remote = encrypted();
    let a = Device::new("laptop");
    a.write("note.md", "Hot.\n");
    let new = "another one altogether";
    let changed = [("LARDER_NEW_PASSPHRASE", Some(new))];
    let mut said = String::new();
    for args in [
        &["init", "--encrypt", "--remote", remote.url(), "-vv"][..],
        &["sync", "-vv"],
        &["remote", "show", "--json", "-vv"],
        &["status", "--json"],
        &["remote", "passphrase", "-vv"],
        &["check", "--read-data", "-vv"],
    ] {
        said += &a.run_in(&changed, args).exits(0).said();
    }
    // The key is kept among the secrets, and nowhere else.
    let kept: String = tree(&a.home().join("state")).values().map(lossy).collect();
    let key = kept.split('"').find(|word| word.len() == 43 && !word.contains(' ')).unwrap();
    let vault: String = tree(&a.root()).values().map(lossy).collect();
    let there: String = remote.files().values().map(lossy).collect();
    for secret in [PASSPHRASE, new, key] {
        for (place, text) in [("output", &said), ("vault", &vault), ("remote", &there)] {
            assert!(!text.contains(secret), "a secret is in the {place}");
        }
    }
    assert!(!kept.contains(PASSPHRASE) && !kept.contains(new), "a passphrase is kept");
}

fn lossy(text: &Text) -> String {
    String::from_utf8_lossy(&text.0).into_owned()
}
