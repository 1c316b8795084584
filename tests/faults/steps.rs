//! Processes killed after each single call to the system that changes a disk, one after the other: writes,
//! what makes them durable, renames, removals, folders, in the vault, in its replica and on the remote.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind},
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{Device, Place, Remote, settle};

/// What changes a disk.
const CALLS: &str = "?fsync,?fdatasync,?rename,?renameat,?renameat2,?link,?linkat,?unlink,?unlinkat,?mkdir,?mkdirat,\
                     ?write,?pwrite64,?ftruncate,?copy_file_range";

/// How long each of these calls is held up once it is done, in microseconds: time to kill who made it
/// before the next.
const DELAY_US: u64 = 1_000;

/// So many calls no command here makes.
const CALLS_MAX: usize = 1_000;

#[test]
fn of_a_sync() {
    at_each_call(&["sync"]);
}

#[test]
fn of_a_compaction() {
    at_each_call(&["compact", "--force"]);
}

fn at_each_call(command: &[&str]) {
    let Some(remote) = Remote::start(Place::Folder) else { return };
    let (a, b) = (Device::joined("laptop", &remote), Device::joined("phone", &remote));
    b.write("moving 0.md", "moves\n");
    live(&a, &b, 0);
    settle(&[&a, &b]);
    let mut killed = 0;
    for nth in 1..CALLS_MAX {
        live(&a, &b, nth);
        b.sync().exits(0);
        let Some(was_killed) = kill_after(&a, command, nth) else { return };
        a.sync().exits(0);
        let names = ["laptop", "moving", "phone"].map(|name| format!("{name} {nth}.md"));
        let photo = format!("photo {nth}.jpg");
        assert_eq!(a.names(), [&names[..], &[photo]].concat(), "after call {nth}");
        if nth % 16 == 0 {
            b.sync().exits(0);
            assert_eq!(a.files(), b.files(), "after call {nth}");
            a.is_sound();
        }
        if !was_killed {
            break;
        }
        killed = nth;
    }
    eprintln!("{command:?}: killed after each of {killed} calls");
    assert!(killed > 50 && killed < CALLS_MAX - 1, "{killed} calls");
    settle(&[&a, &b]);
    assert_eq!(a.files(), b.files());
    a.is_sound();
    b.is_sound();
}

/// Both make a file in the place of the one before; the second moves one, too, and takes another photo.
fn live(a: &Device, b: &Device, day: usize) {
    a.write(&format!("laptop {day}.md"), format!("---\nday: {day}\n---\nlaptop\n"));
    b.write(&format!("phone {day}.md"), format!("---\nday: {day}\n---\nphone\n"));
    b.write(
        &format!("photo {day}.jpg"),
        [&[0, 159, 146, 150], day.to_string().as_bytes()].concat(),
    );
    if let Some(before) = day.checked_sub(1) {
        a.delete(&format!("laptop {before}.md"));
        b.delete(&format!("phone {before}.md"));
        b.delete(&format!("photo {before}.jpg"));
        b.rename(&format!("moving {before}.md"), &format!("moving {day}.md"));
    }
}

/// Runs a command that is killed after so many calls; whether it came so far. Nothing where that cannot
/// be done.
fn kill_after(device: &Device, args: &[&str], calls: usize) -> Option<bool> {
    let told = device.home().join("calls");
    if !told.exists() {
        mknodat(CWD, &told, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }
    let mut child = match traced(device, args, &told).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "strace is not installed");
            eprintln!("skipped: strace is not installed");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let lines = BufReader::new(File::open(&told).unwrap()).lines().map(Result::unwrap);
    let mut made = lines.filter(|line| line.contains('(') && !line.contains("resumed>"));
    let last = made.nth(calls - 1);
    if let Some(line) = &last {
        let thread = line.split_whitespace().next().unwrap();
        // Whoever dies by itself meanwhile is done.
        let _ = kill(Pid::from_raw(thread.parse().unwrap()), Signal::SIGKILL);
    }
    made.for_each(drop);
    let ended = child.wait().unwrap();
    assert!(last.is_some() || ended.success(), "{ended}");
    Some(last.is_some())
}

/// The command as `strace` runs it, which tells each of its calls into `told`.
fn traced(device: &Device, args: &[&str], told: &Path) -> Command {
    let command = device.command(args);
    let mut traced = Command::new("strace");
    traced.args(["-f", "--seccomp-bpf", "-qqq", "-o"]).arg(told);
    traced.args(["-e", &format!("trace={CALLS}")]);
    traced.args(["-e", &format!("inject={CALLS}:delay_exit={DELAY_US}")]);
    traced.arg(command.get_program()).args(command.get_args());
    traced.current_dir(device.root()).env_clear();
    traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    traced.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced
}
