//! A password is nowhere but where it belongs.

use std::{fs, os::unix::fs::PermissionsExt as _};

use larder_providers::testing::Kind;

use crate::common::{Device, PASSWORD, Place, Remote, tree};

/// An environment without a password.
const UNKNOWN: [(&str, Option<&str>); 1] = [("LARDER_PASSWORD", None)];

#[test]
#[cfg(feature = "object-stores")]
fn the_secret_of_a_key_in_an_address_is_put_away() {
    let Some(remote) = Remote::start(Place::MOTO) else { return };
    let device = Device::new("laptop");
    let url = remote.url().replace("ann@", "ann:planted/secret@");
    let run = |args: &[&str]| device.run_in(&UNKNOWN, args).exits(0).said();
    device.write("note.md", "text\n");
    let said = run(&["sync", "--remote", &url, "-vv"]) + &run(&["sync", "-vv"]);
    assert!(!said.contains("planted"), "{said}");
    assert!(said.contains("The password of ann@127.0.0.1:"), "{said}");
    for (path, text) in tree(&device.root()) {
        assert!(!String::from_utf8_lossy(&text.0).contains("planted"), "{path}");
    }
}

#[test]
#[cfg(feature = "object-stores")]
fn a_bucket_that_is_kept_is_the_same_whatever_surrounds_it() {
    let device = Device::joined("laptop", &Remote::folder());
    let text = "device = \"laptop\"\nremote = \"s3://ID@bucket/notes\"\n";
    device.write(".larder/config.toml", text);
    let env = [UNKNOWN[0], ("AWS_ENDPOINT_URL", Some("http://127.0.0.1:9"))];
    for args in [&["sync"][..], &["sync", "--remote", "s3://ID@bucket/notes"]] {
        let ran = device.run_in(&env, args).exits(2);
        assert!(ran.stderr.contains("no password is known for ID@s3;"), "{ran}");
    }
    let ran = device.run_in(&env, &["remote", "logout", "s3://ID@bucket/notes"]).exits(0);
    assert!(ran.stdout.contains("No password of ID@s3 is kept."), "{ran}");
    let ran = device.run_in(&env, &["remote", "set", "s3://ID@bucket/notes"]).exits(2);
    assert!(ran.stderr.contains("no password is known for ID@127.0.0.1:9;"), "{ran}");
}

#[test]
fn a_password_in_an_address_is_put_away() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    let url = remote.url().replace("ann@", &format!("ann:{PASSWORD}@"));
    let run = |args: &[&str]| device.run_in(&UNKNOWN, args).exits(0).said();
    device.write("note.md", "text\n");
    let said = run(&["sync", "--remote", &url, "-vv"]) + &run(&["sync", "-vv"]);
    assert!(!said.contains(PASSWORD), "{said}");
    let file = device.home().join("state/larder/passwords.json");
    assert!(said.contains(&format!("is kept in {}, readable by you alone", file.display())));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    for (path, text) in tree(&device.root()) {
        assert!(!String::from_utf8_lossy(&text.0).contains(PASSWORD), "{path}");
    }
}

#[test]
fn nobody_is_asked_where_nobody_can_answer() {
    let device = Device::new("laptop");
    let args = ["init", "--remote", "webdavs://ann@example.org/x"];
    let ran = device.run_in(&UNKNOWN, &args).exits(2);
    let words = "no password is known for ann@example.org; set LARDER_PASSWORD";
    assert!(ran.stderr.contains(words), "{ran}");
}

#[test]
fn a_file_of_passwords_that_is_open_to_others_is_closed_aloud() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    let file = device.home().join("state/larder/passwords.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let (_, place) = remote.url().split_once("//").unwrap();
    let (account, _) = place.split_once('/').unwrap();
    fs::write(&file, format!("{{\"{account}\": \"{PASSWORD}\"}}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let run = || device.run_in(&UNKNOWN, &["sync", "--remote", remote.url()]).exits(0).stderr;
    let said = run();
    assert!(said.contains("was open to others (mode 644) and is no more"), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!run().contains("was open"));
    // What is broken in it is not quoted.
    fs::write(&file, format!("{{\"{account}\": {PASSWORD}}}")).unwrap();
    let said = device.run_in(&UNKNOWN, &["sync"]).stderr;
    assert!(said.contains("does not read as JSON") && !said.contains(PASSWORD), "{said}");
}

#[test]
fn a_password_can_be_the_first_line_of_a_file() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheDigest)) else { return };
    let device = Device::new("laptop");
    let file = device.home().join("password");
    let run = |text: &str| {
        fs::write(&file, text).unwrap();
        let env = [("LARDER_PASSWORD", None), ("LARDER_PASSWORD_FILE", file.to_str())];
        device.run_in(&env, &["sync", "--remote", remote.url()])
    };
    run(&format!("{PASSWORD}\nnot this\n")).exits(0);
    assert!(!device.home().join("state/larder/passwords.json").exists());
    let ran = run("\n").exits(2);
    assert!(ran.stderr.contains("has no password in its first line"), "{ran}");
}

/// The names of what is kept.
fn kept(device: &Device) -> Vec<String> {
    let file = device.home().join("state/larder/passwords.json");
    let text = fs::read_to_string(file).unwrap_or_else(|_| "{}".to_owned());
    let kept: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    kept.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_password_goes_to_the_default_remote_alone() {
    let kind = Place::Server(Kind::ApacheBasic);
    let (Some(first), Some(second)) = (Remote::start(kind), Remote::start(kind)) else { return };
    let device = Device::joined("laptop", &first);
    let ran = device.run(&["remote", "add", "back-up", second.url()]).exits(2);
    assert!(ran.stderr.contains("; set LARDER_PASSWORD_BACK_UP, or run"), "{ran}");
    let own = [("LARDER_PASSWORD_BACK_UP", Some(PASSWORD))];
    device.run_in(&own, &["remote", "add", "back-up", second.url()]).exits(0);
    device.run_in(&own, &["sync"]).exits(0);
    let ran = device.run(&["sync"]).exits(2);
    assert!(ran.stderr.contains("back-up: no password is known for ann@"), "{ran}");
    let others = [("LARDER_PASSWORD", None), ("LARDER_PASSWORD_BACK_UP", Some(PASSWORD))];
    let ran = device.run_in(&others, &["sync"]).exits(2);
    assert!(ran.stderr.contains("webdav: no password is known for ann@"), "{ran}");
    let file = device.home().join("password");
    fs::write(&file, PASSWORD).unwrap();
    let env = [("LARDER_PASSWORD_FILE_BACK_UP", file.to_str())];
    device.run_in(&env, &["sync"]).exits(0);
    // Another folder of the same account needs no other password.
    let more = format!("{}/more", first.url().trim_end_matches('/'));
    device.run(&["remote", "add", "more", &more]).exits(0);
    assert!(kept(&device).is_empty());
}

#[test]
fn a_password_goes_to_the_first_remote_that_has_an_account() {
    let kind = Place::Server(Kind::ApacheBasic);
    let (Some(first), Some(second)) = (Remote::start(kind), Remote::start(kind)) else { return };
    let device = Device::joined("laptop", &Remote::folder());
    device.run(&["remote", "add", "cloud", first.url()]).exits(0);
    device.sync();
    let ran = device.run(&["remote", "add", "other", second.url()]).exits(2);
    assert!(ran.stderr.contains("; set LARDER_PASSWORD_OTHER, or run"), "{ran}");
    assert!(kept(&device).is_empty());
}

#[test]
fn each_remote_may_have_a_passphrase_of_its_own() {
    let sealed = || Remote::start(Place::EncryptedFolder).unwrap();
    let (first, second) = (sealed(), sealed());
    let device = Device::joined("laptop", &first);
    let env = [("LARDER_PASSPHRASE_SAFE", Some("another one altogether"))];
    device.run_in(&env, &["remote", "add", "safe", second.url(), "--encrypt"]).exits(0);
    fs::remove_dir_all(device.home().join("state")).unwrap();
    device.run(&["sync"]).exits(1);
    device.run_in(&env, &["sync"]).exits(0);
}

#[test]
fn who_is_refused_is_told_what_was() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    let nameless = remote.url().replace("ann@", "");
    let ran = device.run(&["sync", "--remote", &nameless]).exits(1);
    let words = format!(
        "an address without a user, {nameless}, has no password: write {}",
        remote.url().replace("ann@", "YOU@")
    );
    let words = words.replace("http://", "webdav://");
    assert!(ran.stderr.contains(&words), "{ran}");
    let env = [("LARDER_PASSWORD", Some("mistyped"))];
    let ran = device.run_in(&env, &["sync", "--remote", remote.url(), "--json"]).exits(1).json();
    let hint = ran["error"]["hint"].as_str().unwrap();
    assert!(hint.starts_with("what LARDER_PASSWORD gives was refused"), "{ran}");
    let url = remote.url().replace("ann@", "ann:mistyped@");
    let ran = device.run_in(&UNKNOWN, &["sync", "--remote", &url]).exits(1);
    assert!(ran.stderr.contains("and larder asks for it anew"), "{ran}");
}

#[test]
fn who_is_refused_at_one_of_several_is_told_of_that_one() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::joined("laptop", &Remote::folder());
    let mistyped = url_with(&remote, "mistyped");
    let run = |env: &[(&str, Option<&str>)], args: &[&str]| device.run_in(env, args).exits(1);
    let words = remote.url().replace("http://", "webdav://");
    let words = format!("`larder remote logout {words}` forgets");
    let ran = run(&UNKNOWN, &["remote", "add", "back-up", &mistyped]);
    assert!(ran.stderr.contains(&words), "{ran}");
    let env = [("LARDER_PASSWORD_BACK_UP", Some("mistyped"))];
    let ran = run(&env, &["remote", "add", "back-up", remote.url()]);
    assert!(ran.stderr.contains("what LARDER_PASSWORD_BACK_UP gives was refused"), "{ran}");
    let file = device.home().join("state/larder/passwords.json");
    device.run_in(&UNKNOWN, &["remote", "add", "back-up", &url_with(&remote, PASSWORD)]).exits(0);
    let text = device.read(".larder/config.toml");
    let other = "\n[[remote]]\nname = \"other\"\nurl = \"webdavs://ann@127.0.0.1:9/x\"\n";
    device.write(
        ".larder/config.toml",
        text.replacen("\n[[remote]]", &format!("{other}\n[[remote]]"), 1),
    );
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(PASSWORD, "mistyped")).unwrap();
    let ran = run(&UNKNOWN, &["sync", "--only", "back-up"]);
    assert!(ran.stderr.contains("or set LARDER_PASSWORD_BACK_UP. "), "{ran}");
    assert!(ran.stderr.contains(&words), "{ran}");
}

/// The address of a remote with a password in it.
fn url_with(remote: &Remote, password: &str) -> String {
    remote.url().replace("ann@", &format!("ann:{password}@"))
}

#[test]
fn a_remote_that_could_not_be_opened_is_not_in_step() {
    let (sealed, clear) = (Remote::start(Place::EncryptedFolder).unwrap(), Remote::folder());
    let device = Device::joined("laptop", &sealed);
    device.run(&["remote", "add", "backup", clear.url()]).exits(0);
    device.write("note.md", "text\n");
    device.sync();
    let state = device.home().join("state");
    fs::rename(&state, device.home().join("away")).unwrap();
    let unknown = [("LARDER_PASSPHRASE", None)];
    device.run_in(&unknown, &["sync", "--dry-run"]).exits(2);
    assert_eq!(device.state(), "synced");
    device.run_in(&unknown, &["sync"]).exits(2);
    let status = device.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["state"], "error", "{status}");
    let reason = status["remotes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("is encrypted; set LARDER_PASSPHRASE"), "{status}");
    assert!(status["remotes"][1].get("reason").is_none(), "{status}");
    device.sync();
    assert_eq!(device.state(), "synced");
}

#[test]
fn what_keeps_a_sync_with_an_address_from_its_remote_is_noted() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::joined("laptop", &remote);
    device.sync();
    device.run_in(&UNKNOWN, &["sync", "--remote", remote.url()]).exits(2);
    assert_eq!(device.state(), "error");
    device.run(&["sync", "--remote", remote.url()]).exits(0);
    assert_eq!(device.state(), "synced");
}

#[test]
fn a_password_that_cannot_be_kept_serves_all_the_same() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    let url = remote.url().replace("ann@", &format!("ann:{PASSWORD}@"));
    let env = [("LARDER_PASSWORD", None), ("XDG_STATE_HOME", Some("/proc/nowhere"))];
    // The second time it is opened with it twice.
    for _ in 0..2 {
        let ran = device.run_in(&env, &["sync", "-q", "--remote", &url]).exits(0);
        assert!(ran.stderr.contains(" is not kept, so it is needed each time: "), "{ran}");
        assert!(!ran.said().contains(PASSWORD), "{ran}");
    }
}

#[test]
fn a_folder_that_holds_the_passwords_is_no_vault() {
    let (device, remote) = (Device::new("laptop"), Remote::folder());
    let home = device.home();
    for args in [&["sync", "../home", "--remote"][..], &["init", "../home", "--remote"]] {
        let ran = device.run(&[args, &[remote.url()]].concat()).exits(2);
        assert!(ran.stderr.contains("holds larder's own passwords"), "{ran}");
    }
    assert!(!home.join(".larder").exists() && !remote.dir().exists());
    // Nor one that was a vault before they came to lie there.
    device.init(&remote);
    let state = device.root().join("state");
    let env = [("XDG_STATE_HOME", state.to_str())];
    let ran = device.run_in(&env, &["sync"]).exits(2);
    assert!(ran.stderr.contains("holds larder's own passwords"), "{ran}");
    device.run_in(&env, &["status"]).exits(0);
    device.sync();
}

#[test]
fn who_removes_a_remote_has_forgotten_its_key() {
    let (sealed, other) = (Remote::start(Place::EncryptedFolder).unwrap(), Remote::folder());
    let device = Device::joined("laptop", &sealed);
    let args = ["remote", "add", "safe", other.url(), "--encrypt", "--json"];
    let added = device.run(&args).exits(0).json();
    let id = added["remoteId"].as_str().unwrap();
    assert_eq!(kept(&device).len(), 2);
    let told = device.run(&["remote", "remove", "folder"]).exits(0);
    assert!(told.stdout.contains("This device has forgotten its key too."), "{told}");
    assert_eq!(kept(&device), [format!("larder-key:{id}")], "that of the other one stays");
    device.sync();
    let told = device.run(&["remote", "remove", "safe", "--json"]).exits(0).json();
    assert_eq!(told["keyForgotten"], true);
    assert!(kept(&device).is_empty());
    // Its passphrase opens it again.
    device.run(&["sync", "--remote", other.url()]).exits(0);
    let told = device.run(&["remote", "list"]).exits(0);
    assert!(told.stdout.contains("(encrypted)"), "{told}");
}

#[test]
fn who_removes_a_remote_is_told_of_the_password_that_stays() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    let run = |args: &[&str]| device.run_in(&UNKNOWN, args).exits(0);
    let url = remote.url().replace("ann@", &format!("ann:{PASSWORD}@"));
    run(&["init", "--remote", &url]);
    run(&["remote", "add", "more", &format!("{}/more", remote.url().trim_end_matches('/'))]);
    assert_eq!(kept(&device).len(), 1);
    let told = run(&["remote", "remove", "more"]);
    assert!(!told.stdout.contains("stays kept"), "the other remote needs it: {told}");
    assert_eq!(kept(&device).len(), 1);
    let told = run(&["remote", "remove", "webdav"]);
    assert!(told.stdout.contains("The password of ann@127.0.0.1:"), "{told}");
    let command = told.stdout.split('`').nth(1).unwrap().to_owned();
    assert_eq!(kept(&device).len(), 1);
    run(&command.split(' ').skip(1).collect::<Vec<_>>());
    assert!(kept(&device).is_empty());
}

#[test]
fn a_password_in_settings_written_by_hand_is_never_shown() {
    let (first, second) = (Remote::folder(), Remote::folder());
    let device = Device::joined("laptop", &first);
    device.run(&["remote", "add", "backup", second.url()]).exits(0);
    let text = device.read(".larder/config.toml");
    let file = device.root().join(".larder/config.toml");
    let own = format!("url = {:?}", second.url());
    let url = "webdavs://ann:planted@127.0.0.1:9/x";
    fs::write(&file, text.replace(&own, &format!("url = {url:?}"))).unwrap();
    let commands = [
        &["status"][..],
        &["status", "--json"],
        &["remote", "list"],
        &["remote", "list", "--json"],
        &["remote", "show", "--remote", "backup"],
        &["remote", "add", "backup", "/elsewhere"],
        &["sync"],
        &["sync", "--json", "-vv"],
        &["remote", "logout", "--remote", "backup"],
        &["check", "--remote", "backup"],
        &["remote", "remove", "backup", "--json"],
    ];
    for args in commands {
        let ran = device.run(args);
        assert!(!ran.said().contains("planted"), "{ran}");
        let words = "a password stands in the address of the remote backup; it is not used";
        assert!(ran.stderr.contains(words), "{ran}");
    }
    // What cannot be read is told with its place and nothing of what stands there.
    for (from, to, told) in [
        (own.as_str(), format!("url = {url}"), "line 11, column "),
        (&own, format!("url = {url:?}\npassword = \"planted\""), "unknown field `password`"),
        (&own, "url = \"ftp://ann:planted@host\"".to_owned(), "ftp: is no kind of remote"),
        ("\"backup\"", "\"folder\"".to_owned(), "two remotes are called folder"),
        (&own, format!("url = {:?}", first.url()), "the remotes folder and backup have the same"),
    ] {
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, &to)).unwrap();
        let ran = device.run(&["sync"]).exits(2);
        assert!(ran.stderr.contains(told) && !ran.said().contains("planted"), "{ran}");
        if !told.starts_with("ftp") {
            assert!(ran.stderr.contains(&format!("{}: ", file.display())), "{ran}");
        }
    }
    fs::write(&file, text).unwrap();
    device.sync();
}
