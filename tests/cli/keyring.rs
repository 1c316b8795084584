//! Secrets in a keyring: GNOME Keyring on a bus of its own, and what stands in for one that is not as
//! it should be.

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use larder_providers::testing::Kind;
use tempfile::TempDir;

use crate::common::{Device, PASSWORD, Place, Ran, Remote, tree};

const LOGIN: &str = "/org/freedesktop/secrets/collection/login";

/// A session of a desktop: a bus, and a keyring on it if asked for.
struct Session {
    dir: TempDir,
    children: Vec<Child>,
}

impl Session {
    fn start(with_keyring: bool) -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("larder-session-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut session = Self { dir, children: Vec::new() };
        // Nothing is started on demand: what answers is what the test started.
        let config = format!(
            "<busconfig><type>session</type><listen>{}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow send_destination='*' eavesdrop='true'/>\
             <allow eavesdrop='true'/><allow own='*'/></policy></busconfig>",
            session.address()
        );
        let file = session.dir.path().join("bus.conf");
        fs::write(&file, config).unwrap();
        let file = format!("--config-file={}", file.display());
        session.spawn("dbus-daemon", &["--nofork", "--nopidfile", "--nosyslog", &file], "")?;
        session.until("the bus", |session| session.dir.path().join("bus").exists());
        if with_keyring {
            let control = format!("--control-directory={}", session.dir.path().display());
            let args = ["--foreground", "--components=secrets", "--unlock", &control];
            session.spawn("gnome-keyring-daemon", &args, "the password of the session")?;
            session.until("the keyring", |session| {
                let told = session.ask("ReadAlias", "string:default");
                told.is_some_and(|told| told.contains(LOGIN))
            });
        }
        Some(session)
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.dir.path().join("bus").display())
    }

    /// Starts a part of it; nothing if it is not installed, which fails under CI.
    fn spawn(&mut self, program: &str, args: &[&str], input: &str) -> Option<()> {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("HOME", self.dir.path());
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        command.env("XDG_RUNTIME_DIR", self.dir.path());
        command.env("DBUS_SESSION_BUS_ADDRESS", self.address());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else {
            let skipped = format!("skipped: {program} is not installed");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{skipped}");
            eprintln!("{skipped}");
            return None;
        };
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        self.children.push(child);
        Some(())
    }

    fn until(&self, what: &str, is_up: impl Fn(&Self) -> bool) {
        let asked = Instant::now();
        while !is_up(self) {
            assert!(asked.elapsed() < Duration::from_secs(20), "{what} does not come up");
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Calls a method of the service; what it answers.
    fn ask(&self, method: &str, args: &str) -> Option<String> {
        let mut command = Command::new("dbus-send");
        command.args(["--print-reply", "--dest=org.freedesktop.secrets"]);
        command.arg(format!("--bus={}", self.address())).arg("/org/freedesktop/secrets");
        command.arg(format!("org.freedesktop.Secret.Service.{method}")).arg(args);
        let output = command.output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    }

    /// Runs a command of a device in the session, with no password in the environment.
    fn run(&self, device: &Device, args: &[&str]) -> Ran {
        run(device, &self.address(), args)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(device: &Device, bus: &str, args: &[&str]) -> Ran {
    device.run_in(&[("LARDER_PASSWORD", None), ("DBUS_SESSION_BUS_ADDRESS", Some(bus))], args)
}

/// A device with a note, and the address of a remote with the password in it.
fn planted() -> Option<(Remote, Device, String)> {
    let remote = Remote::start(Place::Server(Kind::ApacheBasic))?;
    let device = Device::new("laptop");
    device.write("note.md", "text\n");
    let url = remote.url().replace("ann@", &format!("ann:{PASSWORD}@"));
    Some((remote, device, url))
}

fn file(device: &Device) -> std::path::PathBuf {
    device.home().join("state/larder/passwords.json")
}

#[test]
fn a_password_is_kept_in_the_keyring_and_forgotten_on_demand() {
    let Some((remote, device, url)) = planted() else { return };
    let Some(session) = Session::start(true) else { return };
    let ran = session.run(&device, &["sync", "--remote", &url, "-vvv"]).exits(0);
    assert!(ran.stderr.contains("is kept in your keyring."), "{ran}");
    assert!(!ran.said().contains(PASSWORD), "{ran}");
    let ran = session.run(&device, &["sync", "-vvv"]).exits(0);
    assert!(!ran.said().contains(PASSWORD), "{ran}");
    assert!(!file(&device).exists());
    for (path, text) in tree(device.root().parent().unwrap()) {
        assert!(!String::from_utf8_lossy(&text.0).contains(PASSWORD), "{path}");
    }
    let account = format!("ann@{}", remote.url().split(['@', '/']).nth(3).unwrap());
    // It is found as other programs find it.
    let found = session
        .ask("SearchItems", &format!("dict:string:string:service,larder,username,{account}"));
    assert!(found.unwrap().contains(LOGIN), "{account}");

    let ran = session.run(&device, &["remote", "logout", "--json"]).exits(0);
    assert_eq!(ran.json()["forgotten"], true, "{ran}");
    assert_eq!(ran.json()["account"], account.as_str(), "{ran}");
    let ran = session.run(&device, &["sync"]).exits(2);
    assert!(ran.stderr.contains("no password is known"), "{ran}");
    let ran = session.run(&device, &["remote", "logout"]).exits(0);
    assert!(ran.stdout.contains("No password of ann@"), "{ran}");
}

#[test]
fn a_new_password_replaces_the_one_in_the_keyring() {
    let Some((_remote, device, url)) = planted() else { return };
    let Some(session) = Session::start(true) else { return };
    session.run(&device, &["sync", "--remote", &url]).exits(0);
    let wrong = url.replace(PASSWORD, "wr0ng");
    let ran = session.run(&device, &["sync", "--remote", &wrong]).exits(1);
    assert!(ran.stderr.contains("refused the account"), "{ran}");
    session.run(&device, &["sync"]).exits(0);
    // The same again is nothing new.
    let ran = session.run(&device, &["sync", "--remote", &url]).exits(0);
    assert!(!ran.stderr.contains("is kept"), "{ran}");
}

#[test]
fn a_locked_keyring_is_not_opened_and_the_file_serves() {
    let Some((_remote, device, url)) = planted() else { return };
    let Some(session) = Session::start(true) else { return };
    session.ask("Lock", &format!("array:objpath:{LOGIN}")).unwrap();
    let ran = session.run(&device, &["sync", "--remote", &url]).exits(0);
    assert!(ran.stderr.contains("readable by you alone: the keyring is locked."), "{ran}");
    assert!(ran.stderr.contains(&file(&device).display().to_string()), "{ran}");
    session.run(&device, &["sync"]).exits(0);
}

#[test]
fn what_a_locked_keyring_holds_is_missed_aloud() {
    let Some((_remote, device, url)) = planted() else { return };
    let Some(session) = Session::start(true) else { return };
    session.run(&device, &["sync", "--remote", &url]).exits(0);
    session.ask("Lock", &format!("array:objpath:{LOGIN}")).unwrap();
    let ran = session.run(&device, &["sync"]).exits(2);
    assert!(ran.stderr.contains("the keyring is locked: what it keeps for ann@"), "{ran}");
    assert!(ran.stderr.contains("no password is known"), "{ran}");
    let ran = session.run(&device, &["remote", "logout"]).exits(1);
    assert!(ran.stderr.contains("the keyring is locked"), "{ran}");
}

#[test]
fn without_a_keyring_the_file_serves() {
    let Some((_remote, device, url)) = planted() else { return };
    let Some(session) = Session::start(false) else { return };
    let ran = session.run(&device, &["sync", "--remote", &url]).exits(0);
    assert!(ran.stderr.contains("readable by you alone: no keyring can be reached."), "{ran}");
    // What lies in the file stays there, whatever comes up later.
    let Some(session) = Session::start(true) else { return };
    session.run(&device, &["sync"]).exits(0);
    let text = fs::read_to_string(file(&device)).unwrap();
    assert!(text.contains(PASSWORD), "it is still there");
    let ran = session.run(&device, &["remote", "logout"]).exits(0);
    assert!(ran.stdout.contains("is forgotten"), "{ran}");
    assert!(!fs::read_to_string(file(&device)).unwrap().contains(PASSWORD));
}

#[test]
fn a_keyring_can_be_left_out() {
    let Some((_remote, device, url)) = planted() else { return };
    let Some(session) = Session::start(true) else { return };
    let bus = session.address();
    let env = [
        ("LARDER_PASSWORD", None),
        ("LARDER_KEYRING", Some("off")),
        ("DBUS_SESSION_BUS_ADDRESS", Some(bus.as_str())),
    ];
    let ran = device.run_in(&env, &["sync", "--remote", &url]).exits(0);
    assert!(ran.stderr.contains("readable by you alone: LARDER_KEYRING is off."), "{ran}");
    assert!(file(&device).exists());
}

#[test]
fn a_bus_that_never_answers_is_waited_for_only_so_long() {
    let Some((_remote, device, url)) = planted() else { return };
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("bus");
    let _silent = UnixListener::bind(&socket).unwrap();
    let bus = format!("unix:path={}", socket.display());
    let ran = run(&device, &bus, &["sync", "--remote", &url]).exits(0);
    assert!(ran.stderr.contains("readable by you alone: the keyring does not answer."), "{ran}");
    let text = fs::read_to_string(file(&device)).unwrap();
    assert!(text.contains(PASSWORD));
}
