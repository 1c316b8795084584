//! What the figures were made on, and with.

use std::{fs, process::Command};

/// A paragraph about the machine and one about the programs.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let gib = field("/proc/meminfo", "MemTotal").and_then(|text| {
        let kib: f64 = text.split(' ').next()?.parse().ok()?;
        Some(format!("{:.0} GiB", kib / 1024.0 / 1024.0))
    });
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let system = first_line("uname", &["-sr"]).unwrap_or_default();
    let commit =
        first_line("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
    let day = first_line("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default();
    let programs = [
        ("git", "--version"),
        ("rclone", "--version"),
        ("unison", "-version"),
        ("rsync", "--version"),
        ("tar", "--version"),
        ("zstd", "--version"),
        ("curl", "--version"),
    ];
    let versions: Vec<String> =
        programs.iter().filter_map(|(program, how)| version(program, how)).collect();
    format!(
        "Run on {day}, larder {} at {}: {cores} cores ({processor}), {}, {system}, everything on \
         one machine over the loopback.\nWith {}.\n",
        env!("CARGO_PKG_VERSION"),
        commit.as_deref().unwrap_or("an unknown commit"),
        gib.unwrap_or_default(),
        versions.join(", ")
    )
}

/// The name of a program and the first word of what it says that has a digit in it.
fn version(program: &str, how: &str) -> Option<String> {
    let line = first_line(program, &[how])?;
    let mut words = line.split([' ', ',']);
    let number = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit() || c == 'v'))?;
    let is_number = |number: &str| number.contains(|c: char| c.is_ascii_digit());
    let number = if is_number(number) { Some(number) } else { words.find(|word| is_number(word)) };
    Some(format!("{program} {}", number?.trim_start_matches('v')))
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
