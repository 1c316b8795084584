//! A simulation that cannot fail proves nothing: each of these breaks a rule of larder, and some
//! story has to notice.

use larder::{
    mutant::{Mutant, breaks},
    remote::CommitMode,
};

use super::{
    Told, promise::Promise, run::asked, script::Script, seeds::seeds, shape::Shape, shrink::shrink,
    tell, tell_exactly,
};

/// A broken rule, in which stories it matters, and which promise they are to find broken.
struct Case {
    mutant: Mutant,
    promise: Promise,
    matters: fn(&Shape) -> bool,
}

const fn case(mutant: Mutant, promise: Promise, matters: fn(&Shape) -> bool) -> Case {
    Case { mutant, promise, matters }
}

/// So many stories in which it matters are told at most.
const STORIES: usize = 3_000;

const CASES: &[Case] = &[
    case(Mutant::LostMeansLost, Promise::WholeHead, |s| s.faults.denied_after > 0.0),
    case(Mutant::DoneMeansDone, Promise::EditsStay, |s| s.faults.lying > 0.0),
    case(Mutant::NoFloor, Promise::NamedFilesStay, |s| s.compacts && s.races),
    case(Mutant::ReusesOld, Promise::WholeHead, |s| s.mixed && s.compacts),
    case(Mutant::NoGrace, Promise::NamedFilesStay, |s| s.compacts),
    case(Mutant::OwnClock, Promise::NamedFilesStay, |s| s.skews_ms.iter().any(|ms| *ms != 0)),
    case(Mutant::FoldsUnread, Promise::HonestClaims, |s| s.faults.torn > 0.0),
    case(Mutant::KnowsUnread, Promise::HonestClaims, |s| s.faults.torn > 0.0),
    case(Mutant::KeepsIdentity, Promise::Convergence, |s| s.copies),
    case(Mutant::WaitsForEver, Promise::NoHelp, |s| s.fools() && s.mode == CommitMode::Devices),
    case(Mutant::OldHeads, Promise::NoHelp, |s| {
        s.faults.stale > 0.1 && s.mode == CommitMode::Devices
    }),
    case(Mutant::SendsOwnOnly, Promise::HonestClaims, |s| s.rollbacks),
    case(Mutant::DropsMarkers, Promise::NoResurrection, |s| s.ages),
    case(Mutant::NoTrash, Promise::EditsStay, |s| !s.ages && !s.vaults),
    case(Mutant::StripsUnseen, Promise::Restorable, |s| s.ages && s.compacts),
    case(Mutant::NotSetAnew, Promise::EditsStay, |s| s.ages && s.compacts && s.hermit),
    case(Mutant::RevivesPartly, Promise::Restorable, |s| s.ages && s.compacts),
    case(Mutant::OldAncestor, Promise::EditsStay, |_| true),
    case(Mutant::JoinDropsSibling, Promise::EditsStay, |s| s.races),
    case(Mutant::JoinRevives, Promise::NoResurrection, |s| !s.vaults),
    case(Mutant::NoJournal, Promise::Restorable, |_| true),
    case(Mutant::NoHistory, Promise::Restorable, |s| !s.vaults),
    case(Mutant::WritesBlindly, Promise::EditsStay, |s| s.vaults),
    case(Mutant::TakesForWritten, Promise::EditsStay, |s| s.vaults && s.crashes),
    case(Mutant::NoRecovery, Promise::Convergence, |s| s.vaults && s.crashes),
    case(Mutant::ExpectsWhole, Promise::NoHelp, |s| s.crashes),
    case(Mutant::CarriesNothing, Promise::HonestClaims, |s| s.remotes() > 1),
    case(Mutant::AnyPath, Promise::Harmless, |s| s.harm),
    case(Mutant::AgreesWithAll, Promise::EditsStay, |s| s.remotes() > 1),
];

fn with<T>(mutant: Mutant, tell: impl FnOnce() -> T) -> T {
    breaks(Some(mutant));
    let told = tell();
    breaks(None);
    told
}

/// How many of how many stories notice, up to the first that finds the right promise broken.
fn noticed(case: &Case) -> (usize, usize, Vec<(Promise, u64)>) {
    // Some rules matter in one of ten thousand stories: those that are known come first.
    let seeds = seeds().chain(asked("LARDER_SIM_FROM").unwrap_or(0)..);
    let scripts = seeds.map(Script::draw).filter(|script| (case.matters)(&script.shape));
    let (mut noticed, mut told, mut broken) = (0, 0, Vec::new());
    let most = asked("LARDER_SIM_SEEDS").map_or(STORIES, |most| usize::try_from(most).unwrap());
    for script in scripts.take(most) {
        told += 1;
        if let Some(found) = with(case.mutant, || tell(&script)).failed {
            noticed += 1;
            broken.push((found.promise, script.seed));
            if found.promise == case.promise {
                break;
            }
        }
    }
    (noticed, told, broken)
}

#[test]
fn every_mutant_is_noticed() {
    let mut missed = Vec::new();
    let only = std::env::var("LARDER_SIM_MUTANT").ok();
    let is_meant =
        |case: &&Case| only.as_ref().is_none_or(|only| *only == format!("{:?}", case.mutant));
    for case in CASES.iter().filter(is_meant) {
        let (noticed, told, mut broken) = noticed(case);
        broken.sort();
        eprintln!("{:?}: noticed by {noticed} of {told} stories: {broken:?}", case.mutant);
        if !broken.iter().any(|(promise, _)| *promise == case.promise) {
            missed.push(case.mutant);
        }
    }
    assert!(missed.is_empty(), "not noticed, or not for what they break: {missed:?}");
}

#[test]
fn chance_from_outside_is_noticed() {
    let differs = |seed: &u64| {
        let script = Script::draw(*seed);
        let digest = || with(Mutant::Unsteady, || tell_exactly(&script)).1;
        digest() != digest()
    };
    assert!((0..10).any(|seed| differs(&seed)));
}

#[test]
fn a_story_that_ends_badly_is_made_short() {
    let tell = |script: &Script| with(Mutant::JoinDropsSibling, || tell(script));
    let ends_badly = |told: &Told| told.failed.as_ref().map(|broken| broken.promise);
    let stories = (0..100).map(Script::draw).map(|script| (tell(&script), script));
    let mut bad = stories.filter(|(told, _)| ends_badly(told) == Some(Promise::EditsStay));
    let (told, script) = bad.next().unwrap();
    let (short, last) = shrink(&script, told, &tell);
    assert_eq!(ends_badly(&last), Some(Promise::EditsStay));
    let (steps, before) = (short.steps.len(), script.steps.len());
    assert!(steps * 2 < before, "{steps} of {before} steps are left");
    assert_eq!(ends_badly(&tell(&short)), Some(Promise::EditsStay));
}
