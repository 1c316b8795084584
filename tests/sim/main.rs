//! The seeded simulation: whole engines over a storage that fails, dies and lies, and an exact
//! record of every edit to hold the outcome against.
//!
//! Everything follows from one number. `LARDER_SIM_SEED=n` replays one story and prints it,
//! `LARDER_SIM_SEEDS=n` sets how many are told, `LARDER_SIM_FROM=n` where they start,
//! `LARDER_SIM_REMOTES=2` leaves out those with one remote, `LARDER_SIM_MIRRORED=1` those without folders
//! that are mirrored. `LARDER_SIM_SHOW=e2` shows what each
//! replica has of that record after each of its turns, `all` shows everything.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "clippy spares test functions but not their helpers, which also fail by panicking"
)]

mod deaths;
mod deeds;
mod edits;
mod files;
mod ground;
mod harm;
mod late;
mod mirror;
mod mutants;
mod oracle;
mod place;
mod promise;
mod replica;
mod rest;
mod run;
mod script;
mod seat;
mod seeds;
mod shape;
mod shrink;
mod time;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use promise::{Broken, Promise};
use run::{asked, report, run};
use script::Script;
use world::World;

/// What became of one story.
#[derive(Debug)]
struct Told {
    failed: Option<Broken>,
    story: String,
}

fn tell(script: &Script) -> Told {
    let (world, failed) = live(script);
    Told { failed, story: world.story.join("\n") }
}

/// Tells a story, and what all of it can be known by.
fn tell_exactly(script: &Script) -> (Told, String) {
    let (world, failed) = live(script);
    // After a panic the world may be in pieces.
    let digest = catch_unwind(AssertUnwindSafe(|| world.digest())).unwrap_or_default();
    (Told { failed, story: world.story.join("\n") }, digest)
}

fn live(script: &Script) -> (World, Option<Broken>) {
    // The probe draws the names of its files from this thread's own generator.
    fastrand::seed(script.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut world = runtime.block_on(async { World::new(script) });
    let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(world.live(script))));
    let failed = match lived {
        Ok(verdict) => verdict.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Promise::NoPanic.broken(text.unwrap_or_default()))
        }
    };
    (world, failed)
}

#[test]
fn every_story_ends_well() {
    if let Some(seed) = asked("LARDER_SIM_SEED") {
        report(&run([seed].into_iter(), 1));
        return;
    }
    let from = asked("LARDER_SIM_FROM").unwrap_or(0);
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let count = asked("LARDER_SIM_SEEDS").unwrap_or(if is_ci { 10_000 } else { 500 });
    let enough = asked("LARDER_SIM_FAILURES").unwrap_or(1);
    let remotes = asked("LARDER_SIM_REMOTES");
    let is_mirrored = asked("LARDER_SIM_MIRRORED").map(|asked| asked > 0);
    let is_meant = |seed: &u64| {
        let shape = Script::draw(*seed).shape;
        remotes.is_none_or(|count| shape.remotes() as u64 == count)
            && is_mirrored.is_none_or(|is| shape.mirrored.is_some() == is)
    };
    report(&run((from..from + count).filter(is_meant), usize::try_from(enough).unwrap()));
}

#[test]
fn what_was_found_once_stays_mended() {
    report(&run(seeds::seeds(), 1));
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..10 {
        let script = Script::draw(seed);
        let ((first, one), (again, two)) = (tell_exactly(&script), tell_exactly(&script));
        let told = first.story.lines().zip(again.story.lines()).find(|(a, b)| a != b);
        assert!(told.is_none() && one == two, "seed {seed}: {told:?}");
    }
}
