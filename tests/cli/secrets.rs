//! A password is nowhere but where it belongs.

use std::{fs, os::unix::fs::PermissionsExt as _};

use larder_providers::testing::Kind;

use crate::common::{Device, PASSWORD, Place, Remote, tree};

#[test]
fn a_password_in_the_environment_is_kept_nowhere() {
    for kind in [Kind::ApacheBasic, Kind::ApacheDigest] {
        let Some(remote) = Remote::start(Place::Server(kind)) else { return };
        let device = Device::new("laptop");
        device.write("note.md", "text\n");
        let mut said = String::new();
        for args in [
            &["init", "--remote", remote.url(), "-vv"][..],
            &["sync", "-vv"],
            &["sync", "-vvv", "--json"],
            &["status", "-vv"],
            &["remote", "show", "-vv"],
            &["compact", "-vv"],
            &["check", "--read-data", "-vv"],
        ] {
            said.push_str(&device.run(args).exits(0).said());
        }
        assert!(said.contains("PROPFIND"), "requests are told at -vv");
        assert!(!said.contains(PASSWORD), "{said}");
        let basic = "YW5uOnNlY3JldA";
        assert!(!said.contains(basic), "{said}");
        for (path, text) in tree(device.root().parent().unwrap()) {
            let text = String::from_utf8_lossy(&text.0).into_owned();
            assert!(!text.contains(PASSWORD) && !text.contains(basic), "{path}: {text}");
        }
    }
}

#[test]
#[cfg(feature = "object-stores")]
fn the_key_of_a_bucket_is_kept_nowhere() {
    let planted = "planted/s3cret+key";
    let Some(remote) = Remote::start(Place::MOTO) else { return };
    let url = remote.url().replace("ann@", "");
    let device = Device::new("laptop");
    device.write("note.md", "text\n");
    let mut said = String::new();
    for args in [
        &["init", "--remote", &url, "-vvv"][..],
        &["sync", "-vvv"],
        &["sync", "-vvv", "--json"],
        &["remote", "show", "-vvv"],
        &["remote", "probe", "-vvv"],
        &["check", "--read-data", "-vvv"],
        // Somebody else's bucket: what goes wrong is told without the key too.
        &["remote", "set", &url.replace("larder", "elsewhere"), "-vvv"],
    ] {
        let mut command = device.command(args);
        command.env_remove("LARDER_PASSWORD").env_remove("AZURE_STORAGE_ACCOUNT_KEY");
        command.env("AWS_ACCESS_KEY_ID", "planted-id").env("AWS_SECRET_ACCESS_KEY", planted);
        command.env("AWS_SESSION_TOKEN", "planted-token").env("AWS_REGION", "eu-central-1");
        let output = command.output().unwrap();
        assert_eq!(output.status.success(), args[1] != "set", "{args:?} {output:?}");
        said.push_str(&String::from_utf8([output.stdout, output.stderr].concat()).unwrap());
    }
    assert!(said.contains("GET") && said.contains("there is no bucket"), "{said}");
    let files = tree(device.root().parent().unwrap());
    let config = String::from_utf8_lossy(&files["vault/.larder/config.toml"].0).into_owned();
    assert!(config.contains("&region=eu-central-1"), "the address is kept whole: {config}");
    for secret in [planted, "planted-token", "planted-id"] {
        assert!(!said.contains(secret), "{said}");
        let holds = |text: &crate::common::Text| String::from_utf8_lossy(&text.0).contains(secret);
        assert!(files.values().all(|text| !holds(text)), "{secret}");
    }
}

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
