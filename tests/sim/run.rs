//! Telling many stories on all cores, and what is said of those that end badly.

use std::{
    fs::File,
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use super::{Told, script::Script, shrink::shrink, tell, tell_exactly};

/// How often a long run says how far it is.
const PULSE: Duration = Duration::from_secs(10);

/// A number in the environment.
pub(crate) fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Tells the stories of these seeds on all cores, until so many ended badly; those, the smallest
/// seed first.
pub(crate) fn run(seeds: impl Iterator<Item = u64>, stop_after: usize) -> Vec<(u64, Told)> {
    let seeds: Vec<u64> = seeds.collect();
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let failures: Mutex<Vec<(u64, Told)>> = Mutex::default();
    let pulse = Mutex::new((Instant::now(), Instant::now()));
    let digests = std::env::var_os("LARDER_SIM_DIGESTS");
    let digests = digests
        .map(|file| Mutex::new(File::options().append(true).create(true).open(file).unwrap()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(seeds.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !enough.load(SeqCst) {
                    let nth = usize::try_from(next.fetch_add(1, SeqCst)).unwrap();
                    let Some(seed) = seeds.get(nth) else { break };
                    let script = Script::draw(*seed);
                    let told = match &digests {
                        None => tell(&script),
                        Some(file) => tell_into(file, &script),
                    };
                    if told.failed.is_some() {
                        let mut failures = failures.lock().unwrap();
                        failures.push((*seed, told));
                        enough.fetch_or(failures.len() >= stop_after, SeqCst);
                    }
                    say_how_far(&pulse, nth + 1, seeds.len());
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|(seed, _)| *seed);
    failures
}

/// Tells a story and keeps what it is known by, to be held against that of another build.
fn tell_into(file: &Mutex<File>, script: &Script) -> Told {
    let (told, digest) = tell_exactly(script);
    writeln!(file.lock().unwrap(), "{} {digest}", script.seed).unwrap();
    told
}

fn say_how_far(pulse: &Mutex<(Instant, Instant)>, done: usize, of: usize) {
    let mut pulse = pulse.lock().unwrap();
    let (begin, last) = *pulse;
    if last.elapsed() < PULSE && done < of {
        return;
    }
    pulse.1 = Instant::now();
    let seconds = begin.elapsed().as_secs_f64().max(0.001);
    #[allow(clippy::cast_precision_loss, reason = "nobody tells that many stories")]
    let rate = done as f64 / seconds;
    // Past the harness, which keeps what a test prints until it has failed.
    let _ =
        writeln!(std::io::stderr(), "{done} of {of} stories, {seconds:.0} s, {rate:.1} a second");
}

/// Fails with the first of these stories, made as short as can be, if there are any.
pub(crate) fn report(failures: &[(u64, Told)]) {
    let Some((seed, told)) = failures.first() else { return };
    let also: Vec<String> = failures
        .iter()
        .map(|(seed, told)| {
            let why = told.failed.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{seed}: {}", why.chars().take(160).collect::<String>())
        })
        .collect();
    let script = Script::draw(*seed);
    let retold = tell(&script);
    let (shorter, last) = shrink(&script, retold, &tell);
    let why = |told: &Told| told.failed.as_ref().map(ToString::to_string).unwrap_or_default();
    panic!(
        "{}\n\nseed {seed}: {}\n\nthe same in {} of {} steps:\n{}\n{}\n\nfailing seeds:\n{}\n\
         replay: LARDER_SIM_SEED={seed} cargo sim every_story",
        told.story,
        why(told),
        shorter.steps.len(),
        script.steps.len(),
        last.story,
        why(&last),
        also.join("\n")
    );
}
