//! What a seed is made of: every kind of trouble is switched on or off by itself, so that rare
//! mixtures come up as well.

use std::time::Duration;

use larder::remote::CommitMode;
use larder_providers::{Tags, layer::FaultPlan};

use super::{seat::Manners, world::TYPES};

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) replicas: usize,
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
    /// Disks are full for a while.
    pub(crate) full_disks: bool,
    /// The remote is compacted.
    pub(crate) compacts: bool,
    /// Turns run side by side.
    pub(crate) races: bool,
    /// Years pass.
    pub(crate) ages: bool,
    /// Which remotes are encrypted.
    pub(crate) sealed: [bool; 2],
    /// One replica does nothing for most of the story.
    pub(crate) hermit: bool,
    pub(crate) patient: bool,
    pub(crate) manners: Manners,
    pub(crate) tags: Tags,
    pub(crate) skews_ms: Vec<i64>,
    pub(crate) faults: FaultPlan,
    /// Where there are two remotes, which of them each replica has.
    pub(crate) bound: Vec<Vec<usize>>,
    /// When a vault gets rules, and by whom and which.
    pub(crate) ruled: Option<(usize, usize)>,
    /// By how much the types of the records are shifted.
    pub(crate) shift: usize,
    /// One of two remotes cannot be reached for a while: which, from which step, up to which.
    pub(crate) outage: Option<(usize, usize, usize)>,
    /// Among turns that run side by side there are compactions, and processes that die.
    pub(crate) mixed: bool,
    /// Somebody who can write to the remote means harm.
    pub(crate) harm: bool,
    /// The remotes lie in folders that are mirrored; of so many files that are on their way one arrives
    /// at a time.
    pub(crate) mirrored: Option<u8>,
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
            0 => Manners { ignores_conditions: true, ..Manners::default() },
            1 | 2 => Manners { untrusted: true, ..Manners::default() },
            _ => Manners::default(),
        };
        let tags = match random.u8(0..10) {
            0 => Tags::Seconds,
            1 => Tags::WeakWhenFresh,
            _ => Tags::Exact,
        };
        let mut shape = Self {
            replicas,
            entities: random.usize(1..6),
            mode,
            vaults,
            copies,
            rollbacks: !copies && random.u8(0..5) == 0,
            crashes: random.bool(),
            full_disks: random.u8(0..4) == 0,
            races: random.bool(),
            compacts: random.bool(),
            // In vaults the history is what the files are held against, and it ends.
            ages: !vaults && random.u8(0..4) == 0,
            sealed: [false; 2],
            hermit: random.u8(0..4) == 0,
            patient: random.bool(),
            manners,
            tags,
            skews_ms,
            faults: draw_faults(random),
            bound: Vec::new(),
            ruled: None,
            shift: 0,
            outage: None,
            mixed: false,
            harm: false,
            mirrored: None,
        };
        // Who is away long enough meets deletions whose trash is emptied.
        shape.hermit |= shape.ages && random.bool();
        let is_blind = mode == CommitMode::IfMatch && tags == Tags::Seconds;
        if manners.ignores_conditions || is_blind {
            // A commit that a server lost is made again by its author, if that one lives; and fences
            // hold only where a commit does. Where that is elsewhere than in conditions, see
            // `draw_servers`.
            shape.copies = false;
            shape.compacts = false;
        }
        if manners.ignores_conditions {
            // meta.json itself could be torn: no commit mode bears that.
            shape.faults.torn = 0.0;
        }
        if mode == CommitMode::IfMatch && !manners.untrusted {
            // Who is trusted is believed.
            shape.faults.lying = 0.0;
        }
        if mode == CommitMode::IfMatch && manners.ignores_conditions {
            // Mode if-match is taken where conditions are promised or proven. Who breaks that promise, and
            // tells versions by the second and the length alone, leaves no way to see a lost commit.
            shape.tags = Tags::Exact;
        }
        // Drawn last: the stories of the other modes stay what they were.
        if random.u8(0..4) == 0 {
            shape.mode = CommitMode::Devices;
            if !manners.untrusted && !shape.fools() {
                // Who is trusted is believed.
                shape.faults.lying = 0.0;
            }
        }
        shape
    }

    /// Draws whether there are two remotes, and who has which: somebody always has both. From a source
    /// of its own, so that the stories with one remote stay what they were.
    pub(crate) fn draw_remotes(&mut self, random: &mut fastrand::Rng) {
        if random.u8(0..4) > 0 {
            return;
        }
        let wishes = [vec![0], vec![1], vec![0, 1], vec![1, 0]];
        self.bound = (0..self.replicas)
            .map(|_| random.choice(&wishes).cloned().unwrap_or_default())
            .collect();
        let both = random.usize(..self.replicas);
        self.bound[both] = if random.bool() { vec![0, 1] } else { vec![1, 0] };
        if random.u8(0..3) == 0 {
            let from = random.usize(1..30);
            self.outage = Some((random.usize(..2), from, from + random.usize(5..30)));
        }
    }

    /// Draws which types the records have, from a source of its own as well.
    pub(crate) fn draw_types(&mut self, random: &mut fastrand::Rng) {
        self.shift = random.usize(..TYPES.len());
    }

    /// Draws whether and when a vault gets rules, from a source of its own as well.
    pub(crate) fn draw_rules(&mut self, random: &mut fastrand::Rng) {
        if self.vaults && random.bool() {
            self.ruled = Some((random.usize(1..30), random.usize(..6)));
        }
    }

    /// Draws what else servers are like, and who else is about, from a source of its own as well.
    pub(crate) fn draw_servers(&mut self, random: &mut fastrand::Rng) {
        let Manners { untrusted, ignores_conditions, .. } = self.manners;
        let (ignores_creation, checks_early) = (random.bool(), random.u8(0..8) == 0);
        let (compacts, copies) = (random.bool(), random.u8(0..6) == 0);
        let torn = random.choice([0.0, 0.05, 0.3]).unwrap_or_default();
        self.mixed = self.races && random.bool();
        self.harm = self.vaults && random.bool();
        self.manners.ignores_creation = ignores_conditions && ignores_creation;
        if self.mode == CommitMode::IfMatch {
            // A server that is not trusted is probed, and then it comes out.
            self.manners.checks_early = checks_early && !untrusted && !ignores_conditions;
            if self.manners.checks_early {
                (self.compacts, self.copies, self.faults.torn) = (false, false, 0.0);
            }
            return;
        }
        self.manners.checks_early = checks_early && !ignores_conditions;
        if ignores_conditions {
            // Commits do not rest on conditions here, nor do fences.
            self.compacts = compacts;
            self.faults.torn = torn;
            self.copies = copies && self.mode == CommitMode::Rename && !self.rollbacks;
            self.copies &= !self.vaults;
        }
    }

    /// Draws whether the remotes lie in folders that are mirrored, from a source of its own as well.
    pub(crate) fn draw_mirror(&mut self, random: &mut fastrand::Rng) {
        if self.mode != CommitMode::Devices || random.bool() {
            return;
        }
        self.mirrored = random.choice([1, 2, 6, 25]);
        // Who means harm does not come back to mend what a backup took away.
        self.harm &= !self.rollbacks;
        // A folder is no server.
        self.manners = Manners::default();
        self.tags = Tags::Exact;
        self.faults = FaultPlan {
            stale: 0.0,
            torn: 0.0,
            lying: 0.0,
            in_place: 0.0,
            both_names: 0.0,
            denied_after: 0.0,
            ..self.faults.clone()
        };
    }

    /// Draws whether the server does some writes late, from a source of its own as well.
    pub(crate) fn draw_late(&mut self, random: &mut fastrand::Rng) {
        self.manners.is_late = self.mirrored.is_none() && random.u8(0..4) == 0;
        if self.manners.is_late {
            // What is sent again under its name after a break, and then half done by the first call, is
            // damaged after its commit: that is for a repair.
            self.faults.torn = 0.0;
        }
    }

    /// How many remotes there are.
    pub(crate) fn remotes(&self) -> usize {
        if self.bound.is_empty() { 1 } else { 2 }
    }

    /// Whether old answers, or a folder's copy that has not heard of it yet, may have a device commit,
    /// after a backup came back, what lies there no more.
    pub(crate) fn fools(&self) -> bool {
        let is_blind = self.mode == CommitMode::Devices || !self.keeps_commits();
        let is_late = self.faults.stale > 0.0 || self.manners.is_late;
        self.rollbacks && (is_late && is_blind || self.mirrored.is_some())
    }

    /// Whether every turn reaches all remotes.
    pub(crate) fn is_reachable(&self) -> bool {
        let FaultPlan { fail_before, fail_after, torn, refused, busy, throttled, full, .. } =
            self.faults;
        let rates = [fail_before, fail_after, torn, refused, busy, throttled, full];
        let denies = self.faults.denied_after > 0.0 || self.faults.stale > 0.0;
        self.outage.is_none() && !self.crashes && !denies && rates.iter().all(|rate| *rate == 0.0)
    }

    /// Whether the server may lose a commit that a turn was told is made.
    pub(crate) fn loses_commits(&self) -> bool {
        match self.mode {
            CommitMode::IfMatch => !self.keeps_commits(),
            CommitMode::Rename => false,
            CommitMode::Devices => {
                let is_old = self.faults.stale > 0.0 || self.manners.is_late;
                !self.keeps_commits() && is_old
            }
        }
    }

    /// Whether the server never loses a commit that it took.
    pub(crate) fn keeps_commits(&self) -> bool {
        let Manners { ignores_conditions, checks_early, .. } = self.manners;
        let breaks_conditions = ignores_conditions || checks_early;
        match self.mode {
            CommitMode::IfMatch => !breaks_conditions && self.tags != Tags::Seconds,
            CommitMode::Rename => true,
            CommitMode::Devices => !breaks_conditions,
        }
    }
}

fn draw_faults(random: &mut fastrand::Rng) -> FaultPlan {
    let mut often = || match random.u8(0..4) {
        0 => 0.3,
        1 => 0.05,
        _ => 0.0,
    };
    let (fail_before, fail_after, slow) = (often(), often(), often());
    let (stale, torn) = (often(), often());
    let mut seldom = || match random.u8(0..12) {
        0 => 0.2,
        1 => 0.03,
        _ => 0.0,
    };
    FaultPlan {
        fail_before,
        fail_after,
        slow,
        stale,
        torn,
        refused: seldom(),
        busy: seldom(),
        throttled: seldom(),
        full: seldom(),
        denied_after: seldom(),
        lying: seldom(),
        in_place: seldom(),
        both_names: seldom(),
        slow_for: Duration::from_millis(random.u64(10..2000)),
        seed: random.u64(..),
    }
}

pub(crate) fn skew(random: &mut fastrand::Rng) -> i64 {
    match random.u8(0..4) {
        0 | 1 => 0,
        2 => random.i64(-100_000..100_000),
        _ => random.i64(-YEAR_MS..YEAR_MS),
    }
}

/// What makes a story simpler, one trouble at a time.
pub(crate) const CURES: &[fn(&mut Shape)] = &[
    |shape| shape.bound.clear(),
    |shape| shape.outage = None,
    |shape| shape.ruled = None,
    |shape| shape.mixed = false,
    |shape| shape.harm = false,
    |shape| shape.mirrored = None,
    |shape| shape.mirrored = shape.mirrored.map(|_| 1),
    |shape| shape.shift = 0,
    |shape| shape.vaults = false,
    |shape| shape.copies = false,
    |shape| shape.rollbacks = false,
    |shape| shape.crashes = false,
    |shape| shape.full_disks = false,
    |shape| shape.compacts = false,
    |shape| shape.races = false,
    |shape| shape.ages = false,
    |shape| shape.sealed = [false; 2],
    |shape| shape.hermit = false,
    |shape| shape.patient = false,
    |shape| shape.manners = Manners::default(),
    |shape| shape.tags = Tags::Exact,
    |shape| shape.skews_ms.fill(0),
    |shape| shape.replicas = shape.replicas.min(2),
    |shape| shape.replicas = shape.replicas.min(3),
    |shape| shape.entities = 1,
    |shape| shape.entities = shape.entities.min(2),
    |shape| {
        if shape.mirrored.is_none() {
            shape.mode = CommitMode::IfMatch;
        }
    },
    |shape| shape.faults.fail_before = 0.0,
    |shape| shape.faults.fail_after = 0.0,
    |shape| shape.faults.slow = 0.0,
    |shape| shape.faults.stale = 0.0,
    |shape| shape.faults.torn = 0.0,
    |shape| shape.faults.refused = 0.0,
    |shape| shape.faults.busy = 0.0,
    |shape| shape.faults.throttled = 0.0,
    |shape| shape.faults.full = 0.0,
    |shape| shape.faults.denied_after = 0.0,
    |shape| shape.faults.lying = 0.0,
    |shape| shape.faults.in_place = 0.0,
    |shape| shape.faults.both_names = 0.0,
];
