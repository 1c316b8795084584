//! The binary in a terminal, with somebody who types.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::termios::{LocalFlags, tcgetattr},
};

/// An answer that is none, to what need not be a prompt.
pub(crate) const CTRL_C: &str = "\x03";

/// Runs a command in a terminal of its own: each answer is typed when its prompt has come. The exit
/// code, and what stood on the screen.
#[track_caller]
pub(crate) fn typed(command: &Command, answers: &[(&str, &str)]) -> (i32, String) {
    let (mut child, mut screen) = start(command, &[]);
    let (mut shown, mut chunk, mut from) = (Vec::new(), [0; 4096], 0);
    let mut answers = answers.iter();
    let mut next = answers.next();
    // The end of a terminal is an error.
    while let Ok(read @ 1..) = screen.read(&mut chunk) {
        shown.extend_from_slice(&chunk[..read]);
        while let Some((prompt, answer)) = next {
            let text = String::from_utf8_lossy(&shown[from..]).into_owned();
            if !text.contains(prompt) {
                break;
            }
            from = shown.len();
            next = answers.next();
            if *answer == CTRL_C {
                screen.write_all(answer.as_bytes()).unwrap();
                continue;
            }
            // Who asks shows the prompt first and hides what is typed then.
            while tcgetattr(&screen).unwrap().local_flags.contains(LocalFlags::ECHO) {
                thread::sleep(Duration::from_millis(5));
            }
            screen.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let shown = String::from_utf8(shown).unwrap().replace("\r\n", "\n");
    assert!(next.is_none(), "nobody asked for {next:?}: {shown}");
    (code, shown)
}

/// Runs a command in a terminal of its own and sends it a signal as soon as it asks. The exit code, and
/// what stood on the screen. What is typed after that has to be shown again.
#[track_caller]
pub(crate) fn stopped(command: &Command, prompt: &str, signal: &str) -> (i32, String) {
    // The terminal has to outlive the command, which tells who it is.
    let script = r#"
        trap : INT QUIT HUP
        sh -c 'echo "pid $$"; exec "$@"' sh "$@"
        echo "code $?"
        stty -a
        stty -icanon min 0 time 1
        cat
    "#;
    let (mut child, mut screen) = start(command, &["sh", "-c", script, "sh"]);
    let (mut shown, mut chunk, mut is_sent) = (String::new(), [0; 4096], false);
    while let Ok(read @ 1..) = screen.read(&mut chunk) {
        shown.push_str(&String::from_utf8_lossy(&chunk[..read]).replace("\r\n", "\n"));
        if !is_sent && shown.contains(prompt) {
            while tcgetattr(&screen).unwrap().local_flags.contains(LocalFlags::ECHO) {
                thread::sleep(Duration::from_millis(5));
            }
            screen.write_all(b"half").unwrap();
            // It comes to the terminal by way of a worker of the kernel, and nothing tells when.
            thread::sleep(Duration::from_millis(300));
            let pid = after(&shown, "pid ");
            let sent = match signal {
                "INT" => screen.write_all(CTRL_C.as_bytes()).map(|()| true).unwrap(),
                _ => Command::new("kill").args(["-s", signal, pid]).status().unwrap().success(),
            };
            assert!(sent, "{shown}");
            is_sent = true;
        }
    }
    child.wait().unwrap();
    assert!(is_sent, "nobody asked: {shown}");
    assert!(shown.contains(" echo ") && !shown.contains("-echo "), "nothing is shown: {shown}");
    assert!(!shown.contains("half"), "who comes next gets what was typed: {shown}");
    (after(&shown, "code ").parse().unwrap(), shown)
}

/// The word after another one that begins a line.
#[track_caller]
fn after<'a>(shown: &'a str, word: &str) -> &'a str {
    shown.lines().find_map(|line| line.strip_prefix(word)).unwrap().trim()
}

/// Starts a command, as an argument of another one, in a terminal of its own.
fn start(command: &Command, around: &[&str]) -> (Child, File) {
    let ends = openpty(None, None).unwrap();
    // `setsid` makes the terminal that of the command, so that it has a `/dev/tty`.
    let mut within = Command::new("setsid");
    within
        .args(["--ctty", "--wait"])
        .args(around)
        .arg(command.get_program())
        .args(command.get_args());
    within.current_dir(command.get_current_dir().unwrap()).env_clear();
    within.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let end = || Stdio::from(ends.slave.try_clone().unwrap());
    within.stdin(end()).stdout(end()).stderr(end());
    let child = within.spawn().unwrap();
    drop((within, ends.slave));
    (child, File::from(ends.master))
}
