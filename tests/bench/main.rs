//! larder beside its peers: the same notes, the same server, the same work, counted by a proxy.
//!
//! `cargo bench --bench peers` runs everything and writes the tables of `docs/benchmarks.md`;
//! `cargo bench --bench peers -- --help` lists what can be chosen.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a program for developers: it may look around, print, and fail by panicking"
)]

mod alone;
mod ground;
mod measure;
mod options;
mod parts;
mod peers;
mod sample;
mod servers;
mod story;
mod tables;

use std::{fs, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;

use options::Options;
use parts::notes;
use peers::Peer;
use sample::{Omitted, Results};
use story::Story;

/// Where notes of every size start from.
const SEED: u32 = 1;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let done = match args.get(1).map(String::as_str) {
        // This program starts itself again: for how each run is measured, see `measure`.
        Some(measure::LAUNCH) => measure::launch(&args[2..]),
        Some(alone::ALONE) => alone::run(&args[2..]),
        _ => bench(&Options::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> anyhow::Result<()> {
    if !options.bench {
        println!("skipped: run `cargo bench --bench peers`");
        return Ok(());
    }
    let keep = options.add || options.tables;
    let mut results = if keep { Results::load()? } else { Results::default() };
    if !options.tables {
        run(options, &mut results)?;
    }
    tables::write(&results, options.out().as_deref()).context("the tables could not be written")?;
    let broken = tables::targets::broken(&results);
    anyhow::ensure!(!options.hold || broken.is_empty(), "broken: {}", broken.join("; "));
    Ok(())
}

/// Plays everything that was chosen.
fn run(options: &Options, results: &mut Results) -> anyhow::Result<()> {
    results.machine = tables::machine::describe();
    let peers = peers::chosen(&options.peers)?;
    // Nothing is removed before the end: for minutes after thousands of files were, ext4 looks for a
    // number for a new file among all of theirs, and whoever comes next seems ten times as slow.
    let yard = tempfile::Builder::new().prefix("larder-bench-").tempdir()?;
    for &notes in &options.notes() {
        let template = yard.path().join(format!("notes-{notes}"));
        fs::create_dir(&template)?;
        notes::fill(&template, notes, SEED)?;
        story::age(&template)?;
        for &delay_ms in &options.delay() {
            for run in 0..options.runs() {
                for &peer in &peers {
                    let (template, yard) = (template.as_path(), yard.path());
                    let story = Story { peer, notes, delay_ms, run, template, yard };
                    let played = play(&story, results);
                    // It takes hours: what is done is done, whatever comes.
                    results.save()?;
                    played?;
                }
            }
        }
    }
    if let Some(records) = options.alone {
        results.replace(alone::NAME, records, 0);
        alone::measure(records, results)?;
        results.save()?;
    }
    Ok(())
}

/// Plays one story, or says why it is left out.
fn play(story: &Story<'_>, results: &mut Results) -> anyhow::Result<()> {
    let Story { peer, notes, delay_ms, run, .. } = *story;
    if run == 0 {
        results.replace(peer.name, notes, delay_ms);
    }
    if let Some(reason) = left_out(peer, notes, delay_ms, run) {
        let omitted = Omitted { peer: peer.name.to_owned(), notes, delay_ms, reason };
        if run == 0 {
            eprintln!("{}: left out: {}", peer.name, omitted.reason);
            results.omitted.push(omitted);
        }
        return Ok(());
    }
    eprintln!("{}: {notes} notes, {delay_ms} ms, run {}", peer.name, run + 1);
    if let Err(error) = story.play(results) {
        // A peer that fails is a line of the table; larder that fails ends the benchmark.
        anyhow::ensure!(peer.name != peers::LARDER, "{}: {error:#}", peer.name);
        eprintln!("{}: {error:#}", peer.name);
        results.replace(peer.name, notes, delay_ms);
        let reason = format!("failed: {}", error.root_cause());
        results.omitted.push(Omitted { peer: peer.name.to_owned(), notes, delay_ms, reason });
    }
    Ok(())
}

/// Why a peer does not take part in this.
fn left_out(peer: &Peer, notes: usize, delay_ms: u64, run: usize) -> Option<String> {
    /// Beyond this a peer that makes requests for every note is run once: it takes minutes.
    const OFTEN: usize = 1000;
    /// And beyond so many notes not at all when each request is held back: it takes hours.
    const DELAYED: usize = 10_000;
    if let Some(missing) = peer.missing() {
        return Some(format!("{missing} is not installed"));
    }
    if delay_ms > 0 && !peer.has_requests {
        return Some("it makes no requests that could be held back".to_owned());
    }
    if peer.per_note && delay_ms > 0 && notes > DELAYED {
        return Some("it makes requests for every note, which would take hours".to_owned());
    }
    (peer.per_note && notes > OFTEN && run > 0).then(|| "run once".to_owned())
}
