//! Some replicas, a storage with faults, and what must be true of them.

use std::{
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
};

use super::{
    deeds::DAY_MS,
    ground::Ground,
    oracle::{Log, States},
    place::Place,
    promise::{Promise, Verdict},
    replica::{Death, Home, Line, Replica, Setup},
    rest::rules,
    script::{Script, moment},
    shape::Shape,
    time::Time,
};
use larder::{
    digest::sha256_hex,
    engine::At,
    merge::view,
    model::{Entity, Rules},
    remote::CommitMode,
};

/// How the records of each type are merged; types by index of the record.
pub(crate) const TYPES: [&str; 7] = ["note", "task", "fact", "memo", "pact", "mine", "theirs"];

pub(crate) const RULES: &str = r#"
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

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shape: Shape,
    /// Of the step that is being told.
    pub(crate) random: fastrand::Rng,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) places: Vec<Place>,
    /// Which of the places each replica has.
    pub(crate) bound: Vec<Vec<usize>>,
    pub(crate) log: Log,
    pub(crate) story: Vec<String>,
    pub(crate) step: usize,
    pub(crate) words: usize,
    pub(crate) folder: Option<tempfile::TempDir>,
    pub(crate) backups: Vec<(usize, usize, PathBuf)>,
    pub(crate) time: Time,
    /// The replica of somebody who means harm.
    pub(crate) harmful: Option<Replica>,
    /// A head may name what is gone.
    is_fooled: bool,
}

impl World {
    /// Called where the story's time passes, or its clocks would be those of this machine.
    pub(crate) fn new(script: &Script) -> Self {
        let random = fastrand::Rng::with_seed(script.seed ^ 0x0570_4135);
        let shape = script.shape.clone();
        let time = Time::start();
        let places = (0..shape.remotes()).map(|nth| Place::new(&shape, &time, nth)).collect();
        let folder = (shape.vaults || shape.copies).then(folder);
        let mut world = Self {
            random,
            replicas: Vec::new(),
            places,
            bound: Vec::new(),
            log: Log::default(),
            story: vec![format!("{shape:?}")],
            step: 0,
            words: 0,
            folder,
            backups: Vec::new(),
            time,
            harmful: None,
            is_fooled: shape.fools(),
            shape,
        };
        for number in 0..world.shape.replicas {
            let home = world.home(number);
            let bound = world.shape.bound.get(number).cloned().unwrap_or_else(|| vec![0]);
            world.add_replica(number, home, bound);
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

    pub(crate) fn add_replica(&mut self, number: usize, home: Home, bound: Vec<usize>) {
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
        let skew_ms = self.shape.skews_ms.get(number).copied().unwrap_or(0);
        let skew_ms = Arc::new(AtomicI64::new(skew_ms));
        let line = |place: &usize| self.places[*place].line(number, &self.time, &skew_ms);
        let lines: Vec<Line> = bound.iter().map(line).collect();
        self.replicas.push(Replica::new(setup, &lines, &self.time, skew_ms));
        self.bound.push(bound);
    }

    pub(crate) fn set_calm(&self, calm: bool) {
        self.places.iter().for_each(|place| place.set_calm(calm));
    }

    /// What is on its way in folders that are mirrored arrives at once.
    pub(crate) fn set_prompt(&self, is_prompt: bool) {
        self.places.iter().for_each(|place| place.set_prompt(is_prompt));
    }

    /// Time passes, in which the heads name what they name.
    pub(crate) fn pass(&mut self, millis: i64) {
        let then_ms = self.time.now_ms() + millis;
        self.places.iter_mut().for_each(|place| place.end_late(then_ms));
        self.time.pass(millis);
        self.places.iter().for_each(|place| place.pass(&mut self.random));
        let now_ms = self.time.now_ms();
        if !self.is_fooled {
            self.places.iter_mut().for_each(|place| place.watch.note_named(now_ms));
        }
    }

    /// A remote cannot be reached, or can be again.
    fn cut_off(&mut self, step: usize) {
        let Some((place, from, to)) = self.shape.outage.filter(|_| self.places.len() > 1) else {
            return;
        };
        let is_cut = (from..to).contains(&step);
        if self.places[place].is_cut.swap(is_cut, SeqCst) != is_cut {
            self.tell(format!("remote {place} is cut off: {is_cut}"));
        }
    }

    pub(crate) fn tell(&mut self, what: impl Into<String>) {
        self.story.push(format!("{:>3} {}", self.step, what.into()));
    }

    /// The whole story: everybody connects, things happen, the faults end, and all come to rest.
    pub(crate) async fn live(&mut self, script: &Script) -> Verdict {
        self.connect().await?;
        for step in &script.steps {
            self.step = step.number;
            self.random = fastrand::Rng::with_seed(step.seed);
            self.cut_off(step.number);
            self.give_rules(step.number);
            self.do_step(step).await?;
            self.check_ground()?;
        }
        self.random = fastrand::Rng::with_seed(script.seed);
        self.set_calm(true);
        self.cut_off(usize::MAX);
        self.mend().await?;
        self.come_to_rest().await?;
        self.take_up_torn().await?;
        self.check_end()?;
        if self.shape.compacts {
            for _ in 0..2 {
                let index = self.random.usize(..self.replicas.len());
                self.compact(index, self.step.is_multiple_of(2), None).await?;
                self.check_ground()?;
            }
            self.come_to_rest().await?;
            self.check_end()?;
        }
        self.check_history()?;
        if self.shape.vaults {
            self.delete_and_bring_back().await?;
        } else {
            self.bring_back().await?;
        }
        if self.shape.ages && self.shape.compacts {
            self.outlive_deletion().await?;
        }
        self.look_around().await
    }

    async fn connect(&mut self) -> Verdict {
        self.set_calm(true);
        for index in 0..self.replicas.len() {
            for nth in 0..self.bound[index].len() {
                self.connect_one(index, nth).await?;
            }
        }
        self.set_calm(false);
        Ok(())
    }

    pub(crate) async fn connect_one(&mut self, index: usize, nth: usize) -> Verdict {
        let mode = Some(self.shape.mode);
        self.pass(0);
        let storage = self.replicas[index].storages()[nth].clone();
        // The first is cut off a few times while it makes the remote.
        for try_number in 1..30 {
            if self.shape.crashes && try_number < 4 {
                let death = Death::Call(self.random.u64(1..9), moment(&mut self.random));
                self.replicas[index].arm(death);
            }
            let engine = self.replicas[index].engine();
            let connected = match nth {
                0 => engine.connect(&storage, mode).await,
                _ => engine.add_remote(&storage, mode).await,
            };
            // Who died after that is told that there is nothing to do.
            let is_done = connected.is_ok() || nth > 0 && self.replicas[index].ways().len() > nth;
            let died = self.replicas[index].disarm();
            self.tell(format!("{index} connects: {}", super::deeds::short(&connected)));
            if died {
                self.replicas[index].reopen();
            }
            if is_done && !died {
                break;
            }
            if try_number > 10 {
                let why = super::deeds::short(&connected);
                return Err(Promise::NoHelp.broken(format!("{index} cannot connect: {why}")));
            }
        }
        Ok(())
    }

    /// What must be true at every moment.
    pub(crate) fn check_ground(&mut self) -> Verdict {
        self.check_harmless()?;
        for place in &mut self.places {
            let ground = match place.look(&self.time) {
                // Until somebody looks who is not fooled.
                Err(broken) if self.is_fooled && broken.promise == Promise::WholeHead => None,
                ground => ground?,
            };
            if let Some(Ground { manifest, states, .. }) = ground {
                self.log.check_claims(None, &manifest.knows, states)?;
            }
        }
        let replicas =
            self.replicas.iter().enumerate().map(|(index, replica)| {
                (Some(index), replica.own().knows.clone(), replica.states())
            });
        for (who, knows, states) in replicas {
            self.log.check_claims(who, &knows, &states)?;
        }
        Ok(())
    }

    /// What must be true when a turn through these remotes of a replica says that it is done.
    pub(crate) fn check_acknowledged(&mut self, index: usize, nths: &[usize]) -> Verdict {
        // A server that loses commits, or a stale answer from before it was rolled back, may have
        // told the turn what is not so; the next one makes up for it.
        let is_late = self.shape.faults.stale > 0.0 || self.shape.mirrored.is_some();
        let is_fooled = self.shape.rollbacks && is_late;
        if self.shape.loses_commits() || is_fooled {
            return Ok(());
        }
        let mut remotes = Vec::new();
        for nth in nths {
            let place = self.bound[index][*nth];
            remotes
                .extend(self.places[place].look(&self.time)?.map(|ground| ground.states.clone()));
        }
        let are_all = remotes.len() == self.bound[index].len();
        self.log.check_sent(index, &remotes, are_all)
    }

    /// What is done where a head may name what is gone, or has not arrived: where each device has one of its own, each
    /// looks within a day and waits for a day at most; elsewhere somebody has it repaired.
    async fn mend(&mut self) -> Verdict {
        if !self.is_fooled && self.shape.mirrored.is_none() {
            return Ok(());
        }
        for round in 0..4 {
            for index in 0..self.replicas.len() {
                self.pass(DAY_MS);
                if self.shape.mode != CommitMode::Devices && round % 2 == 0 {
                    for nth in 0..self.bound[index].len() {
                        self.repair(index, nth).await?;
                    }
                }
                self.sync(index).await?;
                self.check_ground()?;
            }
        }
        self.is_fooled = false;
        self.places.iter_mut().for_each(|place| place.watch.has_arrived());
        Ok(())
    }

    /// What is done where the head of a device that is gone was cut off: somebody has what it sent
    /// taken up, and then another who was told the same. Who lives has mended their own.
    async fn take_up_torn(&mut self) -> Verdict {
        let mut has_torn = false;
        for place in 0..self.places.len() {
            let torn = self.places[place].watch.torn_heads();
            let living = self.replicas.iter().map(|replica| replica.device().to_string());
            let own: Vec<String> = living.filter(|device| torn.contains(device)).collect();
            let told = own.iter().map(|device| format!("{device} left half of a head"));
            Promise::NoHelp.holds_unless(told.collect())?;
            if torn.is_empty() {
                continue;
            }
            has_torn = true;
            self.log.took_up_torn = true;
            for index in 0..self.replicas.len() {
                if let Some(nth) = self.bound[index].iter().position(|bound| *bound == place) {
                    self.repair(index, nth).await?;
                }
            }
        }
        if has_torn { self.come_to_rest().await } else { Ok(()) }
    }

    /// Everything that is deleted and not emptied from the trash comes back as it was, for all.
    async fn bring_back(&mut self) -> Verdict {
        let rules = rules();
        if self.shape.ages && self.shape.compacts {
            self.empty_other_trash().await?;
            self.come_to_rest().await?;
        }
        self.step += 1;
        let states = self.replicas[0].states();
        let mut back = Vec::new();
        for state in states.values() {
            let before = view(state, &rules);
            if before.is_deleted && !before.fields.is_empty() {
                let present = self.replicas[0].states();
                let restored = self.replicas[0].engine().restore(&state.id, At::Before);
                self.log_command(0, &present, &format!("brings {} back", state.id));
                let what = format!("{} cannot be brought back", state.id);
                restored.map_err(|why| Promise::Restorable.broken(format!("{what}: {why}")))?;
                back.push((state.id.clone(), before));
            }
        }
        if back.is_empty() {
            return Ok(());
        }
        self.come_to_rest().await?;
        for (index, replica) in self.replicas.iter().enumerate() {
            let states = replica.states();
            for (id, before) in &back {
                let now = view(&states[id], &rules);
                if now.is_deleted || now.fields != before.fields {
                    let text = format!("{id} came back to {index} as {now:?} after {before:?}");
                    return Err(Promise::Restorable.broken(text));
                }
            }
        }
        Ok(())
    }

    /// One who is away edits a record that somebody else deletes, and of which the others and the remote
    /// have nothing but the mark of its deletion when the first comes back.
    async fn outlive_deletion(&mut self) -> Verdict {
        let rules = Rules::parse(RULES).unwrap();
        let states = self.replicas[0].states();
        let is_whole = |state: &&Entity| {
            let view = view(state, &rules);
            !view.is_deleted && view.fields.len() > 2
        };
        let whole = states.values().filter(is_whole).map(|state| state.id.clone());
        let Some(id) = self.random.choice(whole.collect::<Vec<_>>()) else { return Ok(()) };
        self.step += 1;
        self.edit_title(0, &id);
        self.remove(1, &id);
        self.log.trash_is_emptied = true;
        for _ in 0..2 {
            for index in 1..self.replicas.len() {
                self.compact(index, true, None).await?;
                self.check_ground()?;
            }
            self.pass(100 * DAY_MS);
        }
        self.come_to_rest().await?;
        self.check_end()
    }

    /// Has everybody but the first empty their trash: that one then brings everything back alone.
    async fn empty_other_trash(&mut self) -> Verdict {
        self.log.trash_is_emptied = true;
        for _ in 0..2 {
            for index in 1..self.replicas.len() {
                self.compact(index, false, None).await?;
                self.check_ground()?;
            }
            self.pass(100 * DAY_MS);
        }
        Ok(())
    }

    /// What the whole story can be known by.
    pub(crate) fn digest(&self) -> String {
        let states: Vec<Rc<States>> = self.replicas.iter().map(Replica::states).collect();
        sha256_hex(format!("{:?}{states:?}", self.story).as_bytes())
    }
}

/// A folder in memory if the system has such a thing.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
