//! Logging in to Dropbox, and what is told when that ends.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use larder_providers::testing::{DROPBOX_APP_KEY, DROPBOX_TOKEN};
use url::Url;

use crate::common::{Device, Place, Ran, Remote, tree};

/// A device that knows where the server is, and has no login.
fn stranger(remote: &Remote) -> impl Fn(&Device, &[&str]) -> Command {
    let url = remote.dropbox().unwrap().url().to_string();
    move |device, args| {
        let mut command = device.command(args);
        command.env("LARDER_TEST_DROPBOX_URL", &url).env_remove("LARDER_PASSWORD");
        command
    }
}

/// What a browser gets at an address.
fn visit(url: &Url) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
    let target = &url[url::Position::BeforePath..];
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Logs in: starts the command, reads the page's address from what it says, and has `person` do what a
/// person does there; what that gives is typed in.
fn log_in(mut command: Command, person: impl FnOnce(&Url) -> String) -> (bool, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut page) = (String::new(), None);
    while page.is_none() {
        let mut line = String::new();
        if out.read_line(&mut line).unwrap() == 0 {
            break;
        }
        page = line.trim().starts_with("http").then(|| Url::parse(line.trim()).unwrap());
        said.push_str(&line);
    }
    if let Some(page) = page {
        let typed = person(&page);
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    }
    out.read_to_string(&mut said).unwrap();
    let output = child.wait_with_output().unwrap();
    said.push_str(&String::from_utf8(output.stderr).unwrap());
    (output.status.success(), said)
}

fn code_on(page: &Url) -> String {
    format!("{}\n", visit(page).split('"').nth(1).unwrap_or_default())
}

#[test]
fn a_login_is_made_once_and_lasts_until_it_is_revoked() {
    let Some(remote) = Remote::start(Place::DROPBOX) else { return };
    let (server, device) = (remote.dropbox().unwrap(), Device::new("laptop"));
    let command = stranger(&remote);
    device.write("note.md", "text\n");
    let login = ["remote", "login", "dropbox:/notes", "--app-key", DROPBOX_APP_KEY, "-vvv"];
    let (is_good, mut said) = log_in(command(&device, &login), code_on);
    assert!(is_good && said.contains("larder sync --remote dropbox:/notes"), "{said}");
    let file = device.home().join("state/larder/passwords.json");
    assert!(said.contains("The login at Dropbox is kept in "), "{said}");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("refreshToken") && kept.contains(DROPBOX_APP_KEY), "{kept}");
    let run = |args: &[&str]| {
        let output = command(&device, args).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    for args in [
        &["sync", "--remote", "dropbox:/notes", "-vvv"][..],
        &["sync", "-vvv", "--json"],
        &["remote", "show", "-vvv"],
        &["check", "--read-data", "-vvv"],
    ] {
        let (code, told) = run(args);
        assert_eq!(code, Some(0), "{told}");
        said.push_str(&told);
    }
    assert!(said.contains("files/upload"), "requests are told at -vv");
    let refresh = kept.split('"').find(|text| text.starts_with("refresh-")).unwrap();
    let refresh = refresh.trim_end_matches('\\').to_owned();
    for secret in [refresh.as_str(), "sl.access-"] {
        assert!(!said.contains(secret), "{said}");
        for (path, text) in tree(&device.root()) {
            assert!(!String::from_utf8_lossy(&text.0).contains(secret), "{path}");
        }
    }
    let access = device.home().join("state/larder/dropbox-access.json");
    assert_eq!(access.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    server.expire_tokens();
    assert_eq!(run(&["sync"]).0, Some(0), "an end of an access token is no news");
    server.revoke();
    let (code, told) = run(&["sync"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("has ended: it was revoked there"), "{told}");
    assert!(told.contains("log in again with `larder remote login"), "{told}");
    // The next login knows the app still.
    let (is_good, said) = log_in(command(&device, &["remote", "login", "dropbox:/"]), code_on);
    assert!(is_good, "{said}");
    assert_eq!(run(&["sync"]).0, Some(0));

    let (code, told) = run(&["remote", "logout"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("The login at Dropbox is forgotten."), "{told}");
    assert!(!access.exists() && !std::fs::read_to_string(&file).unwrap().contains(&refresh));
    let (code, told) = run(&["sync"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("nobody is logged in to Dropbox here"), "{told}");
    assert!(run(&["remote", "logout", "dropbox:/"]).1.contains("No login at Dropbox is kept."));
}

#[test]
fn a_code_comes_by_the_browser_too() {
    let Some(remote) = Remote::start(Place::DROPBOX) else { return };
    let (device, command) = (Device::new("laptop"), stranger(&remote));
    let login = ["remote", "login", "dropbox:/notes", "--app-key", DROPBOX_APP_KEY, "--port", "0"];
    let (is_good, said) = log_in(command(&device, &login), |page| {
        let answer = visit(page);
        let back = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        let back = Url::parse(back.trim()).unwrap();
        // What belongs to no login is sent away.
        for stray in
            ["/favicon.ico", "/?state=", "/?code=c0de&state=other", "/?error=x&state=other"]
        {
            let told = visit(&back.join(stray).unwrap());
            assert!(told.starts_with("HTTP/1.1 404 "), "{stray}: {told}");
        }
        assert!(visit(&back).contains("larder is logged in"));
        String::new()
    });
    assert!(is_good && said.contains("Logged in"), "{said}");
}

#[test]
fn a_login_that_fails_is_not_kept() {
    let Some(remote) = Remote::start(Place::DROPBOX) else { return };
    let (device, command) = (Device::new("laptop"), stranger(&remote));
    for (typed, words) in [
        ("nonsense\n", "does not take this code"),
        ("\n", "no code was given; nothing was changed"),
    ] {
        let login = ["remote", "login", "dropbox:/notes", "--app-key", DROPBOX_APP_KEY];
        let (is_good, said) = log_in(command(&device, &login), |_| typed.to_owned());
        assert!(!is_good && said.contains(words), "{said}");
        assert!(!said.contains("LARDER_PASSWORD"), "{said}");
    }
    let login = ["remote", "login", "dropbox:/", "--app-key", DROPBOX_APP_KEY, "--port", "0"];
    let (is_good, said) = log_in(command(&device, &login), |page| {
        let query: std::collections::BTreeMap<_, _> = page.query_pairs().collect();
        let back =
            format!("{}?error=access_denied&state={}", query["redirect_uri"], query["state"]);
        assert!(visit(&Url::parse(&back).unwrap()).contains("It did not work"));
        String::new()
    });
    assert!(!is_good && said.contains("the login was refused on Dropbox's page"), "{said}");
    assert!(!said.contains("LARDER_PASSWORD"), "{said}");
    assert!(!device.home().join("state/larder/passwords.json").exists());
    let ran = |args: &[&str]| Ran::new(args, command(&device, args).output().unwrap());
    let told = ran(&["remote", "login", "dropbox:/notes"]).exits(2);
    assert!(told.stderr.contains("https://www.dropbox.com/developers/apps"), "{told}");
    let told = ran(&["remote", "login", "webdavs://ann@example.org/x"]).exits(2);
    assert!(told.stderr.contains("only Dropbox is logged in to"), "{told}");
    let told = ran(&["sync", "--remote", "dropbox:/notes"]).exits(2);
    assert!(told.stderr.contains("run `larder remote login dropbox:/notes` once"), "{told}");
    // Nobody but this machine can stand in for Dropbox.
    let mut elsewhere = device.command(&["sync", "--remote", "dropbox:/notes"]);
    elsewhere.env("LARDER_TEST_DROPBOX_URL", "http://example.org/");
    elsewhere.env("LARDER_DROPBOX_TOKEN", DROPBOX_TOKEN).env("LARDER_DROPBOX_APP_KEY", "key1");
    let output = elsewhere.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("only a server on this machine"), "{told}");
}
