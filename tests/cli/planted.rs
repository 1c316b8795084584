//! Planted secrets: every command at its most talkative, and then a search through everything that
//! is left, in each form that a secret travels in.

use std::{fs, process::Command};

use larder_providers::testing::Kind;

use crate::common::{Device, Place, Ran, Remote, terminal::typed, tree};

/// What a password may be made of.
const PASSWORD: &str = "pl4nt/p@s%s w:rd";

/// The password in the address, in `Authorization: Basic` with its account and alone, and in Digest's
/// hash of account, realm and password; and what only a header can have.
const FORMS: [&str; 9] = [
    PASSWORD,
    "pl4nt%2Fp%40s%25s%20w%3Ard",
    "pl4nt%2fp%40s%25s%20w%3ard",
    "pl4nt%2Fp%40s%25s+w%3Ard",
    "pl4nt",
    "YW5uOnBsNG50L3BAcyVzIHc6cmQ",
    "cGw0bnQvcEBzJXMgdzpyZA",
    "898db0e669005a4eb3f41282d426b1f9",
    "response=\"",
];

/// Every command that does something, in an order that works.
fn commands(url: &str) -> Vec<Vec<&str>> {
    let words: &[&str] = &[
        "sync -vvv",
        "sync -vvv --json",
        "sync --dry-run -vvv",
        "status -vvv",
        "status --json",
        "list -vvv",
        "show note.md -vvv",
        "put --type note {\"path\":\"new.md\",\"text\":\"x\"} -vvv",
        "rm new.md -vvv",
        "restore new.md -vvv",
        "log -vvv",
        "conflicts -vvv",
        "compact --force -vvv",
        "check --read-data --repair -vvv",
        "remote show -vvv",
        "remote show --json",
        "devices -vvv",
        "devices rename desk -vvv",
        "sync -q",
    ];
    let mut commands: Vec<Vec<&str>> = words.iter().map(|line| line.split(' ').collect()).collect();
    commands.push(vec!["remote", "set", url, "-vvv"]);
    commands.push(vec!["remote", "probe", url, "-vvv"]);
    commands
}

/// The server's own account, with the planted password.
fn plant(remote: &Remote) {
    let conf = remote.dir().ancestors().nth(2).unwrap();
    fs::write(conf.join("basic"), "ann:{SHA}JvZcFcg11qlSHzWVScL2qE4T+tg=\n").unwrap();
    let hash = "ann:larder:898db0e669005a4eb3f41282d426b1f9\n";
    fs::write(conf.join("digest"), hash).unwrap();
}

/// What was said holds no form of a secret, and no file does but the one that is meant to.
#[track_caller]
fn search(said: &str, device: &Device, remote: &Remote, forms: &[&str]) {
    for form in forms {
        let at =
            said.find(form).map(|at| &said[said.floor_char_boundary(at.saturating_sub(200))..at]);
        assert!(at.is_none(), "{form:?} was said after: {at:?}");
    }
    let here = tree(device.root().parent().unwrap());
    for (path, text) in here.into_iter().chain(remote.files()) {
        if path == "home/state/larder/passwords.json" {
            continue;
        }
        for form in forms {
            let holds = text.0.windows(form.len()).any(|part| part == form.as_bytes());
            assert!(!holds, "{form:?} stands in {path}");
        }
    }
}

/// Runs a command and looks at the arguments of every process meanwhile.
fn watched(mut command: Command, forms: &[&str]) -> (i32, String) {
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let out = std::thread::spawn({
        let mut out = child.stdout.take().unwrap();
        move || std::io::read_to_string(&mut out).unwrap()
    });
    let errors = std::thread::spawn({
        let mut errors = child.stderr.take().unwrap();
        move || std::io::read_to_string(&mut errors).unwrap()
    });
    let status = loop {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let is_ours = line.contains("larder") && line.contains(" --device ");
            assert!(!is_ours || forms.iter().all(|form| !line.contains(form)), "{line}");
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    (status.code().unwrap_or(-1), out.join().unwrap() + &errors.join().unwrap())
}

fn without_surroundings(device: &Device, args: &[&str]) -> Command {
    let mut command = device.command(args);
    command.env_remove("LARDER_PASSWORD").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
    command
}

#[test]
fn a_password_from_the_environment_is_nowhere() {
    for kind in [Kind::ApacheBasic, Kind::ApacheDigest] {
        let Some(remote) = Remote::start(Place::Server(kind)) else { return };
        plant(&remote);
        let device = Device::new("laptop");
        device.write("note.md", "text\n");
        let mut said = String::new();
        let init = vec!["init", "--remote", remote.url(), "-vvv"];
        let mut all = [vec![init], commands(remote.url())].concat();
        // It starts others.
        if kind == Kind::ApacheBasic {
            all.push(vec!["torture", remote.url(), "--duration", "1s", "--devices", "2", "-vvv"]);
        }
        for args in all {
            let mut command = without_surroundings(&device, &args);
            command.env("LARDER_PASSWORD", PASSWORD);
            let (code, told) = watched(command, &FORMS);
            assert_eq!(code, 0, "{args:?} {told}");
            said.push_str(&told);
        }
        // Nor where something is wrong: a wrong account, no server, no such thing.
        for url in [
            remote.url().replace("ann@", "bob@"),
            "webdav://ann@127.0.0.1:1/x".to_owned(),
            remote.url().replace("/remote", "/note%20there?x"),
        ] {
            let mut command = without_surroundings(&device, &["remote", "set", &url, "-vvv"]);
            let output = command.env("LARDER_PASSWORD", PASSWORD).output().unwrap();
            assert!(!output.status.success(), "{output:?}");
            said.push_str(&String::from_utf8([output.stdout, output.stderr].concat()).unwrap());
        }
        assert!(said.contains("PROPFIND") && said.contains("TRACE"), "requests are told at -vvv");
        assert!(!device.home().join("state/larder/passwords.json").exists());
        search(&said, &device, &remote, &FORMS);
    }
}

#[test]
fn a_password_in_an_address_is_nowhere_else() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    plant(&remote);
    let device = Device::new("laptop");
    device.write("note.md", "text\n");
    let url = remote.url().replace("ann@", &format!("ann:{}@", FORMS[1]));
    let mut said = String::new();
    let mut run = |args: &[&str], code: i32| {
        let ran = Ran::new(args, without_surroundings(&device, args).output().unwrap());
        assert_eq!(ran.code, code, "{ran}");
        said.push_str(&ran.said());
    };
    run(&["sync", "--remote", &url, "-vvv"], 0);
    for args in commands(&url) {
        run(&args, 0);
    }
    // In places where it is not looked for, and in addresses that are none.
    run(&[&url], 2);
    run(&["sync", &url], 2);
    run(&["remote", "set"], 2);
    run(&["remote", "set", &url, &url], 2);
    run(&["list", "--type", "x", &url], 2);
    // Where a name belongs.
    for args in [
        &["sync", "--only"][..],
        &["check", "--remote"],
        &["devices", "--remote"],
        &["remote", "remove"],
        &["remote", "set-default"],
    ] {
        run(&[args, &[&url]].concat(), 2);
        run(&[args, &["--json", &url.replace("//", "/")]].concat(), 2);
    }
    run(&["remote", "add", &url, &url], 2);
    run(&["remote", "set", &url.replace("http:", "ftp:")], 2);
    run(&["remote", "set", &url.replace("%2F", "/")], 2);
    run(&["remote", "set", &url.replace("%25", "%")], 0);
    run(&["remote", "set", &url.replace("/remote", "/elsewhere")], 5);
    run(&["remote", "set", &url.replace("/remote", "/remote?x")], 2);
    run(&["remote", "set", "webdav://ann:pl4nt"], 2);
    run(&["remote", "logout", &url], 0);
    run(&["sync", "-vvv"], 2);
    search(&said, &device, &remote, &FORMS);
    let kept = fs::read_to_string(device.home().join("state/larder/passwords.json")).unwrap();
    assert!(!kept.contains("pl4nt"), "it was forgotten");
}

#[test]
fn a_typed_password_is_not_shown_and_a_new_one_is_asked_for() {
    let Some(remote) = Remote::start(Place::Server(Kind::ApacheBasic)) else { return };
    let device = Device::new("laptop");
    device.write("note.md", "text\n");
    let asked = "Password of ann@127.0.0.1:";
    let command = without_surroundings(&device, &["sync", "--remote", remote.url(), "-vvv"]);
    let (code, mut said) = typed(&command, &[(asked, "mistyped"), (asked, "secret")]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("That was not accepted; please try again."), "{said}");
    assert!(said.contains("is kept in"), "{said}");
    // The server's password changes: who sits there is asked, others are told.
    plant(&remote);
    let ran = without_surroundings(&device, &["sync"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(told.contains("run the command in a terminal, and larder asks for it anew"), "{told}");
    let (code, told) =
        typed(&without_surroundings(&device, &["sync", "-vvv"]), &[(asked, PASSWORD)]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("is not accepted any more"), "{told}");
    said.push_str(&told);
    let (code, told) = typed(&without_surroundings(&device, &["sync", "-vvv"]), &[]);
    assert_eq!(code, 0, "the new one is kept: {told}");
    said.push_str(&told);
    assert!(!said.contains("mistyped"), "{said}");
    search(&said, &device, &remote, &FORMS);
}

#[test]
#[cfg(feature = "object-stores")]
fn the_key_of_a_bucket_is_nowhere() {
    let Some(remote) = Remote::start(Place::MOTO) else { return };
    let url = remote.url().replace("ann@", "");
    let device = Device::new("laptop");
    device.write("note.md", "text\n");
    let forms = ["pl4nted/s3cret+key", "pl4nted%2Fs3cret%2Bkey", "pl4nted-token", "Signature="];
    let init = vec!["init", "--remote", &url, "-vvv"];
    let mut said = String::new();
    for args in [vec![init], commands(&url)].concat() {
        let mut command = without_surroundings(&device, &args);
        command.env_remove("AZURE_STORAGE_ACCOUNT_KEY").env("AWS_ACCESS_KEY_ID", "pl4nted-id");
        command.env("AWS_SECRET_ACCESS_KEY", forms[0]).env("AWS_SESSION_TOKEN", forms[2]);
        let (code, told) = watched(command, &forms);
        assert_eq!(code, 0, "{args:?} {told}");
        said.push_str(&told);
    }
    assert!(said.contains("GET"), "requests are told at -vvv");
    search(&said, &device, &remote, &forms);
}
