//! A process that dies at each single step of its work, one after the other: at every call to the
//! storage, before and after it takes effect, before every transaction, and before every step of
//! writing a file.

use larder::remote::CommitMode;
use larder_providers::{
    Tags,
    layer::{FaultPlan, Moment},
};

use super::{
    live,
    replica::Death,
    script::{Deed, Script, Step},
    seat::Manners,
    shape::Shape,
};

/// So many steps no turn of these stories has.
const STEPS_MAX: u64 = 400;

/// What somebody does who dies in it.
type Work = fn(Death) -> Deed;

fn shape(mode: CommitMode, vaults: bool) -> Shape {
    Shape {
        replicas: 2,
        entities: 3,
        mode,
        vaults,
        copies: false,
        rollbacks: false,
        crashes: true,
        full_disks: false,
        compacts: true,
        races: false,
        ages: false,
        sealed: [false; 2],
        hermit: false,
        patient: false,
        manners: Manners::default(),
        tags: Tags::Exact,
        skews_ms: vec![0, 0],
        faults: FaultPlan::default(),
        bound: Vec::new(),
        ruled: None,
        shift: 0,
        outage: None,
        mixed: false,
        harm: false,
        mirrored: None,
    }
}

/// Two edit, sync and edit again; then the second does its work, and dies in it.
fn script(mode: CommitMode, vaults: bool, last: Deed) -> Script {
    let edit = Deed::Edit { dies: false };
    let deeds = [
        (0, edit),
        (0, edit),
        (1, edit),
        (0, Deed::Sync),
        (1, Deed::Sync),
        (0, Deed::Sync),
        (0, edit),
        (1, edit),
        (0, edit),
        (0, Deed::Sync),
        (1, edit),
        (1, last),
    ];
    let step = |(number, (actor, deed)): (usize, (usize, Deed))| {
        let seed = 7 * number as u64 + 1;
        Step { number: number + 1, actor, wait_ms: 60_000, deed, seed }
    };
    // The first connection of a story dies a few times by chance: not here.
    Script {
        seed: 0,
        shape: shape(mode, vaults),
        steps: deeds.into_iter().enumerate().map(step).collect(),
    }
}

/// Tells the story with each death of a kind until nobody dies any more; how many there were.
fn deaths((mode, vaults): (CommitMode, bool), work: Work, death: impl Fn(u64) -> Death) -> u64 {
    for nth in 1..STEPS_MAX {
        let script = script(mode, vaults, work(death(nth)));
        let (world, failed) = live(&script);
        let told = world.story.join("\n");
        assert!(failed.is_none(), "{mode:?}, {vaults}, {:?}: {failed:?}\n{told}", death(nth));
        let last = script.steps.last().map(|step| format!("{:>3} 1 starts again", step.number));
        if !last.is_some_and(|last| told.contains(&last)) {
            return nth - 1;
        }
    }
    panic!("{mode:?}: a turn of {STEPS_MAX} steps");
}

#[test]
fn a_death_at_any_step_needs_no_help() {
    let works: [(&str, Work); 2] = [
        ("turn", Deed::SyncAndDie),
        ("compaction", |death| Deed::Compact { force: true, dies: Some(death) }),
    ];
    for mode in [CommitMode::IfMatch, CommitMode::Rename, CommitMode::Devices] {
        for vaults in [false, true] {
            for (name, work) in works {
                let how = (mode, vaults);
                let before = deaths(how, work, |nth| Death::Call(nth, Moment::Before));
                let after = deaths(how, work, |nth| Death::Call(nth, Moment::After));
                let commits = deaths(how, work, |nth| Death::Commit(nth - 1));
                let files = deaths(how, work, |nth| Death::File(nth - 1));
                assert_eq!(before, after);
                assert!(before > 2 && commits > 0, "{mode:?}, {vaults}, {name}");
                assert_eq!(files > 0, vaults, "{mode:?}, {vaults}, {name}");
            }
        }
    }
}
