//! What a seed is made of: every kind of trouble is switched on or off by itself, so that rare
//! mixtures come up as well.

use std::time::Duration;

use larder::remote::CommitMode;
use larder_providers::layer::FaultPlan;

use super::seat::Manners;

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1000;

#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) replicas: usize,
    pub(crate) steps: usize,
    pub(crate) entities: usize,
    pub(crate) mode: CommitMode,
    /// Records lie in files of real folders.
    pub(crate) vaults: bool,
    /// Databases lie in files, which come back from backups and are copied.
    pub(crate) copies: bool,
    /// The remote comes back from a backup.
    pub(crate) rollbacks: bool,
    /// Processes die.
    pub(crate) crashes: bool,
    /// The remote is compacted.
    pub(crate) compacts: bool,
    /// Turns run side by side.
    pub(crate) races: bool,
    pub(crate) patient: bool,
    pub(crate) manners: Manners,
    pub(crate) skews_ms: Vec<i64>,
    pub(crate) faults: FaultPlan,
}

impl Shape {
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let vaults = random.u8(0..8) == 0;
        let copies = !vaults && random.u8(0..6) == 0;
        let mode = if random.bool() { CommitMode::IfMatch } else { CommitMode::Rename };
        let replicas = random.usize(2..=4);
        let skews_ms = (0..replicas).map(|_| skew(random)).collect();
        // A server that is not trusted is probed, and then the lie comes out.
        let manners = match random.u8(0..6) {
            0 => Manners { ignores_conditions: true, untrusted: false },
            1 | 2 => Manners { ignores_conditions: false, untrusted: true },
            _ => Manners::default(),
        };
        let often = |random: &mut fastrand::Rng| match random.u8(0..4) {
            0 => 0.3,
            1 => 0.05,
            _ => 0.0,
        };
        let faults = FaultPlan {
            seed: random.u64(..),
            fail_before: often(random),
            fail_after: often(random),
            slow: often(random),
            slow_for: Duration::from_millis(random.u64(10..2000)),
            stale: often(random),
            // With lies about conditions, meta.json itself could be torn: no commit mode bears that.
            torn: if manners.ignores_conditions { 0.0 } else { often(random) },
        };
        // A commit that a lying server lost is made again by its author, if that one lives.
        let copies = copies && !manners.ignores_conditions;
        Self {
            replicas,
            steps: random.usize(10..70),
            entities: random.usize(1..6),
            mode,
            vaults,
            copies,
            rollbacks: !copies && random.u8(0..5) == 0,
            crashes: random.bool(),
            races: random.bool(),
            // Fences hold only where a commit does.
            compacts: !manners.ignores_conditions && random.bool(),
            patient: random.bool(),
            manners,
            skews_ms,
            faults,
        }
    }
}

pub(crate) fn skew(random: &mut fastrand::Rng) -> i64 {
    match random.u8(0..4) {
        0 | 1 => 0,
        2 => random.i64(-100_000..100_000),
        _ => random.i64(-YEAR_MS..YEAR_MS),
    }
}
