//! A story before it is told: everything that will happen, drawn up front from one number.
//!
//! Each step carries a seed of its own, so a step that is left out changes nothing in the others
//! but what follows from it. That is what makes a story shrink.

use super::{
    replica::Death,
    seeds::{Drawn, drawn},
    shape::{Shape, skew},
};
use larder_providers::layer::Moment;

/// A story to be told.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) number: usize,
    /// To whom: the so-manieth of those there are by then, counted round.
    pub(crate) actor: usize,
    /// How long after the step before.
    pub(crate) wait_ms: i64,
    pub(crate) deed: Deed,
    /// Where everything else is drawn from.
    pub(crate) seed: u64,
}

/// What happens in a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    /// Somebody edits a record, or some of their files.
    Edit {
        dies: bool,
    },
    Sync,
    /// A turn in which the process is to die.
    SyncAndDie(Death),
    /// A turn during which the disk is full for so many writes.
    SyncWhenFull(u64),
    /// A turn in which a person writes into a file, just before its so-manieth write.
    SyncWhileTyping(u64),
    /// Some replicas have their turns side by side.
    SyncTogether,
    Compact {
        force: bool,
        dies: Option<Death>,
    },
    /// A database is backed up, comes back, or is taken along to another device.
    CopyAbout,
    SetClock(i64),
    Reopen,
    /// A backup of the remote is made, or comes back.
    RollBack,
    /// So many days pass.
    Years(i64),
}

/// One story of so many is told on an encrypted remote.
const SEALED_OF: u64 = 16;

/// Makes of a seed another one, by which two remotes are drawn.
const REMOTES_SALT: u64 = 0x2e_3077e5;

/// The same for the types of records.
const TYPES_SALT: u64 = 0x7_79e5;

/// The same for the rules of vaults.
const RULES_SALT: u64 = 0x51_1a35;

/// The same for what servers are like.
const SERVERS_SALT: u64 = 0x5e_12e5;

/// The same for folders that are mirrored.
const MIRROR_SALT: u64 = 0x311_7707;

/// The same for servers that do some writes late.
const LATE_SALT: u64 = 0x1a7_e000;

impl Script {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut shape = Shape::draw(&mut random);
        let drawn = drawn(seed);
        if drawn >= Drawn::Servers {
            shape.draw_remotes(&mut fastrand::Rng::with_seed(seed ^ REMOTES_SALT));
            shape.draw_types(&mut fastrand::Rng::with_seed(seed ^ TYPES_SALT));
            shape.draw_rules(&mut fastrand::Rng::with_seed(seed ^ RULES_SALT));
            shape.draw_servers(&mut fastrand::Rng::with_seed(seed ^ SERVERS_SALT));
        }
        if drawn >= Drawn::Mirrors {
            shape.draw_mirror(&mut fastrand::Rng::with_seed(seed ^ MIRROR_SALT));
        }
        if drawn >= Drawn::All {
            shape.draw_late(&mut fastrand::Rng::with_seed(seed ^ LATE_SALT));
        }
        // Not drawn: the stories of the other seeds stay as they are.
        let is_sealed = seed % SEALED_OF == 3;
        shape.sealed = [is_sealed, is_sealed && seed % (2 * SEALED_OF) == 3];
        let count = random.usize(10..70);
        let steps = (1..=count).map(|number| Step::draw(number, &shape, &mut random)).collect();
        Self { seed, shape, steps }
    }
}

impl Step {
    fn draw(number: usize, shape: &Shape, random: &mut fastrand::Rng) -> Self {
        let wait_ms = random.i64(1..4_000_000);
        let actor = random.usize(..60);
        let (deed, seed) = (Deed::draw(shape, random), random.u64(..));
        let step = Self { number, actor, wait_ms, deed, seed };
        match deed {
            // What was retired may go after a day by the server's clock.
            Deed::Compact { .. } if random.bool() => {
                Self { wait_ms: wait_ms + random.i64(1..200_000_000), ..step }
            }
            _ => step,
        }
    }
}

impl Deed {
    fn draw(shape: &Shape, random: &mut fastrand::Rng) -> Self {
        match random.u32(0..100) {
            0..4 if shape.ages => Self::Years(random.i64(30..900)),
            4..7 if shape.vaults => Self::SyncWhileTyping(random.u64(0..5)),
            7..10 if shape.full_disks => Self::SyncWhenFull(random.u64(1..6)),
            10..13 if shape.vaults && shape.crashes => {
                Self::SyncAndDie(Death::File(random.u64(0..8)))
            }
            0..45 => Self::Edit { dies: shape.crashes && random.u8(0..20) == 0 },
            66..70 | 90..93 if shape.compacts => {
                let dies = shape.crashes && random.u8(0..3) == 0;
                let death = Death::Call(random.u64(1..25), moment(random));
                Self::Compact { force: random.bool(), dies: dies.then_some(death) }
            }
            70..82 if shape.crashes => Self::SyncAndDie(if random.bool() {
                Death::Call(random.u64(1..9), moment(random))
            } else {
                Death::Commit(random.u64(0..4))
            }),
            70..88 if shape.races => Self::SyncTogether,
            88..98 if shape.copies => Self::CopyAbout,
            88..90 => Self::SetClock(skew(random)),
            93..94 => Self::Reopen,
            94..100 if shape.rollbacks => Self::RollBack,
            _ => Self::Sync,
        }
    }
}

pub(crate) fn moment(random: &mut fastrand::Rng) -> Moment {
    if random.bool() { Moment::Before } else { Moment::After }
}
