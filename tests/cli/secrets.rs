//! A password is nowhere but where it belongs.

use std::{fs, os::unix::fs::PermissionsExt as _};

use larder_providers::testing::Kind;

use crate::common::{Device, PASSWORD, Place, Remote, tree};

#[test]
#[cfg(feature = "object-stores")]
fn the_secret_of_a_key_in_an_address_is_put_away() {
    let Some(remote) = Remote::start(Place::MOTO) else { return };
    let device = Device::new("laptop");
    let url = remote.url().replace("ann@", "ann:planted/secret@");
    let run = |args: &[&str]| {
        let output = device.command(args).env_remove("LARDER_PASSWORD").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
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
    let run = |args: &[&str]| {
        let output = device.command(args).env_remove("LARDER_PASSWORD").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
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
    let mut command = device.command(&["init", "--remote", "webdavs://ann@example.org/x"]);
    let output = command.env_remove("LARDER_PASSWORD").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no password is known for ann@example.org; set LARDER_PASSWORD"));
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
    let run = || {
        let mut command = device.command(&["sync", "--remote", remote.url()]);
        let output = command.env_remove("LARDER_PASSWORD").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run();
    assert!(said.contains("was open to others (mode 644) and is no more"), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!run().contains("was open"));
    // What is broken in it is not quoted.
    fs::write(&file, format!("{{\"{account}\": {PASSWORD}}}")).unwrap();
    let output = device.command(&["sync"]).env_remove("LARDER_PASSWORD").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("does not read as JSON") && !said.contains(PASSWORD), "{said}");
}

#[test]
fn a_password_can_be_the_first_line_of_a_file() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheDigest)) else { return };
    let device = Device::new("laptop");
    let file = device.home().join("password");
    let run = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = device.command(&["sync", "--remote", remote.url()]);
        command.env_remove("LARDER_PASSWORD").env("LARDER_PASSWORD_FILE", &file);
        command.output().unwrap()
    };
    let output = run(&format!("{PASSWORD}\nnot this\n"));
    assert!(output.status.success(), "{output:?}");
    assert!(!device.home().join("state/larder/passwords.json").exists());
    let output = run("\n");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("has no password in its first line")
    );
}
