//! How many instructions the inner works take, counted by callgrind and held against a baseline that
//! is kept with the code: a guard against becoming slower that no busy machine disturbs.
//!
//! `cargo bench --bench counts` compares, `cargo bench --bench counts -- --update` writes the
//! baseline anew; say in the commit why. Each work runs under valgrind twice, once with what it needs
//! only being made and once with the work done, and the difference counts.
//!
//! This is done here and not by gungraun (formerly iai-callgrind), because that needs a runner of
//! exactly its own version to be installed beside it, and what is needed is two subtractions.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a program for developers: it may look around, print, and fail by panicking"
)]

mod guard;
#[allow(dead_code, reason = "the comparison of peers draws more from it")]
#[path = "../parts/mersenne.rs"]
mod mersenne;
#[allow(dead_code, reason = "the comparison of peers makes and edits files")]
#[path = "../parts/notes.rs"]
mod notes;
mod works;

use std::{fs, io, process::Command};

use anyhow::{Context as _, ensure};

use guard::Counts;
use works::WORKS;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/counts/baseline.json");

/// The first argument of a process that is to be counted.
const COUNTED: &str = "counted";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [COUNTED, name, times] => {
            let work = WORKS.iter().find(|(work, _)| work == name).context("no such work")?;
            (work.1)(times.parse()?);
            Ok(())
        }
        _ if args.contains(&"--bench") => guard(args.contains(&"--update")),
        _ => {
            println!("skipped: run `cargo bench --bench counts`");
            Ok(())
        }
    }
}

fn guard(update: bool) -> anyhow::Result<()> {
    let version = Command::new("valgrind").arg("--version").output();
    if version.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let skipped = "skipped: valgrind is not installed";
        // Under CI a check that does not run is none.
        ensure!(std::env::var("CI").as_deref() != Ok("true"), skipped);
        println!("{skipped}");
        return Ok(());
    }
    let mut counted = Counts::new();
    for (name, _) in WORKS {
        let (idle, done) = (count(name, 0)?, count(name, 1)?);
        let count = done.checked_sub(idle).context("doing it took less than not doing it")?;
        println!("{name}: {count}");
        counted.insert((*name).to_owned(), count);
    }
    if update {
        fs::write(BASELINE, serde_json::to_string_pretty(&counted)? + "\n")?;
        println!("written: {BASELINE}");
        return Ok(());
    }
    let baseline: Counts = serde_json::from_str(&fs::read_to_string(BASELINE)?)?;
    let breaches = guard::breaches(&baseline, &counted);
    ensure!(
        breaches.is_empty(),
        "\n{}\nIf that is meant: cargo bench --bench counts -- --update",
        breaches.join("\n")
    );
    Ok(())
}

/// Runs this program under callgrind, which does the work so many times.
fn count(name: &str, times: u32) -> anyhow::Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(std::env::current_exe()?).args([COUNTED, name, &times.to_string()]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    guard::collected(&said).with_context(|| format!("{command:?} told no count: {said}"))
}
