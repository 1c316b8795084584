//! Somebody who is asked, and goes away instead of answering.

use larder_providers::testing::Kind;

use crate::common::{
    Device, PASSPHRASE, PASSWORD, Place, Remote,
    terminal::{CTRL_C, stopped, typed},
};

#[test]
fn who_stops_a_command_that_asks_sees_what_they_type_and_has_no_vault() {
    let remote = Remote::start(Place::EncryptedFolder).unwrap();
    let newcomer = Device::new("newcomer");
    let url = remote.url();
    let first = ["init", "--encrypt", "--remote", url];
    let asks = "New passphrase of the remote: ";
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let mut command = newcomer.command(&first);
        command.env_remove("LARDER_PASSPHRASE").env("NO_COLOR", "1");
        let (ended, shown) = stopped(&command, asks, signal);
        assert_eq!(ended, code, "{shown}");
        assert!(shown.contains("error: stopped while an answer was waited for\n"), "{shown}");
        assert!(!newcomer.root().join(".larder").exists(), "{signal}: {shown}");
        assert!(remote.files().is_empty(), "{signal}");
    }
    Device::joined("laptop", &remote).sync();
    let mut command = newcomer.command(&["sync", "--remote", url]);
    command.env_remove("LARDER_PASSPHRASE").env("NO_COLOR", "1");
    let (ended, shown) = stopped(&command, "Passphrase of the remote: ", "INT");
    assert_eq!(ended, 130, "{shown}");
    assert!(!newcomer.root().join(".larder").exists(), "{shown}");
    // A vault stays one.
    newcomer.run(&["sync", "--remote", url]).exits(0);
    std::fs::remove_dir_all(newcomer.home().join("state")).unwrap();
    let mut command = newcomer.command(&["sync"]);
    command.env_remove("LARDER_PASSPHRASE").env("NO_COLOR", "1");
    stopped(&command, "Passphrase of the remote: ", "TERM");
    newcomer.run(&["sync"]).exits(0);
}

#[test]
fn who_stops_a_command_that_asks_for_a_password_sees_what_they_type() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    let mut command = device.command(&["sync", "--remote", remote.url()]);
    command.env_remove("LARDER_PASSWORD");
    for signal in ["INT", "TERM"] {
        let (_, shown) = stopped(&command, "Password of ann@127.0.0.1:", signal);
        assert!(!device.root().join(".larder").exists(), "{signal}: {shown}");
    }
}

#[test]
fn who_has_answered_can_stop_a_command_still() {
    // It takes the connection and says nothing.
    let server = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("webdav://ann@127.0.0.1:{}/x", server.local_addr().unwrap().port());
    let device = Device::new("laptop");
    let mut command = device.command(&["sync", "--remote", &url]);
    command.env_remove("LARDER_PASSWORD");
    let (code, shown) =
        typed(&command, &[("Password of ann@127.0.0.1:", PASSWORD), ("\n", CTRL_C)]);
    assert_eq!(code, 130, "{shown}");
}

#[test]
fn a_daemon_that_has_asked_stops_as_ever() {
    let remote = Remote::start(Place::EncryptedFolder).unwrap();
    let device = Device::joined("laptop", &remote);
    device.sync();
    std::fs::remove_dir_all(device.home().join("state")).unwrap();
    let mut command = device.command(&["daemon"]);
    command.env_remove("LARDER_PASSPHRASE").env("NO_COLOR", "1");
    let asks = ("Passphrase of the remote: ", PASSPHRASE);
    let (code, shown) = typed(&command, &[asks, ("Ctrl-C stops.", CTRL_C)]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(" stopped\n"), "{shown}");
}

#[test]
fn who_has_a_key_of_another_remote_is_asked_before_anything_is_repaired() {
    let remote = Remote::start(Place::EncryptedFolder).unwrap();
    let device = Device::joined("laptop", &remote);
    device.write("note.md", "Hot.\n");
    device.sync();
    let file = device.home().join("state/larder/passwords.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    let key = kept.split('"').find(|word| word.len() == 43 && !word.contains(':')).unwrap();
    std::fs::write(&file, kept.replace(key, &"A".repeat(43))).unwrap();
    let before = remote.files();
    let mut command = device.command(&["check", "--repair"]);
    command.env_remove("LARDER_PASSPHRASE");
    let asks = "Passphrase of the remote: ";
    let (code, shown) = typed(&command, &[(asks, "not this one"), (asks, PASSPHRASE)]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("does not open it, and is not used"), "{shown}");
    assert!(!shown.contains("repaired"), "{shown}");
    assert_eq!(remote.files(), before);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept, "the right one is kept again");
}

#[test]
fn who_is_asked_for_one_of_several_remotes_sees_which() {
    let (first, second) = (Remote::start(Place::EncryptedFolder).unwrap(), Remote::folder());
    let device = Device::joined("laptop", &first);
    let mut command = device.command(&["remote", "add", "safe", second.url(), "--encrypt"]);
    command.env_remove("LARDER_PASSPHRASE");
    let asks = [
        ("New passphrase of the remote safe: ", "another one altogether"),
        ("The same once more: ", "another one altogether"),
    ];
    let (code, shown) = typed(&command, &asks);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("The key of the remote safe is kept in "), "{shown}");
    device.sync();
    std::fs::remove_dir_all(device.home().join("state")).unwrap();
    let mut command = device.command(&["sync"]);
    command.env_remove("LARDER_PASSPHRASE");
    let asks = [
        ("Passphrase of the remote folder: ", PASSPHRASE),
        ("Passphrase of the remote safe: ", "another one altogether"),
    ];
    let (code, shown) = typed(&command, &asks);
    assert_eq!(code, 0, "{shown}");
    let Some(server) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let mut command = device.command(&["remote", "add", "web", server.url()]);
    command.env_remove("LARDER_PASSWORD");
    let (code, shown) = typed(&command, &[(" for the remote web: ", PASSWORD)]);
    assert_eq!(code, 0, "{shown}");
}
