//! The daemon, and who else may use the vault meanwhile.

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use larder_providers::testing::Kind;
use serde_json::Value;

use crate::common::{Device, PASSWORD, Place, Remote, pair, settle};

/// A daemon that is killed when the test ends, however that ends.
struct Daemon {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    fn start(device: &Device) -> Self {
        Self::start_every(device, "1s")
    }

    fn start_every(device: &Device, interval: &str) -> Self {
        Self::of(device.start(&["daemon", "--interval", interval, "--json"]))
    }

    fn of(mut child: Child) -> Self {
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, events }
    }

    /// Waits for an event that `is_it`; the daemon does a turn a second, so that it comes.
    #[track_caller]
    fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        for line in self.events.by_ref().take(20) {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if is_it(&event) {
                return event;
            }
        }
        panic!("it did not happen within 20 turns");
    }

    /// Asks it to stop, and says how long that took and how it ended.
    fn stop(mut self, signal: &str) -> (Duration, Option<i32>) {
        let asked = Instant::now();
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        let status = self.child.wait().unwrap();
        (asked.elapsed(), status.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn edits_travel_while_it_runs() {
    let remote = Remote::folder();
    let (a, b) = pair(&remote);
    a.write("note.md", "one\n");
    let mut daemon = Daemon::start(&a);
    daemon.wait_for(|event| event["event"] == "turn" && event["pushed"] == 1);
    a.write("more.md", "two\n");
    daemon.wait_for(|event| event["pushed"] == 1);
    b.sync();
    assert_eq!(b.read("more.md"), "two\n");
    b.edit("note.md", "one", "one more");
    b.sync();
    daemon.wait_for(|event| event["pulled"] == 1);
    assert_eq!(a.read("note.md"), "one more\n");

    let ran = a.run(&["sync"]).exits(7);
    assert!(ran.stderr.starts_with("error: another larder is using "), "{ran}");
    assert!(ran.stderr.contains("it may be the daemon, which syncs by itself"), "{ran}");
    for args in [&["daemon"][..], &["put", "--type", "x", "{}"], &["rm", "note.md"], &["compact"]] {
        a.run(args).exits(7);
    }
    let told = a.run(&["sync", "--json"]).exits(7).json();
    assert_eq!(told["error"]["kind"], "locked");
    // Looking is free.
    assert_eq!(a.state(), "syncing");
    assert_eq!(a.run(&["list", "--json"]).exits(0).rows().len(), 2);

    let (took, code) = daemon.stop("-TERM");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert_eq!(code, Some(0));
    settle(&[&a, &b]);
}

#[test]
fn trouble_does_not_end_it() {
    let remote = Remote::folder();
    let device = Device::joined("laptop", &remote);
    device.write("note.md", "one\n");
    let mut daemon = Daemon::start(&device);
    daemon.wait_for(|event| event["pushed"] == 1);
    let away = remote.dir().with_file_name("away");
    std::fs::rename(remote.dir(), &away).unwrap();
    let failed = daemon.wait_for(|event| event["event"] == "failed");
    assert!(failed["message"].as_str().unwrap().contains("is empty or not there"), "{failed}");
    assert!(failed["retryInMs"].as_u64().unwrap() >= 2000, "{failed}");
    device.write("more.md", "two\n");
    std::fs::rename(&away, remote.dir()).unwrap();
    daemon.wait_for(|event| event["pushed"] == 1);
    assert_eq!(daemon.stop("-INT").1, Some(0));
}

#[test]
fn it_tells_what_a_sync_tells() {
    let (first, second) = (Remote::folder(), Remote::folder());
    let (a, b) = pair(&first);
    a.run(&["remote", "add", "backup", second.url()]).exits(0);
    a.write("note.md", "one\n");
    std::os::unix::fs::symlink("/etc/passwd", a.root().join("link.md")).unwrap();
    a.sync();
    b.sync();
    a.edit("note.md", "one", "two");
    b.edit("note.md", "one", "three");
    b.sync();
    let mut daemon = Daemon::start(&a);
    let turn = daemon.wait_for(|event| event["event"] == "turn");
    assert_eq!((&turn["conflicts"], &turn["conflictsWaiting"]), (&1.into(), &1.into()), "{turn}");
    assert_eq!(
        (&turn["notes"][0]["kind"], &turn["notes"][0]["subject"]),
        (&"skipped".into(), &"link.md".into())
    );
    let turn = daemon.wait_for(|event| event["event"] == "turn");
    assert_eq!(turn["notes"], serde_json::json!([]), "it is told once");
    std::os::unix::fs::symlink("/etc/passwd", a.root().join("more.md")).unwrap();
    let turn = daemon.wait_for(|event| event["notes"] != serde_json::json!([]));
    assert_eq!(
        (turn["notes"].as_array().unwrap().len(), &turn["notes"][0]["subject"]),
        (1, &"more.md".into())
    );
    std::fs::rename(first.dir(), first.dir().with_file_name("away")).unwrap();
    let failed = daemon.wait_for(|event| event["event"] == "failed");
    assert_eq!((&failed["kind"], &failed["code"]), (&"brake".into(), &5.into()), "{failed}");
    let status = a.run(&["status", "--json"]).exits(0).json();
    let told = (&status["state"], &status["conflictsWaiting"]);
    assert_eq!(told, (&"error".into(), &1.into()), "that it runs hides nothing: {status}");
    let listed = a.run(&["devices", "--remote", "backup", "--json"]).exits(0).rows();
    assert!(listed.iter().all(|device| device["generation"].as_u64() > Some(0)), "{listed:?}");
    assert_eq!(daemon.stop("-TERM").1, Some(0));
    // And to people.
    let mut child = a.start(&["daemon", "--interval", "1s"]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<String> = lines.take(3).collect();
    let _ = child.kill().and_then(|()| child.wait());
    assert!(told[2].starts_with("2 files or folders are left alone"), "{told:?}");
}

/// Where the storage tells of changes, nobody waits for the interval.
#[test]
fn news_from_dropbox_come_at_once() {
    let Some(remote) = Remote::start(Place::DROPBOX) else { return };
    let (a, b) = pair(&remote);
    a.write("note.md", "one\n");
    let mut daemon = Daemon::start_every(&a, "1h");
    daemon.wait_for(|event| event["pushed"] == 1);
    b.sync();
    for round in 0..2 {
        b.write(&format!("{round}.md"), "news\n");
        b.sync();
        daemon.wait_for(|event| event["pulled"] == 1);
    }
    assert_eq!(daemon.stop("-TERM").1, Some(0));
    let calls = remote.dropbox().unwrap().log();
    let waits = calls.iter().filter(|route| route.ends_with("longpoll")).count();
    assert!((2..20).contains(&waits), "{calls:?}");
}

/// Of several remotes it goes to the one that tells of a change, and on to the others.
#[test]
fn news_from_dropbox_go_on_to_the_other_remotes() {
    let Some(dropbox) = Remote::start(Place::EncryptedServer(Kind::DropboxLike)) else { return };
    let folder = Remote::folder();
    let (a, b) = pair(&dropbox);
    let c = Device::joined("phone", &folder);
    a.run(&["remote", "add", "folder", folder.url()]).exits(0);
    a.write("note.md", "one\n");
    let mut daemon = Daemon::start_every(&a, "1h");
    daemon.wait_for(|event| event["pushed"] == 1 && event["remote"] == "folder");
    for round in 0..2 {
        b.write(&format!("{round}.md"), "news\n");
        b.sync();
        daemon.wait_for(|event| event["pulled"] == 1 && event["remote"] == "dropbox");
        daemon.wait_for(|event| event["pushed"] == 1 && event["remote"] == "folder");
    }
    c.sync();
    assert_eq!(c.names(), ["0.md", "1.md", "note.md"]);
    assert_eq!(daemon.stop("-TERM").1, Some(0));
}

/// A password that is changed at the server and then here needs no other daemon.
#[test]
fn a_password_that_is_refused_is_looked_for_anew() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    let command = |args: &[&str]| {
        let mut command = device.command(args);
        command.env_remove("LARDER_PASSWORD").stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let url = remote.url().replace("ann@", &format!("ann:{PASSWORD}@"));
    assert!(command(&["init", "--remote", &url]).status().unwrap().success());
    device.write("note.md", "one\n");
    let child = command(&["daemon", "--interval", "1s", "--json"]).spawn().unwrap();
    let mut daemon = Daemon::of(child);
    daemon.wait_for(|event| event["pushed"] == 1);
    let conf = remote.dir().ancestors().nth(2).unwrap();
    std::fs::write(conf.join("basic"), "ann:{SHA}JvZcFcg11qlSHzWVScL2qE4T+tg=\n").unwrap();
    let failed = daemon.wait_for(|event| event["event"] == "failed");
    assert!(failed["message"].as_str().unwrap().contains("refused the account"), "{failed}");
    let file = device.home().join("state/larder/passwords.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    let kept = kept.replace(&format!("\"{PASSWORD}\""), "\"pl4nt/p@s%s w:rd\"");
    std::fs::write(&file, kept).unwrap();
    device.write("more.md", "two\n");
    daemon.wait_for(|event| event["pushed"] == 1);
    assert_eq!(daemon.stop("-TERM").1, Some(0));
}

/// A server that says nothing keeps a turn busy.
#[test]
fn who_is_asked_twice_to_stop_does_not_wait_for_the_turn() {
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let device = Device::joined("laptop", &Remote::folder());
    let url = format!("webdav://ann@{}/remote", silent.local_addr().unwrap());
    device.write(".larder/config.toml", format!("device = \"laptop\"\nremote = {url:?}\n"));
    let mut child = device.start(&["daemon", "--interval", "1s"]);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let _connection = silent.accept().unwrap();
    let id = child.id().to_string();
    let send = |signal: &str| Command::new("kill").args([signal, id.as_str()]).status().unwrap();
    // Two at once, as a wrapper sends them that hears the first one too, are one.
    send("-INT");
    send("-TERM");
    let line = said.next().unwrap().unwrap();
    assert_eq!(line, "finishing the turn under way; Ctrl-C again stops at once");
    send("-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// What cannot be opened at its beginning is tried again, and the others do not wait for it.
#[test]
fn a_remote_that_cannot_be_opened_yet_is_opened_later() {
    let (sealed, clear) = (Remote::start(Place::EncryptedFolder).unwrap(), Remote::folder());
    let device = Device::joined("laptop", &sealed);
    device.run(&["remote", "add", "backup", clear.url()]).exits(0);
    device.sync();
    device.write("note.md", "one\n");
    let (keys, away) = (device.home().join("state"), device.home().join("away"));
    std::fs::rename(&keys, &away).unwrap();
    let mut command = device.command(&["daemon", "--interval", "1s", "--json"]);
    command.env_remove("LARDER_PASSPHRASE").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut daemon = Daemon::of(command.spawn().unwrap());
    let failed = daemon.wait_for(|event| event["event"] == "failed");
    assert_eq!((&failed["remote"], &failed["retryInMs"]), (&"folder".into(), &2000.into()));
    assert!(failed["message"].as_str().unwrap().contains("is encrypted; set"), "{failed}");
    daemon.wait_for(|event| event["pushed"] == 1 && event["remote"] == "backup");
    let failed = daemon.wait_for(|event| event["event"] == "failed");
    assert_eq!(failed["retryInMs"], 4000, "more seldom");
    std::fs::rename(&away, &keys).unwrap();
    daemon.wait_for(|event| event["pushed"] == 1 && event["remote"] == "folder");
    assert_eq!(daemon.stop("-TERM").1, Some(0));
    Device::joined("phone", &sealed).sync();
}
