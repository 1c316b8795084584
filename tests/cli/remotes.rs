//! Several remotes of one vault: their names, what is told of each, and codes.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Device, Remote, tree};

/// A device with two remotes, and the name of the first.
fn two() -> (Device, Remote, Remote) {
    let (first, second) = (Remote::folder(), Remote::folder());
    let device = Device::joined("laptop", &first);
    device.run(&["remote", "add", "backup", second.url()]).exits(0);
    (device, first, second)
}

fn config(device: &Device) -> String {
    device.read(".larder/config.toml")
}

#[test]
fn one_remote_is_told_of_as_ever() {
    let remote = Remote::folder();
    let device = Device::joined("laptop", &remote);
    device.write("note.md", "text\n");
    let told = device.sync().json();
    assert!(told.get("remotes").is_none(), "{told}");
    let told = device.run(&["sync"]).exits(0);
    assert!(told.stdout.starts_with("Nothing to do: 1 record in step. ("), "{told}");
    assert!(device.run(&["status", "--json"]).json().get("remotes").is_none());
    assert_eq!(config(&device), format!("device = \"laptop\"\nremote = {:?}\n", remote.url()));
    let listed = device.run(&["remote", "list", "--json"]).exits(0).json();
    assert_eq!((&listed["name"], &listed["isDefault"]), (&json!("folder"), &json!(true)));
    assert_eq!((&listed["remote"], &listed["generation"]), (&json!(remote.url()), &json!(1)));
}

#[test]
fn a_turn_goes_through_all() {
    let (device, first, second) = two();
    device.write("note.md", "text\n");
    let told = device.sync().json();
    assert_eq!((&told["pushed"], &told["generation"]), (&json!(2), &json!(1)));
    let remotes = told["remotes"].as_array().unwrap();
    let names: Vec<&Value> = remotes.iter().map(|remote| &remote["name"]).collect();
    assert_eq!(names, ["folder", "backup"]);
    for remote in remotes {
        assert_eq!((&remote["pushed"], &remote["generation"]), (&json!(1), &json!(1)));
        assert!(remote["remoteId"].is_string() && remote.get("error").is_none(), "{remote}");
    }
    let told = device.run(&["sync"]).exits(0);
    let calm = "Nothing to do: 1 record in step with folder and backup. (2 requests";
    assert!(told.stdout.starts_with(calm), "{told}");
    device.edit("note.md", "text", "more");
    let dry = device.run(&["sync", "--dry-run"]).exits(0);
    assert!(dry.stdout.contains("  folder: send note.md\n  backup: send note.md\n"), "{dry}");
    let told = device.run(&["sync", "--only", "backup"]).exits(0);
    assert!(told.stdout.starts_with("1 sent; 1 record in step. ("), "{told}");
    assert_eq!(device.run(&["status", "--json"]).json()["pendingChanges"], 1, "the other lacks it");
    let told = device.run(&["sync"]).exits(0);
    assert!(told.stdout.starts_with("folder: 1 sent; 1 record in step with folder"), "{told}");
    for remote in [&first, &second] {
        let other = Device::joined("phone", remote);
        other.sync();
        assert_eq!(other.read("note.md"), "more\n");
    }
}

#[test]
fn names_are_listed_added_removed_and_chosen() {
    let (device, first, second) = two();
    device.write("note.md", "text\n");
    device.sync();
    let rows = device.run(&["remote", "list", "--json"]).exits(0).rows();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[1]["name"], &rows[1]["isDefault"]), (&json!("backup"), &json!(false)));
    let listed = device.run(&["remote", "list"]).exits(0);
    assert!(listed.stdout.starts_with(&format!("* folder  {}, synced ", first.url())), "{listed}");
    device.run(&["remote", "set-default", "backup"]).exits(0);
    assert!(config(&device).contains("default = \"backup\""), "{}", config(&device));
    let shown = device.run(&["remote", "show", "--json"]).exits(0).json();
    assert_eq!(shown["remote"], json!(second.url()));
    let shown = device.run(&["remote", "show", "--remote", "folder", "--json"]).exits(0).json();
    assert_eq!(shown["remote"], json!(first.url()));
    assert_eq!(device.run(&["devices", "--remote", "folder", "--json"]).exits(0).rows().len(), 1);
    assert_eq!(device.run(&["compact", "--remote", "folder", "--json"]).exits(0).code, 0);
    for wrong in [
        &["remote", "add", "backup", "/tmp/other"][..],
        &["remote", "add", "a b", "/tmp/other"],
        &["remote", "remove", "elsewhere"],
        &["remote", "set-default", "elsewhere"],
        &["sync", "--only", "elsewhere"],
        &["check", "--remote", "elsewhere"],
    ] {
        device.run(wrong).exits(2);
    }
    let link = device.home().join("link");
    std::os::unix::fs::symlink(first.url(), &link).unwrap();
    let again = device.run(&["remote", "add", "twice", link.to_str().unwrap()]).exits(1);
    assert!(again.stderr.contains("connected to that remote already"), "{again}");
    let before = tree(std::path::Path::new(second.url()));
    let told = device.run(&["remote", "remove", "backup"]).exits(0);
    assert!(told.stdout.contains("The default remote is folder."), "{told}");
    assert_eq!(config(&device), format!("device = \"laptop\"\nremote = {:?}\n", first.url()));
    device.edit("note.md", "text", "more");
    assert_eq!(device.sync().json()["pushed"], 1);
    assert!(tree(std::path::Path::new(second.url())) == before, "nothing there is touched");
    device.run(&["remote", "remove", "folder"]).exits(0);
    device.run(&["sync"]).exits(2);
    device.run(&["sync", "--remote", second.url()]).exits(0);
    assert_eq!(device.read("note.md"), "more\n");
}

#[test]
fn the_address_of_another_remote_is_refused_before_anything_is_kept() {
    let (device, first, second) = two();
    let before = config(&device);
    let slash = format!("{}/", second.url());
    for args in [
        &["remote", "add", "twice", &slash][..],
        &["remote", "set", &slash],
        &["remote", "set", first.url(), "--remote", "backup"],
    ] {
        let ran = device.run(args).exits(2);
        assert!(ran.stderr.contains(" is the address of the remote "), "{ran}");
        assert_eq!(config(&device), before);
    }
    let ran = device.run(&["init", "--remote", &slash]).exits(2);
    assert!(ran.stderr.contains(" is the remote backup of this vault already"), "{ran}");
    assert_eq!(config(&device), before);
    device.run(&["remote", "set", &slash, "--remote", "backup"]).exits(0);
    device.sync();
}

#[test]
fn a_remote_that_is_gone_keeps_from_no_other() {
    let (device, first, second) = two();
    device.write("note.md", "text\n");
    device.sync();
    let away = format!("{} away", first.url());
    fs::rename(first.url(), &away).unwrap();
    device.edit("note.md", "text", "more");
    let told = device.run(&["sync"]).exits(5);
    assert!(told.stdout.contains("backup: 1 sent"), "{told}");
    assert!(
        told.stderr.contains("error: folder: the remote folder is empty or not there"),
        "{told}"
    );
    let told = device.run(&["sync", "--json"]);
    let (told, error) = (told.json(), told.json()["remotes"][0]["error"].clone());
    assert_eq!((&error["kind"], &error["code"]), (&json!("brake"), &json!(5)), "{told}");
    assert_eq!(told["remotes"][1]["pulled"], 0);
    let status = device.run(&["status", "--json"]).json();
    assert_eq!((&status["state"], &status["pendingChanges"]), (&json!("error"), &json!(1)));
    assert!(status["remotes"][0]["reason"].is_string(), "{status}");
    assert!(status["remotes"][1].get("reason").is_none(), "{status}");
    let other = Device::joined("phone", &second);
    other.sync();
    assert_eq!(other.read("note.md"), "more\n");
    fs::rename(&away, first.url()).unwrap();
    device.sync();
    assert_eq!(device.state(), "synced");
}

#[test]
fn a_dry_run_that_finds_no_remote_plans_nothing() {
    let (device, first, second) = two();
    device.write("note.md", "text\n");
    device.sync();
    device.edit("note.md", "text", "more");
    for remote in [&first, &second] {
        fs::rename(remote.url(), format!("{} away", remote.url())).unwrap();
    }
    let ran = device.run(&["sync", "--dry-run"]).exits(5);
    assert_eq!(ran.stdout, "Nothing could be planned.\n", "{ran}");
}

#[test]
fn one_that_was_not_added_to_the_end_is_added_again() {
    let (device, _first, second) = two();
    device.write("note.md", "text\n");
    // Cut off after the replica was bound to it, before the settings had it.
    let text = config(&device);
    let at = text.rfind("\n[[remote]]").unwrap();
    device.write(".larder/config.toml", &text[..at]);
    assert_eq!(device.run(&["remote", "list", "--json"]).exits(0).rows().len(), 1);
    device.sync();
    // What it does not have is not waited for.
    assert_eq!(device.state(), "synced");
    device.run(&["remote", "add", "backup", second.url()]).exits(0);
    device.sync();
    assert_eq!(device.state(), "synced");
    let other = Device::joined("phone", &second);
    other.sync();
    assert_eq!(other.read("note.md"), "text\n");
}

#[test]
fn a_server_that_is_down_is_told_by_its_code() {
    let (device, _first, _second) = two();
    device.write("note.md", "text\n");
    device.sync();
    let gone = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let text = config(&device);
    let line = text.lines().find(|line| line.starts_with("url")).unwrap();
    let down = format!("url = \"webdav://ann@{gone}/remote\"");
    device.write(".larder/config.toml", text.replacen(line, &down, 1));
    device.edit("note.md", "text", "more");
    let told = device.run(&["sync", "--json"]);
    assert_eq!(told.code, 4, "{told}");
    assert_eq!(told.json()["remotes"][0]["error"]["kind"], "unreachable");
    assert_eq!(told.json()["remotes"][1]["pushed"], 1);
    assert_eq!(device.state(), "offline");
}

#[test]
fn what_is_told_of_one_of_several_is_told_by_its_name() {
    let (device, first, second) = two();
    for nth in 0..20 {
        device.write(&format!("{nth}.md"), format!("text {nth}\n"));
    }
    device.sync();
    // The first one stops all: it is told which that is, and it alone.
    let other = Device::joined("phone", &first);
    other.sync();
    for nth in 0..15 {
        other.delete(&format!("{nth}.md"));
    }
    other.run(&["sync", "--accept-deletes"]).exits(0);
    let told = device.run(&["sync"]).exits(5);
    assert!(
        told.stderr.contains("error: folder: the remote would remove 15 of 20 files"),
        "{told}"
    );
    assert!(told.stderr.contains("`larder sync --accept-deletes --only folder`"), "{told}");
    let json = device.run(&["sync", "--json"]).exits(5).json();
    let remotes = json["remotes"].as_array().unwrap();
    assert_eq!((remotes.len(), &remotes[0]["name"]), (1, &json!("folder")), "{json}");
    assert_eq!(remotes[0]["error"]["kind"], "brake");
    device.run(&["sync", "--accept-deletes", "--only", "folder"]).exits(0);
    device.sync();
    // What is the vault's is told without any of them.
    for path in device.names() {
        device.delete(&path);
    }
    let told = device.run(&["sync"]);
    assert!(!told.stderr.contains("folder: "), "{told}");
    device.run(&["sync", "--accept-deletes"]).exits(0);
    // Commands in hints are about that remote.
    fs::rename(second.url(), format!("{} away", second.url())).unwrap();
    for args in [&["sync"][..], &["sync", "--only", "backup"], &["check", "--remote", "backup"]] {
        let told = device.run(args).exits(5);
        assert!(told.stderr.contains("error: backup: the remote folder is empty"), "{told}");
        assert!(told.stderr.contains("larder sync --recreate-remote --only backup`"), "{told}");
        assert!(told.stderr.contains("larder remote set URL --remote backup`"), "{told}");
    }
    let json = device.run(&["check", "--remote", "backup", "--json"]).exits(5).json();
    assert_eq!(json["error"]["remote"], "backup");
    let told = device.run(&["sync", "--remote", second.url()]).exits(2);
    assert!(told.stderr.contains("is the remote backup of this vault already"), "{told}");
    for command in ["sync", "init"] {
        let told = device.run(&[command, "--remote", "/elsewhere"]).exits(2);
        assert!(told.stderr.contains("`larder remote set /elsewhere --remote folder`"), "{told}");
        assert!(told.stderr.contains("`larder remote add NAME /elsewhere`"), "{told}");
    }
}

#[test]
fn what_is_damaged_is_told_with_the_remote_where_it_is() {
    let (device, _first, second) = two();
    let other = Device::joined("phone", &second);
    other.write("note.md", "text\n");
    other.sync();
    let is_data = |path: &&String| path.starts_with("entities/") || path.starts_with("deltas/");
    let files = second.files();
    let file = files.keys().find(is_data).unwrap();
    let mut bytes = fs::read(second.dir().join(file)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    second.insert(file, &bytes);
    let told = device.run(&["sync", "--json"]).json();
    let note = told["notes"].as_array().unwrap().iter().find(|note| note["kind"] == "damaged");
    let note = note.unwrap_or_else(|| panic!("{told}"));
    assert_eq!((&note["remote"], &note["subject"]), (&json!("backup"), &json!(file)));
    let told = device.run(&["sync"]);
    assert!(told.said().contains(&format!("backup: {file}: ")), "{told}");
    let hint =
        "`larder check --read-data --repair --remote backup` on a device that has what is damaged";
    assert!(told.said().contains(hint), "{told}");
    // Who has what is damaged finds it by reading only, and is told to repair what reading finds.
    let check = other.run(&["check", "--read-data"]).exits(1);
    assert!(check.said().contains("`larder check --read-data --repair` sends again"), "{check}");
    other.run(&["check", "--read-data", "--repair"]).exits(0);
    device.sync();
    assert_eq!(device.read("note.md"), "text\n");
}

#[test]
fn one_that_was_taken_out_of_the_settings_by_hand_is_forgotten() {
    let (device, first, _second) = two();
    device.write("note.md", "text\n");
    device.sync();
    let text = config(&device);
    let short = format!("device = \"laptop\"\nremote = {:?}\n", first.url());
    let at = text.rfind("\n[[remote]]").unwrap();
    for (nth, left) in [&text[..at], &short].into_iter().enumerate() {
        device.write(".larder/config.toml", left);
        device.write("note.md", format!("text {nth}\n"));
        device.sync();
        assert_eq!(device.state(), "synced");
        let told = device.run(&["sync", "--json"]).exits(0);
        assert_eq!(told.number("requests"), 1, "{told}");
        // The one that is left is still what it was, and it is known who is who.
        device.write(".larder/config.toml", &text);
        device.sync();
        assert_eq!(device.state(), "synced");
    }
}

/// A device with one remote, and settings that name a second one, both without ids.
fn written_by_hand(second: &str) -> (Device, Remote) {
    let first = Remote::folder();
    let device = Device::joined("laptop", &first);
    device.write("note.md", "text\n");
    device.sync();
    let table = |name: &str, url: &str| format!("[[remote]]\nname = {name:?}\nurl = {url:?}\n");
    let tables = table("first", first.url()) + &table("second", second);
    device.write(".larder/config.toml", format!("device = \"laptop\"\n{tables}"));
    (device, first)
}

#[test]
fn one_that_was_added_by_hand_is_not_taken_for_the_first() {
    let second = Remote::folder();
    let other = Device::joined("phone", &second);
    other.write("other.md", "text\n");
    other.sync();
    let (device, _first) = written_by_hand(second.url());
    assert_eq!(device.state(), "pending", "nothing is known of them");
    let ran = device.run(&["remote", "add", "third", "/elsewhere"]).exits(2);
    assert!(ran.stderr.contains("run `larder sync` first"), "{ran}");
    let foreign = Remote::folder();
    Device::joined("desk", &foreign);
    let ran = device.run(&["remote", "set", foreign.url()]).exits(2);
    assert!(ran.stderr.contains("run `larder sync` first"), "{ran}");
    assert_eq!(device.sync().number("pulled"), 1);
    assert_eq!(config(&device).matches("\nid = ").count(), 2, "{}", config(&device));
    assert_eq!((device.state().as_str(), device.sync().number("requests")), ("synced", 2));
    other.sync();
    assert_eq!(other.files(), device.files());
    let third = Remote::folder();
    device.run(&["remote", "add", "third", third.url()]).exits(0);
    // One that is removed before anything was found out takes nothing from the other.
    let (device, _first) = written_by_hand(second.url());
    device.run(&["remote", "remove", "second"]).exits(0);
    assert_eq!((device.state().as_str(), device.sync().number("requests")), ("synced", 1));
    // One that is empty is made for itself.
    let empty = Remote::folder();
    let (device, first) = written_by_hand(empty.url());
    device.run(&["sync"]).exits(5);
    device.run(&["sync", "--recreate-remote", "--only", "second"]).exits(0);
    device.sync();
    let id = |remote: &Remote| {
        let meta: Value = serde_json::from_slice(&remote.files()["meta.json"].0).unwrap();
        meta["remoteId"].as_str().unwrap().to_owned()
    };
    assert_ne!(id(&first), id(&empty));
    assert!(config(&device).contains(&id(&empty)), "{}", config(&device));
    let other = Device::joined("phone", &empty);
    other.sync();
    assert_eq!(other.files(), device.files());
}

#[test]
fn two_addresses_of_one_remote_by_hand_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    let (device, first) = written_by_hand(link.to_str().unwrap());
    std::os::unix::fs::symlink(first.url(), &link).unwrap();
    let ran = device.run(&["sync"]).exits(2);
    let words =
        "error: second: the addresses of the remotes second and first lead to the same remote";
    assert!(ran.stderr.contains(words), "{ran}");
    device.run(&["remote", "remove", "second"]).exits(0);
    assert_eq!((device.state().as_str(), device.sync().number("requests")), ("synced", 1));
}

#[test]
fn contents_that_a_remote_has_yet_to_get_are_told() {
    let (device, first, second) = two();
    let other = Device::joined("phone", &first);
    other.write("photo.bin", [b"\0".as_slice(), &[7; 99_999]].concat());
    other.sync();
    let files = first.files();
    let is_blob = |path: &&String| path.starts_with("blobs/");
    let blob = files.keys().find(is_blob).unwrap();
    fs::remove_file(first.dir().join(blob)).unwrap();
    device.sync();
    let status = device.run(&["status", "--json"]).exits(0).json();
    let told = (&status["state"], &status["owedContents"], &status["owedBytes"]);
    assert_eq!(told, (&json!("pending"), &json!(1), &json!(100_000)), "{status}");
    let owed: Vec<&Value> =
        status["remotes"].as_array().unwrap().iter().map(|one| &one["owedContents"]).collect();
    assert_eq!(owed, [0, 1]);
    let status = device.run(&["status"]).exits(0);
    let words = "owed       backup lacks 1 content of a file, 100.0 kB: the next sync that finds it here sends it";
    assert!(status.stdout.contains(words), "{status}");
    first.insert(blob, &files[blob].0);
    device.sync();
    device.sync();
    let status = device.run(&["status", "--json"]).exits(0).json();
    assert_eq!((&status["state"], &status["owedContents"]), (&json!("synced"), &json!(0)));
    assert!(!device.run(&["status"]).stdout.contains("owed"));
    assert!(second.files().contains_key(blob));
}

#[test]
fn the_hint_of_a_check_repairs_the_remote_that_was_checked() {
    let (device, _, second) = two();
    device.write("note.md", "text\n");
    device.sync();
    let is_data = |file: &String| file.contains('/') && !file.starts_with("head");
    let data = second.files().into_keys().filter(is_data);
    data.for_each(|file| fs::remove_file(second.dir().join(file)).unwrap());
    let told = device.run(&["check", "--remote", "backup"]).exits(1);
    assert!(told.stdout.contains("`larder check --repair --remote backup`"), "{told}");
    device.run(&["check", "--repair", "--remote", "backup"]).exits(0);
    device.run(&["check", "--remote", "backup", "--read-data"]).exits(0);
}
