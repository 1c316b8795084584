//! Some replicas, a storage with faults, and a driver that does one random thing after another.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
};

use chrono::{DateTime, Utc};
use larder::{
    digest::sha256_hex,
    engine::{EngineError, Report},
    model::Rules,
};
use larder_providers::{
    Clock, Memory, MemorySnapshot,
    layer::{Fault, Moment},
};

use super::{
    ground,
    oracle::{Log, States, alike, conflict_ids},
    replica::{Death, Home, Replica, Server, Setup},
    shape::{Shape, skew},
};

/// How the records of each type are merged; types by index of the record.
pub(crate) const TYPES: [&str; 7] = ["note", "task", "fact", "memo", "pact", "mine", "theirs"];

const RULES: &str = r#"
[[type]]
name = "note"
[type.fields]
title = "longest"
[[type]]
name = "task"
delete = "edit_wins"
[type.fields]
title = "done_wins"
body = "manual"
[[type]]
name = "fact"
delete = "newest"
[type.fields]
title = "oldest"
count = "counter"
[[type]]
name = "memo"
delete = "edit_wins"
conflict = "newest_wins"
[[type]]
name = "pact"
delete = "newest"
conflict = "manual"
[[type]]
name = "mine"
conflict = "local_wins"
[[type]]
name = "theirs"
delete = "edit_wins"
conflict = "remote_wins"
"#;

/// So many rounds of turns without faults bring everybody to rest, or something is wrong.
const ROUNDS_MAX: usize = 14;

/// 2020-01-01: long before any file of a real folder was made, so that the scan takes every file
/// for one that was touched just now, and does not depend on the speed of this machine.
const START_MS: i64 = 1_577_836_800_000;

/// Something done to the world that must not go unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A replica forgets one value of a field.
    DropSibling,
    /// A replica claims to know edits that it never got.
    ClaimUnread,
    /// A replica takes every edit under its own name for its own.
    TrustEveryDot,
    /// A file that the head names goes.
    LoseFile,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) random: fastrand::Rng,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) memory: Memory,
    pub(crate) server: Server,
    pub(crate) log: Log,
    pub(crate) story: Vec<String>,
    pub(crate) step: usize,
    pub(crate) words: usize,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) folder: Option<tempfile::TempDir>,
    pub(crate) backups: Vec<(usize, usize, PathBuf)>,
    snapshot: Option<MemorySnapshot>,
    now_ms: Arc<AtomicI64>,
}

/// What went wrong, in words.
pub(crate) type Verdict = Result<(), String>;

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut shape = Shape::draw(&mut random);
        if let Some(sabotage) = sabotage {
            shape.vaults = false;
            shape.rollbacks = false;
            shape.copies = sabotage == Sabotage::TrustEveryDot;
        }
        let now_ms = Arc::new(AtomicI64::new(START_MS));
        let server_ms = now_ms.clone();
        let clock = Clock::new(move || {
            DateTime::<Utc>::from_timestamp_millis(server_ms.load(SeqCst)).unwrap_or_default()
        });
        let memory = Memory::with_clock(clock);
        let server = Arc::new(Fault::new(memory.clone(), shape.faults.clone()));
        let folder = (shape.vaults || shape.copies).then(folder);
        let mut world = Self {
            random,
            replicas: Vec::new(),
            memory,
            server,
            log: Log::default(),
            story: vec![format!("{shape:?}")],
            step: 0,
            words: 0,
            sabotage,
            folder,
            backups: Vec::new(),
            snapshot: None,
            now_ms,
            shape,
        };
        for number in 0..world.shape.replicas {
            let home = world.home(number);
            world.add_replica(number, home);
        }
        world
    }

    pub(crate) fn home(&self, number: usize) -> Home {
        let file = || Some(self.folder.as_ref()?.path().join(format!("{number}.db")));
        match file() {
            Some(file) if self.shape.copies => Home::File(file),
            _ => Home::Memory,
        }
    }

    pub(crate) fn add_replica(&mut self, number: usize, home: Home) {
        let vault = self.folder.as_ref().filter(|_| self.shape.vaults).map(|folder| {
            let vault = folder.path().join(format!("vault{number}"));
            std::fs::create_dir_all(&vault).unwrap();
            vault
        });
        let setup = Setup {
            number,
            seed: self.random.u64(..),
            home,
            vault,
            rules: RULES,
            patient: self.shape.patient,
            manners: self.shape.manners,
        };
        let replica = Replica::new(setup, &self.server, &self.now_ms);
        let skew_ms = self.shape.skews_ms.get(number).copied().unwrap_or(0);
        replica.skew_ms.store(skew_ms, SeqCst);
        self.replicas.push(replica);
    }

    pub(crate) fn tell(&mut self, what: impl Into<String>) {
        self.story.push(format!("{:>3} {}", self.step, what.into()));
    }

    /// The whole story: everybody connects, things happen, the faults end, and all come to rest.
    pub(crate) async fn live(&mut self) -> Verdict {
        self.connect().await?;
        for step in 1..=self.shape.steps {
            self.step = step;
            self.one_step().await?;
            self.check_ground()?;
        }
        self.server.set_calm(true);
        self.come_to_rest().await?;
        self.check_end()?;
        if self.shape.compacts {
            for _ in 0..2 {
                let index = self.any_replica();
                self.compact(index).await?;
                self.check_ground()?;
            }
            self.come_to_rest().await?;
            self.check_end()?;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Verdict {
        self.server.set_calm(true);
        let mode = Some(self.shape.mode);
        for index in 0..self.replicas.len() {
            let storage = self.replicas[index].storage();
            // The first is cut off a few times while it makes the remote.
            for try_number in 1..30 {
                if self.shape.crashes && try_number < 4 {
                    let moment = self.moment();
                    let nth = self.random.u64(1..9);
                    self.replicas[index].arm(Death::AtCall(nth, moment));
                }
                let connected = self.replicas[index].engine().connect(&storage, mode).await;
                let died = self.replicas[index].disarm();
                self.tell(format!("{index} connects: {}", short(&connected)));
                if died {
                    self.replicas[index].reopen();
                }
                if connected.is_ok() && !died {
                    break;
                }
                if try_number > 10 {
                    return Err(format!("{index} cannot connect: {}", short(&connected)));
                }
            }
        }
        self.server.set_calm(false);
        Ok(())
    }

    pub(crate) fn moment(&mut self) -> Moment {
        if self.random.bool() { Moment::Before } else { Moment::After }
    }

    pub(crate) fn any_replica(&mut self) -> usize {
        self.random.usize(..self.replicas.len())
    }

    async fn one_step(&mut self) -> Verdict {
        self.now_ms.fetch_add(self.random.i64(1..4_000_000), SeqCst);
        let index = self.any_replica();
        match self.random.u32(0..100) {
            0..45 if self.shape.vaults => self.edit_files(index),
            0..45 => self.edit(index)?,
            45..66 => self.sync(index).await?,
            70..80 if self.sabotage.is_some() => self.sabotage(index),
            66..70 if self.shape.compacts => self.compact(index).await?,
            70..82 if self.shape.crashes => self.sync_and_die(index).await?,
            70..88 if self.shape.races => self.sync_together().await?,
            88..98 if self.shape.copies => self.copy_about(index),
            88..90 => {
                let skew_ms = skew(&mut self.random);
                self.replicas[index].skew_ms.store(skew_ms, SeqCst);
                self.tell(format!("the clock of {index} is set to {skew_ms} ms"));
            }
            90..93 if self.shape.compacts => self.compact(index).await?,
            93..94 => self.reopen(index),
            94..100 if self.shape.rollbacks => self.roll_back(),
            _ => self.sync(index).await?,
        }
        Ok(())
    }

    /// One compaction, which may fail and die as a turn may.
    async fn compact(&mut self, index: usize) -> Verdict {
        if self.random.bool() {
            // What was retired may go after a day by the server's clock.
            self.now_ms.fetch_add(self.random.i64(1..200_000_000), SeqCst);
        }
        if self.shape.crashes && self.random.u8(0..3) == 0 {
            let death = Death::AtCall(self.random.u64(1..25), self.moment());
            self.tell(format!("{index} is to die {death:?}"));
            self.replicas[index].arm(death);
        }
        let force = self.random.bool();
        let before = self.before(index);
        let result = self.replicas[index].compact(force).await;
        let died = self.replicas[index].disarm();
        let as_turn = if died || result.is_err() {
            Err(EngineError::NotConnected)
        } else {
            Ok(Report::default())
        };
        self.tell(format!("{index} compacts: {}", short(&result)));
        self.after(index, &before, &as_turn)?;
        if died {
            self.reopen(index);
        }
        Ok(())
    }

    /// One turn, which may fail as long as there are faults.
    pub(crate) async fn sync(&mut self, index: usize) -> Verdict {
        let before = self.before(index);
        let result = self.replicas[index].turn().await;
        self.after(index, &before, &result)
    }

    async fn sync_and_die(&mut self, index: usize) -> Verdict {
        let death = if self.random.bool() {
            Death::AtCall(self.random.u64(1..9), self.moment())
        } else {
            Death::AtCommit(self.random.u64(0..4))
        };
        self.tell(format!("{index} is to die {death:?}"));
        let before = self.before(index);
        self.replicas[index].arm(death);
        let result = self.replicas[index].turn().await;
        if self.replicas[index].disarm() {
            self.after(index, &before, &Err(EngineError::NotConnected))?;
            self.reopen(index);
            return Ok(());
        }
        self.after(index, &before, &result)
    }

    /// Some replicas have their turns side by side.
    async fn sync_together(&mut self) -> Verdict {
        let all: Vec<usize> = (0..self.replicas.len()).collect();
        let befores: Vec<Before> = all.iter().map(|index| self.before(*index)).collect();
        let mut chosen: BTreeSet<usize> = all.iter().copied().collect();
        chosen.retain(|_| self.random.u8(0..4) > 0);
        self.tell(format!("together: {chosen:?}"));
        let some = self.replicas.iter_mut().enumerate();
        let turns = some.filter(|(index, _)| chosen.contains(index)).map(|(_, r)| r.turn());
        let results = futures::future::join_all(turns).await;
        for (index, result) in chosen.iter().zip(results) {
            self.after(*index, &befores[*index], &result)?;
        }
        Ok(())
    }

    pub(crate) fn before(&self, index: usize) -> Before {
        Before { states: self.replicas[index].states() }
    }

    /// Takes down what a turn did.
    pub(crate) fn after(
        &mut self,
        index: usize,
        before: &Before,
        result: &Result<Report, EngineError>,
    ) -> Verdict {
        let (device, states) = (self.replicas[index].device(), self.replicas[index].states());
        self.log.renamed(index, &device, &states);
        self.log.note((index, self.step), &device, (&before.states, &states), true);
        let told = match result {
            Ok(r) => format!("+{} -{} merged {} raced {}", r.pulled, r.pushed, r.merged, r.raced),
            Err(error) => format!("{error:?}"),
        };
        self.tell(format!("{index} ({device}) syncs: {told}"));
        if result.is_ok() {
            self.log.sent(index);
        }
        Ok(())
    }

    pub(crate) fn reopen(&mut self, index: usize) {
        self.replicas[index].reopen();
        let (device, states) = (self.replicas[index].device(), self.replicas[index].states());
        self.log.renamed(index, &device, &states);
        self.tell(format!("{index} starts again as {device}"));
    }

    fn roll_back(&mut self) {
        match self.snapshot.take() {
            Some(snapshot) if self.random.bool() => {
                self.memory.restore(&snapshot);
                self.tell("the remote goes back to its backup");
            }
            _ => {
                self.snapshot = Some(self.memory.snapshot());
                self.tell("a backup of the remote is made");
            }
        }
    }

    /// What must be true at every moment.
    pub(crate) fn check_ground(&self) -> Verdict {
        let Some(ground) = ground::look(&self.memory)? else { return Ok(()) };
        let remote = ("the remote".to_owned(), ground.manifest.knows, ground.states);
        let replicas = self.replicas.iter().enumerate().map(|(index, replica)| {
            let knows = replica.peek().store().replica().unwrap().unwrap().knows;
            (format!("replica {index}"), knows, replica.states())
        });
        for (who, knows, states) in [remote].into_iter().chain(replicas) {
            if let Some(wrong) = ground::unfounded_claims(&who, &knows, &states, &self.log) {
                return Err(wrong);
            }
        }
        Ok(())
    }

    async fn come_to_rest(&mut self) -> Verdict {
        for round in 0..ROUNDS_MAX {
            self.step += 1;
            let mut is_quiet = true;
            for index in 0..self.replicas.len() {
                self.now_ms.fetch_add(self.random.i64(1..4_000_000), SeqCst);
                let before = self.before(index);
                let result = self.replicas[index].turn().await;
                self.after(index, &before, &result)?;
                let report = result.map_err(|error| format!("{index} fails in peace: {error}"))?;
                is_quiet &= report.pulled + report.pushed + report.raced as usize == 0;
                is_quiet &= before.states == self.replicas[index].states();
                is_quiet &= report.plan.is_empty() || !self.shape.vaults;
                self.check_ground()?;
            }
            if is_quiet && round > 0 {
                return Ok(());
            }
        }
        Err(format!("no rest after {ROUNDS_MAX} rounds"))
    }

    /// What must be true in the end.
    fn check_end(&self) -> Verdict {
        let states = self.replicas[0].states();
        let rules = if self.shape.vaults { Rules::default() } else { Rules::parse(RULES).unwrap() };
        let mut wrong = Vec::new();
        for (index, replica) in self.replicas.iter().enumerate() {
            let theirs = replica.states();
            for id in states.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
                let (a, b) = alike(states.get(id), theirs.get(id), &rules);
                let (a, b) = (bytes(a.as_ref()), bytes(b.as_ref()));
                if a != b {
                    wrong.push(format!("{id}: 0 has\n{a}\nand {index} has\n{b}"));
                }
            }
            let store = replica.peek().store();
            let listed = store.conflicts(false).unwrap();
            let listed: BTreeSet<String> = listed.into_iter().map(|c| c.conflict.id).collect();
            let standing = conflict_ids(&theirs, &rules);
            if listed != standing {
                wrong.push(format!("{index} lists conflicts {listed:?}, there are {standing:?}"));
            }
            let unsent = store.unsent().unwrap();
            if !unsent.is_empty() {
                wrong.push(format!("{index} has unsent edits of {unsent:?}"));
            }
        }
        wrong.extend(if self.shape.vaults {
            self.judge_files(&states)
        } else {
            self.log.judge(&states, &rules)
        });
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// What the whole story can be known by.
    pub(crate) fn digest(&self) -> String {
        let states: Vec<States> = self.replicas.iter().map(Replica::states).collect();
        sha256_hex(format!("{:?}{states:?}", self.story).as_bytes())
    }
}

/// A replica before something happened to it.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) states: States,
}

fn bytes<T: serde::Serialize>(state: Option<&T>) -> String {
    state.map_or("nothing".to_owned(), |state| serde_json::to_string(state).unwrap())
}

pub(crate) fn short<T: Debug, E: Debug>(result: &Result<T, E>) -> String {
    let mut text = format!("{result:?}");
    text.truncate(text.char_indices().nth(300).map_or(text.len(), |(at, _)| at));
    text
}

/// A folder in memory if the system has such a thing.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
