//! Servers that are down, that refuse, and storage that is full.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
};

use larder_providers::testing::Kind;

use crate::common::{Device, PASSWORD, Place, Remote, pair, settle};

/// An address where every request gets the same answer.
fn stubborn(answer: &'static str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the process of the tests.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = "content-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\n{head}").as_bytes());
        }
    });
    format!("http://ann@127.0.0.1:{port}/remote")
}

/// Points a vault somewhere else without asking whether the remote is there.
fn redirect(device: &Device, url: &str) {
    let config = device.root().join(".larder/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let line = text.lines().find(|line| line.starts_with("remote")).unwrap();
    fs::write(config, text.replace(line, &format!("remote = {url:?}"))).unwrap();
}

#[test]
fn a_server_that_is_down() {
    let remote = Remote::start(Place::DAV_SERVER).unwrap();
    let (a, b) = pair(&remote);
    a.write("note.md", "one\n");
    settle(&[&a, &b]);
    a.edit("note.md", "one", "two");
    let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    redirect(&a, &format!("webdav://{gone}/remote"));
    let ran = a.run(&["sync"]).exits(4);
    assert!(ran.stderr.contains(&gone.to_string()), "{ran}");
    assert!(ran.stderr.contains("nothing is lost; try again later"), "{ran}");
    let told = a.run(&["sync", "--json"]).exits(4).json();
    assert_eq!(told["error"]["kind"], "unreachable");
    assert_eq!(a.read("note.md"), "two\n");
    assert_eq!(a.run(&["status", "--json"]).number("pendingChanges"), 1);
    redirect(&a, remote.url());
    settle(&[&a, &b]);
    assert_eq!(b.read("note.md"), "two\n");
}

#[test]
fn answers_that_stop_a_turn() {
    let answers = [
        ("503 Service Unavailable\r\nRetry-After: 1", 4, "nothing is lost; try again later"),
        ("429 Too Many Requests", 4, "nothing is lost; try again later"),
        ("500 Internal Server Error", 4, "nothing is lost; try again later"),
        ("403 Forbidden", 1, "the account may not do this"),
        (
            "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"",
            1,
            "what LARDER_PASSWORD gives was refused",
        ),
        ("507 Insufficient Storage", 1, "the storage is full"),
    ];
    let remote = Remote::folder();
    let a = Device::joined("laptop", &remote);
    a.write("note.md", "one\n");
    a.sync();
    a.edit("note.md", "one", "two");
    for (answer, code, hint) in answers {
        redirect(&a, &stubborn(answer));
        let ran = a.run(&["sync"]).exits(code);
        assert!(ran.stderr.contains(hint), "{answer}: {ran}");
        assert!(!ran.said().contains(PASSWORD), "{ran}");
        assert_eq!(a.read("note.md"), "two\n");
    }
    redirect(&a, remote.url());
    assert_eq!(a.sync().number("pushed"), 1);
}

#[test]
fn a_wrong_password() {
    for kind in [Kind::ApacheBasic, Kind::ApacheDigest] {
        let Some(remote) = Remote::start(Place::Server(kind)) else { return };
        let (a, b) = pair(&remote);
        a.write("note.md", "one\n");
        settle(&[&a, &b]);
        let mut command = b.command(&["sync", "-vv"]);
        let output = command.env("LARDER_PASSWORD", "wr0ngw0rd").output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let host = remote.url().split(['@', '/']).nth(3).unwrap();
        assert!(said.contains("ann") && said.contains(host), "{said}");
        assert!(said.contains("what LARDER_PASSWORD gives was refused"), "{said}");
        assert!(!said.contains("wr0ngw0rd") && !said.contains(PASSWORD), "{said}");
        b.sync().exits(0);
    }
}

/// A small file system.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// Nothing where the tests may not mount; under CI they have to.
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let small = Self(at);
        if small.set_size("size=", size) {
            return Some(small);
        }
        let why = "a full disk needs the right to mount one";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        eprintln!("skipped: {why}");
        None
    }

    fn grow(&self, size: &str) {
        assert!(self.set_size("remount,size=", size));
    }

    fn set_size(&self, how: &str, size: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("{how}{size}"), "tmpfs"]).arg(self.0);
        mount.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_remote_that_is_full() {
    let remote = Remote::folder();
    let Some(_mounted) = Small::mount(remote.dir(), "512k") else { return };
    let (a, b) = pair(&remote);
    a.write("note.md", "fits\n");
    settle(&[&a, &b]);
    b.write("other.md", "fits too\n");
    b.sync();
    a.write("big.md", noise(7, 900_000));
    let ran = a.run(&["sync"]).exits(1);
    assert!(ran.stderr.contains("the storage is full"), "{ran}");
    assert_eq!(a.read("other.md"), "fits too\n", "what came is here");
    b.edit("note.md", "fits", "still fits");
    b.sync().exits(0);
    b.is_sound();
    a.write("big.md", "small now\n");
    settle(&[&a, &b]);
    assert_eq!(b.read("big.md"), "small now\n");
}

/// Neither the replica nor the vault is left half done, whatever did not fit: a file, a line of the
/// replica's log, or the log's checkpoint.
#[test]
fn a_vault_that_is_full() {
    let remote = Remote::folder();
    let a = Device::new("laptop");
    let root = a.root();
    let Some(mounted) = Small::mount(&root, "3m") else { return };
    let b = Device::joined("phone", &remote);
    b.write("note.md", "one\n");
    b.sync();
    a.init(&remote);
    settle(&[&a, &b]);
    for n in 0..40 {
        b.write(&format!("n{n}.md"), noise(n, 100_000));
    }
    b.edit("note.md", "one", "one, by the phone");
    b.sync();
    a.write("own.md", "unsent\n");
    for room in ["3m", "3500k", "4m", "5m", "6m", "7m"] {
        mounted.grow(room);
        let ran = a.run(&["sync"]).exits(1);
        assert!(ran.stderr.contains("the disk is full"), "{room}: {ran}");
        assert_eq!(a.read("own.md"), "unsent\n");
        let whole =
            a.files().into_iter().filter(|(path, _)| path.starts_with('n') && path != "note.md");
        for (path, text) in whole {
            assert_eq!(text.0, b.read(&path).as_bytes(), "{room}: {path} is not whole");
        }
        // Work that is half done, but nothing that is damaged.
        let check = a.run(&["check", "--json"]).json();
        let findings = check["findings"].as_array().unwrap();
        let is_open = |finding: &serde_json::Value| {
            ["behind", "edited"].contains(&finding["kind"].as_str().unwrap())
        };
        assert!(findings.iter().all(is_open), "{room}: {check}");
    }
    mounted.grow("60m");
    settle(&[&a, &b]);
    assert_eq!(
        (b.read("own.md"), a.read("note.md")),
        ("unsent\n".into(), "one, by the phone\n".into())
    );
}

fn noise(seed: u64, bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| random.alphanumeric()).collect()
}
