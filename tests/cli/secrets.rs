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
