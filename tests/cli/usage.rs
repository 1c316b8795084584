//! Commands that cannot work, and what they say.

use std::fs;

use insta::assert_snapshot;

use crate::common::{Device, Place, Ran, Remote, pair, settle};

/// What a failed command said, with folders named by what they are.
#[track_caller]
fn failed(device: &Device, args: &[&str], code: i32) -> String {
    told(device, &device.run(args).exits(code))
}

fn told(device: &Device, ran: &Ran) -> String {
    assert_eq!(ran.stdout, "", "{ran}");
    let root = device.root();
    ran.stderr
        .replace(root.to_str().unwrap(), "VAULT")
        .replace(root.parent().unwrap().to_str().unwrap(), "ABOVE")
}

#[test]
fn a_folder_that_is_no_vault() {
    let device = Device::new("laptop");
    assert_snapshot!(failed(&device, &["sync"], 2), @"error: VAULT lies in no vault; go into one, name it with --vault, or make one with `larder sync DIR --remote URL`");
    assert_snapshot!(failed(&device, &["status", "--vault", "."], 2), @"error: VAULT is not a vault; make it one with `larder sync VAULT --remote URL`");
    assert_snapshot!(failed(&device, &["sync", "nowhere", "--remote", "../r"], 2), @"error: VAULT/nowhere is not a folder; make it first, or check the spelling");
    assert_snapshot!(failed(&device, &["sync", "nowhere"], 2), @"error: VAULT/nowhere is not there; check the spelling, or is a disk not connected?");
    assert_snapshot!(failed(&device, &["status", "--vault", "/dev/null"], 2), @"error: /dev/null is a file; a vault is a folder");
    let link = device.home().join("loop");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let told = failed(&device, &["status", "--vault", link.to_str().unwrap()], 1);
    assert_snapshot!(told, @"error: ABOVE/home/loop: Too many levels of symbolic links (os error 40)");
    let ran = device.run(&["init"]).exits(2);
    assert!(ran.stderr.contains("--remote <URL>"), "{ran}");
    assert_eq!(device.names(), [""; 0]);
    assert!(!device.root().join(".larder").exists());
}

#[test]
fn two_vaults_for_one_command() {
    let (device, remote) = (Device::joined("laptop", &Remote::folder()), Remote::folder());
    fs::create_dir(device.home().join("other")).unwrap();
    for args in [
        &["sync", "../home/other", "--vault", "."][..],
        &["--vault", ".", "sync", "../home/other"],
        &["--vault", ".", "sync", "../home/other", "--remote", remote.url()],
        &["--vault", ".", "init", "../home/other", "--remote", remote.url()],
    ] {
        assert_eq!(
            failed(&device, args, 2),
            "error: ABOVE/home/other and --vault VAULT name two vaults; name one\n"
        );
    }
    device.run(&["sync", ".", "--vault", "../vault"]).exits(0);
}

#[test]
fn addresses_that_cannot_be_used() {
    let device = Device::new("laptop");
    let init = |url| failed(&device, &["init", "--remote", url], 2);
    assert_snapshot!(init("ftp://example.org/x"), @"error: ftp: is no kind of remote that larder knows; use a folder, webdav://, webdavs://, http://, https://, dropbox:/, s3://, gs:// or az://");
    assert_snapshot!(init("dropbox:notes"), @"error: this dropbox: address needs one / and a folder after it: dropbox:/notes");
    assert_snapshot!(init("dropbox:/notes"), @"error: nobody is logged in to Dropbox here: run `larder remote login dropbox:/notes` once, or set LARDER_DROPBOX_TOKEN and LARDER_DROPBOX_APP_KEY");
    assert_snapshot!(init(""), @"error: the remote's address is empty");
    assert_snapshot!(init("https://exa mple.org/"), @r#"error: this https: address cannot be used: invalid international domain name"#);
    assert_snapshot!(init("inside"), @"error: the remote would be inside the vault (remote VAULT/inside, vault VAULT); choose a folder apart from it");
    assert_snapshot!(init(".."), @"error: the vault would be inside the remote (remote ABOVE, vault VAULT); choose a folder apart from it");
}

#[test]
fn a_probe_leaves_nothing() {
    let (device, remote) = (Device::new("laptop"), Remote::folder());
    device.run(&["remote", "probe", remote.url()]).exits(0);
    assert_eq!(fs::read_dir(remote.dir()).unwrap().count(), 0);
    fs::write(remote.dir().join("photo.jpg"), "x").unwrap();
    let told = device.run(&["remote", "probe", remote.url(), "--json"]).exits(0).json();
    assert_eq!((&told["ifMatchOk"], &told["commitMode"]), (&true.into(), &"if-match".into()));
    assert_eq!(fs::read_dir(remote.dir()).unwrap().count(), 1);
}

#[test]
fn a_file_is_no_remote() {
    let device = Device::new("laptop");
    let file = device.home().join("file");
    fs::write(&file, "").unwrap();
    for args in [&["init", "--remote"][..], &["sync", "--remote"], &["remote", "probe"]] {
        let with = |url: &str| failed(&device, &[args, &[url]].concat(), 2);
        let told =
            "error: ABOVE/home/file is a file, not a folder; a remote is a folder of its own\n";
        assert_eq!(with("../home/file"), told);
        let told = "error: ABOVE/home/file/below cannot be a folder: ABOVE/home/file is a file\n";
        assert_eq!(with("../home/file/below"), told);
    }
    assert!(!device.root().join(".larder").exists());
    // So it is where a vault's own remote was.
    let remote = Remote::folder();
    device.init(&remote);
    fs::remove_dir_all(remote.dir()).unwrap();
    fs::write(remote.dir(), "").unwrap();
    let ran = device.run(&["sync"]).exits(2);
    assert!(ran.stderr.contains(" is a file, not a folder"), "{ran}");
    assert_eq!(device.state(), "error");
}

#[test]
#[cfg(feature = "object-stores")]
fn buckets_that_cannot_be_used() {
    let device = Device::new("laptop");
    let init = |url| failed(&device, &["init", "--remote", url], 2);
    assert_snapshot!(init("s3://bucket/notes"), @"error: no credentials for s3://bucket/notes: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write the id of the key before the bucket, s3://ID@bucket/prefix, and larder asks for its secret");
    assert_snapshot!(init("gs://ann@bucket/notes"), @"error: this gs:// address takes no account; GOOGLE_APPLICATION_CREDENTIALS names its file");
    assert_snapshot!(init("s3://bucket/notes?secret=x"), @"error: this s3:// address has a setting that is none; there are ?endpoint= and region=");
    assert_snapshot!(init("az://container/a//b"), @r"error: this az:// address has a prefix that larder does not take (empty parts, %, # or \)");
}

#[test]
#[cfg(feature = "object-stores")]
fn a_bucket_is_not_asked_to_rename() {
    let Some(remote) = Remote::start(crate::common::Place::MOTO) else { return };
    let device = Device::new("laptop");
    let init = ["init", "--remote", remote.url(), "--commit", "rename"];
    assert_snapshot!(failed(&device, &init, 1), @"
    error: the storage cannot keep one writer from overwriting another: it cannot rename
      `--commit devices` (with `larder init` or `larder remote add`) has each device keep a file of its own, which any storage carries; `larder remote probe URL` says what this one can do
    ");
    assert!(remote.files().is_empty(), "nothing is begun there");
}

#[test]
fn a_folder_with_something_else_in_it_is_no_remote() {
    let (device, remote) = (Device::new("laptop"), Remote::folder());
    fs::create_dir(remote.dir()).unwrap();
    fs::write(remote.dir().join("photo.jpg"), "x").unwrap();
    assert_snapshot!(failed(&device, &["init", "--remote", remote.url()], 1), @"
    error: the folder is not empty and holds no larder remote (it has photo.jpg)
      give an empty folder, or a new name in it: a folder that is not there is made
    ");
    assert_eq!(crate::common::tree(remote.dir()).len(), 1);
}

/// A folder on a disk that is not there is not made again, which would hide the real one.
#[test]
fn a_remote_that_vanished_is_not_made_again() {
    let remote = Remote::folder();
    let device = Device::joined("laptop", &remote);
    device.write("note.md", "text\n");
    device.sync();
    fs::rename(remote.dir(), remote.dir().with_file_name("away")).unwrap();
    let ran = device.run(&["sync"]).exits(5);
    assert!(ran.stderr.contains("the remote folder is empty or not there"), "{ran}");
    assert!(ran.stderr.contains("larder sync --recreate-remote"), "{ran}");
    let ran = device.run(&["remote", "probe"]).exits(1);
    assert!(ran.stderr.contains(remote.url()), "{ran}");
    assert!(!remote.dir().exists());
    let moved = remote.dir().with_file_name("away");
    device.run(&["remote", "set", moved.to_str().unwrap()]).exits(0);
    assert_eq!(device.sync().number("requests"), 1);
}

/// Its replica is lost besides, so that nothing says which remote it was.
#[test]
fn a_remote_that_vanished_with_all_that_was_known_of_it() {
    for remote in [Remote::folder(), Remote::start(Place::EncryptedFolder).unwrap()] {
        let device = Device::joined("laptop", &remote);
        device.write("note.md", "text\n");
        device.sync();
        remote.empty();
        fs::remove_file(device.root().join(".larder/replica.db")).unwrap();
        let ran = device.run(&["sync"]).exits(5);
        assert!(ran.stderr.contains("what this device knew of the remote is lost"), "{ran}");
        assert!(ran.stderr.contains("`larder sync --recreate-remote`"), "{ran}");
        device.run(&["sync", "--recreate-remote", "--dry-run"]).exits(5);
        assert!(!remote.files().contains_key("meta.json"));
        device.run(&["sync", "--recreate-remote"]).exits(0);
        device.sync();
        assert_eq!(device.files().len(), 1);
        let other = Device::joined("phone", &remote);
        other.sync();
        assert_eq!(other.files(), device.files());
    }
    // Who only looks is told the same, and what to do.
    let remote = Remote::folder();
    let device = Device::joined("laptop", &remote);
    fs::remove_file(device.root().join(".larder/replica.db")).unwrap();
    for args in [&["check"][..], &["devices"], &["remote", "show"]] {
        let ran = device.run(args).exits(2);
        let words = "what this device knew of the remote folder is lost; run `larder sync` first";
        assert!(ran.stderr.contains(words), "{ran}");
    }
    device.sync();
    device.run(&["check"]).exits(0);
    // Of several it is made in the place of its name.
    let (first, second) = (Remote::folder(), Remote::folder());
    let device = Device::joined("laptop", &first);
    device.run(&["remote", "add", "backup", second.url()]).exits(0);
    device.write("note.md", "text\n");
    device.sync();
    second.empty();
    fs::remove_file(device.root().join(".larder/replica.db")).unwrap();
    let ran = device.run(&["sync"]).exits(5);
    assert!(ran.stderr.contains("`larder sync --recreate-remote --only backup`"), "{ran}");
    device.run(&["sync", "--recreate-remote", "--only", "backup"]).exits(0);
    device.sync();
    let other = Device::joined("phone", &second);
    other.sync();
    assert_eq!(other.read("note.md"), "text\n");
}

#[test]
fn a_vault_in_a_vault_and_a_second_remote() {
    let (remote, other) = (Remote::folder(), Remote::folder());
    let device = Device::joined("laptop", &remote);
    fs::create_dir(device.root().join("sub")).unwrap();
    assert_snapshot!(failed(&device, &["init", "sub", "--remote", other.url()], 2), @"error: VAULT/sub lies inside the vault VAULT; a vault cannot hold another");
    assert_snapshot!(failed(&device, &["sync", "sub"], 2), @"error: VAULT/sub is a folder of the vault VAULT; name that one");
    let link = device.home().join("link");
    std::os::unix::fs::symlink(device.root().join("sub"), &link).unwrap();
    let ran = device.run(&["init", link.to_str().unwrap(), "--remote", other.url()]).exits(2);
    assert!(ran.stderr.contains("lies inside the vault"), "{ran}");
    let ran = device.run(&["sync", "--remote", other.url()]).exits(2);
    assert!(ran.stderr.contains("this vault is connected to "), "{ran}");
    assert!(ran.stderr.contains("larder remote set"), "{ran}");
    device.run(&["sync", "--remote", remote.url()]).exits(0);
}

/// The database takes no path of more than 512 bytes.
#[test]
fn a_folder_that_cannot_be_a_vault_stays_as_it_was() {
    let device = Device::new("laptop");
    let deep = ["x".repeat(200), "x".repeat(200), "x".repeat(200)].join("/");
    device.write(&format!("{deep}/note.md"), "text\n");
    let remote = Remote::folder();
    device.run(&["init", &deep, "--remote", remote.url()]).exits(1);
    assert!(!device.root().join(deep).join(".larder").exists());
}

#[test]
fn one_command_is_all_the_set_up() {
    let (device, remote) = (Device::new("laptop"), Remote::folder());
    device.write("note.md", "text\n");
    let ran = device.run(&["sync", "--remote", remote.url()]).exits(0);
    assert!(ran.stdout.starts_with("Made a new remote at "), "{ran}");
    assert!(ran.stdout.contains("\n1 sent; 1 record in step. (4 requests, "), "{ran}");
    let other = Device::new("phone");
    let ran = other.run(&["sync", "--remote", remote.url()]).exits(0);
    assert!(ran.stdout.starts_with("Joined the remote at "), "{ran}");
    assert_eq!(other.files(), device.files());
    // From below the vault's folder it is found, as git finds its own.
    other.write("sub/two.md", "two\n");
    let mut below = other.command(&["sync"]);
    assert!(below.current_dir(other.root().join("sub")).status().unwrap().success());
    assert_eq!(device.sync().number("pulled"), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn folders_whose_names_are_no_text() {
    use std::os::unix::ffi::OsStrExt as _;
    let device = Device::new("laptop");
    let odd = device.home().join(std::ffi::OsStr::from_bytes(b"od\xffd"));
    fs::create_dir(&odd).unwrap();
    let vault = device.root().display().to_string();
    let args = ["init", &vault, "--remote", "remote"];
    let ran = Ran::new(&args, device.command(&args).current_dir(&odd).output().unwrap()).exits(2);
    assert!(ran.stderr.contains("written in a way that larder cannot keep"), "{ran}");
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0);
    let mut demo = device.command(&["demo", "--json"]);
    assert_eq!(demo.arg(&odd).output().unwrap().status.code(), Some(2));
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0);
    let file = device.home().join("file");
    fs::create_dir(&file).unwrap();
    fs::write(file.join(".larder"), "").unwrap();
    let ran = device.run(&["--vault", file.to_str().unwrap(), "status"]).exits(2);
    assert!(
        ran.stderr.contains("/.larder is a file, and a vault has a folder of that name"),
        "{ran}"
    );
    let ran = device.run_in(&[("HOME", None)], &["init", "--remote", "~/remote"]).exits(2);
    assert!(ran.stderr.contains("there is no HOME folder"), "{ran}");
}

#[test]
fn names_that_mean_nothing() {
    let device = Device::joined("laptop", &Remote::folder());
    let failed = |args: &[&str], code| failed(&device, args, code);
    assert_snapshot!(failed(&["show", "gone.md"], 2), @r#"error: there is no record "gone.md" in this vault"#);
    assert_snapshot!(failed(&["rm", "../x"], 2), @r#"error: there is no record "../x" in this vault"#);
    assert_snapshot!(failed(&["conflicts", "show", "zz"], 2), @r#"error: there is no conflict "zz"; see `larder conflicts`"#);
    assert_snapshot!(failed(&["restore", "x", "--at", "soon"], 2), @r#"error: "soon" is neither a version nor a time like 2026-11-20T10:30:00Z"#);
    assert_snapshot!(failed(&["put", "--type", "task", "[1]"], 2), @r#"error: the fields must be one JSON object, like {"title": "Buy milk"}"#);
    for args in [
        &["restore", "gone.md"][..],
        &["log", "gone.md"],
        &["conflicts", "resolve", "zz", "--keep", "local"],
        &["devices", "forget", "gone"],
        &["remote", "remove", "gone"],
        &["sync", "--only", "gone"],
    ] {
        device.run(args).exits(2);
    }
    let ran = device.run(&["show", "gone.md", "--json"]).exits(2).json();
    assert_snapshot!(ran, @r#"{"error":{"code":2,"hint":null,"kind":"usage","message":"there is no record \"gone.md\" in this vault"}}"#);
    device.run(&["frobnicate"]).exits(2);
    for time in ["0s", "18446744073709551615", "365000h"] {
        device.run(&["daemon", "--interval", time]).exits(2);
        device.run(&["torture", "/tmp/none", "--duration", time]).exits(2);
    }
}

#[test]
fn a_path_is_seen_from_the_current_folder() {
    let device = Device::joined("laptop", &Remote::folder());
    for path in ["a.md", "sub/a.md", "only.md", "sub/below/b.md"] {
        device.write(path, format!("text of {path}\n"));
    }
    device.sync();
    let run = |args: &[&str]| {
        let mut command = device.command(args);
        Ran::new(args, command.current_dir(device.root().join("sub")).output().unwrap())
    };
    let whole = device.root().join("a.md");
    for (named, found) in [
        ("a.md", "sub/a.md"),
        ("./a.md", "sub/a.md"),
        ("../a.md", "a.md"),
        (whole.to_str().unwrap(), "a.md"),
        ("below/b.md", "sub/below/b.md"),
        ("sub/a.md", "sub/a.md"),
        ("only.md", "only.md"),
    ] {
        assert_eq!(run(&["show", named, "--json"]).exits(0).json()["path"], found, "{named}");
        assert_eq!(run(&["log", named, "--json"]).exits(0).json()["path"], found, "{named}");
    }
    run(&["rm", "a.md"]).exits(0);
    assert_eq!(device.names(), ["a.md", "only.md", "sub/below/b.md"]);
    run(&["rm", "a.md"]);
    assert_eq!(device.names(), ["a.md", "only.md", "sub/below/b.md"], "not the one above");
    run(&["restore", "a.md"]).exits(0);
    assert_eq!(device.read("sub/a.md"), "text of sub/a.md\n");
    // One that no sync has seen yet is no reason to take another.
    device.write("sub/only.md", "new\n");
    let ran = run(&["rm", "only.md"]).exits(2);
    assert!(ran.stderr.contains("there is no record \"sub/only.md\""), "{ran}");
    assert_eq!(device.names().len(), 5);
    // What lies in no vault is as seen from the vault's folder.
    let mut command = device.command(&["show", "only.md", "--vault", "../vault", "--json"]);
    assert!(command.current_dir(device.home()).status().unwrap().success());
}

/// A record that lies beside its place, as another has that, is found there no more once it is deleted.
#[test]
fn what_rm_names_is_what_restore_finds() {
    let (a, b) = pair(&Remote::folder());
    // Without a common id each is a record of its own.
    a.run(&["put", "--type", "x", "--id", "one", r#"{"path":"foo.md","body":"one\n"}"#]).exits(0);
    b.run(&["put", "--type", "x", "--id", "two", r#"{"path":"foo.md","body":"two\n"}"#]).exits(0);
    settle(&[&a, &b]);
    let files = a.files();
    assert_eq!(a.names(), ["foo (2).md", "foo.md"]);
    for name in ["foo (2).md", "foo.md"] {
        let ran = a.run(&["rm", name]).exits(0);
        let named = ran.stdout.split("`larder restore ").nth(1).unwrap();
        let named = named.split('`').next().unwrap().trim_matches('\'').to_owned();
        a.run(&["restore", &named]).exits(0);
        // Its place may be another one's until then.
        a.sync();
        assert_eq!(a.files(), files, "{ran}");
    }
}

/// Rules that cannot be read change nothing, and the user is told where they are wrong.
#[test]
fn broken_rules() {
    let device = Device::joined("laptop", &Remote::folder());
    device.write("larder.toml", "[[type]]\nname = \"task\"\nfiles = [\"*.md\"]\n");
    device.write("a.md", "text\n");
    device.sync();
    for (text, why) in [
        ("[[type]\n", "TOML parse error at line 1"),
        ("[[type]]\nname = \"a b\"\n", "the type name \"a b\" is not"),
        ("[[type]]\nname = \"task\"\ncolour = 1\n", "unknown field `colour`"),
        ("[[type]]\nname = \"task\"\n[type.fields]\nx = \"best\"\n", "unknown variant `best`"),
        ("[[type]]\nname = \"task\"\nfiles = [\"a[\"]\n", "type \"task\": error parsing glob"),
        (
            "[[type]]\nname = \"task\"\n[[type]]\nname = \"task\"\n",
            "there are two [[type]] with the name \"task\"",
        ),
    ] {
        device.write("larder.toml", text);
        let ran = device.run(&["sync"]).exits(0);
        assert!(ran.said().contains(why), "{ran}");
        assert!(ran.said().contains("the rules before stay in force"), "{ran}");
        assert_eq!(device.run(&["list", "--type", "task"]).stdout, "task       v1    a.md\n");
    }
}

#[test]
fn help_completions_and_the_manual() {
    let device = Device::new("laptop");
    let help = device.run(&["--help"]).exits(0).stdout;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = device.run(&["completions", shell]).exits(0).stdout;
        assert!(script.contains("larder") && script.contains("conflicts"), "{shell}");
    }
    let manual = device.run(&["man"]).exits(0).stdout;
    assert!(manual.contains(".TH larder 1"), "{manual}");
    for command in ["init", "sync", "status", "list", "show", "put", "rm", "restore", "conflicts"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        assert!(manual.contains(command));
        device.run(&[command, "--help"]).exits(0);
    }
    assert!(device.run(&["--version"]).exits(0).stdout.starts_with("larder 0."));
}

#[test]
fn a_password_in_a_command_line_that_cannot_be_read_is_not_said_again() {
    let device = Device::new("laptop");
    for url in [
        "webdavs://ann:pl4nted@example.org/x",
        "WEBDAVS://ann:pl4nted@example.org",
        "webdavs//ann:pl4nted@example.org/x",
        "s3://ID:pl4nt/pl4nted@bucket/x",
        "https://ann:pl4nted",
    ] {
        let attached =
            ["--no-such=", "--commit=", "--interval=", "-x"].map(|option| option.to_owned() + url);
        let [no_such, commit, interval, short] = &attached;
        for args in [
            &[url][..],
            &["help", url],
            &["help", "sync", url],
            &["--help", url],
            &["sync", "--help", url],
            &["sync", "-h", "--remote", url],
            &["-V", url],
            &["sync", "--remote", url, url],
            &["sync", "--remote", url, "--no-such"],
            &["sync", "--remote", url, "--remote", url],
            &["sync", no_such],
            &["sync", short],
            &["init", "--remote", url, "--commit", url],
            &["init", "--remote", url, commit],
            &["daemon", interval],
            &["daemon", "--interval", url],
            &["remote", url],
            &["remote", "set"],
            &["remote", "help", url],
            &["remote", "login", url, "--port", url],
            &["completions", url],
            &["torture", url, "--devices", url],
            &["list", url, "--json"],
        ] {
            let ran = device.run(args);
            assert!([0, 2].contains(&ran.code), "{ran}");
            assert!(!ran.stdout.contains("pl4nt") && !ran.stderr.contains("pl4nt"), "{ran}");
        }
    }
    assert!(device.names().is_empty(), "{:?}", device.names());
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_gone_is_no_reason_to_panic() {
    let device = Device::new("laptop");
    for args in [&["sync", "--only", "nope"][..], &["sync", "--nope"], &["status"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let status = device.command(args).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(2), "{args:?}");
    }
}
