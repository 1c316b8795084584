//! The binary in a terminal, with somebody who types.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::termios::{LocalFlags, tcgetattr},
};

/// Runs a command in a terminal of its own: each answer is typed when its prompt has come. The exit
/// code, and what stood on the screen.
#[track_caller]
pub(crate) fn typed(command: &Command, answers: &[(&str, &str)]) -> (i32, String) {
    let ends = openpty(None, None).unwrap();
    // `setsid` makes the terminal that of the command, so that it has a `/dev/tty`.
    let mut within = Command::new("setsid");
    within.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
    within.current_dir(command.get_current_dir().unwrap()).env_clear();
    within.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let end = || Stdio::from(ends.slave.try_clone().unwrap());
    within.stdin(end()).stdout(end()).stderr(end());
    let mut child = within.spawn().unwrap();
    drop((within, ends.slave));
    let mut screen = File::from(ends.master);
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
            // Who asks shows the prompt first and hides what is typed then.
            while tcgetattr(&screen).unwrap().local_flags.contains(LocalFlags::ECHO) {
                thread::sleep(Duration::from_millis(5));
            }
            screen.write_all(format!("{answer}\n").as_bytes()).unwrap();
            next = answers.next();
        }
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let shown = String::from_utf8(shown).unwrap().replace("\r\n", "\n");
    assert!(next.is_none(), "nobody asked for {next:?}: {shown}");
    (code, shown)
}
