//! What happens in the steps of a story.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    rc::Rc,
    sync::atomic::Ordering::SeqCst,
};

use larder::engine::{EngineError, Report};

use super::{
    oracle::States,
    promise::{Promise, Verdict},
    replica::{Death, ENDLESS},
    script::{Deed, Step, moment},
    world::World,
};

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// In one step of so many somebody does harm, where somebody means it.
const HARM_OF: u64 = 6;

impl World {
    pub(crate) async fn do_step(&mut self, step: &Step) -> Verdict {
        self.pass(step.wait_ms);
        let index = self.actor(step);
        if self.shape.harm && step.seed.is_multiple_of(HARM_OF) {
            self.plant().await;
        }
        match step.deed {
            Deed::Edit { .. } if self.shape.vaults => self.edit_files(index),
            Deed::Edit { dies } => self.edit(index, dies && self.shape.crashes)?,
            Deed::SyncAndDie(death) if self.shape.crashes => {
                self.sync_and_die(index, death).await?;
            }
            Deed::SyncWhenFull(writes) if self.shape.full_disks => {
                self.sync_when_full(index, writes).await?;
            }
            Deed::SyncWhileTyping(nth) if self.shape.vaults => {
                self.sync_while_typing(index, nth).await?;
            }
            Deed::Years(days) if self.shape.ages => {
                // By then everything has arrived.
                self.set_prompt(true);
                self.pass(days * DAY_MS);
                self.set_prompt(false);
                self.log.trash_is_emptied = true;
                self.tell(format!("{days} days pass"));
            }
            Deed::SyncTogether if self.shape.races => self.sync_together().await?,
            Deed::Compact { force, dies } if self.shape.compacts => {
                self.compact(index, force, dies.filter(|_| self.shape.crashes)).await?;
            }
            Deed::CopyAbout if self.shape.copies => self.copy_about(index),
            Deed::SetClock(skew_ms) => {
                self.replicas[index].skew_ms.store(skew_ms, SeqCst);
                self.has_another_clock();
                self.tell(format!("the clock of {index} is set to {skew_ms} ms"));
            }
            Deed::Reopen => self.reopen(index),
            Deed::RollBack if self.shape.rollbacks => self.roll_back(),
            _ => self.sync(index).await?,
        }
        Ok(())
    }

    /// A database is ruled by another clock from now on. A folder tells the time of the device, and what
    /// is old by that goes.
    pub(crate) fn has_another_clock(&mut self) {
        self.log.has_set_clock = true;
        self.log.trash_is_emptied |= self.shape.mirrored.is_some();
    }

    /// Who does it: one of them is away for most of the time.
    fn actor(&self, step: &Step) -> usize {
        let count = self.replicas.len();
        let index = step.actor % count;
        // It is away from the remote, and not from its user.
        let is_edit = matches!(step.deed, Deed::Edit { .. });
        if self.is_away(index) && !is_edit { (index + 1) % count } else { index }
    }

    fn is_away(&self, index: usize) -> bool {
        self.shape.hermit && index == 0 && self.step > 5
    }

    async fn sync_when_full(&mut self, index: usize, writes: u64) -> Verdict {
        self.tell(format!("the disk of {index} is full for {writes} writes"));
        self.replicas[index].fill_disk(writes);
        self.sync(index).await?;
        self.replicas[index].fill_disk(0);
        Ok(())
    }

    /// One compaction, which may fail and die as a turn may.
    pub(crate) async fn compact(
        &mut self,
        index: usize,
        force: bool,
        death: Option<Death>,
    ) -> Verdict {
        if let Some(death) = death {
            self.tell(format!("{index} is to die {death:?}"));
            self.replicas[index].arm(death);
        }
        let before = self.replicas[index].states();
        let nth = match self.bound[index].len() {
            1 => 0,
            count => self.random.usize(..count),
        };
        let result = self.replicas[index].compact(nth, force).await;
        let died = self.replicas[index].disarm();
        let as_turn = if died || result.is_err() {
            Err(EngineError::NotConnected)
        } else {
            Ok(Report::default())
        };
        self.tell(format!("{index} compacts: {}", short(&result)));
        self.after_some(index, &[nth], &before, &as_turn)?;
        if died {
            self.reopen(index);
        }
        Ok(())
    }

    /// One repair, as a person has it done who was told that something is missing.
    pub(crate) async fn repair(&mut self, index: usize, nth: usize) -> Verdict {
        let before = self.replicas[index].states();
        let result = self.replicas[index].repair(nth).await;
        self.tell(format!("{index} repairs: {}", short(&result)));
        let as_turn = result.map(|_| Report::default());
        self.after_some(index, &[nth], &before, &as_turn)
    }

    /// One turn, which may fail as long as there are faults.
    pub(crate) async fn sync(&mut self, index: usize) -> Verdict {
        let before = self.replicas[index].states();
        let result = self.replicas[index].turn().await;
        self.after(index, &before, &result)
    }

    async fn sync_and_die(&mut self, index: usize, death: Death) -> Verdict {
        self.tell(format!("{index} is to die {death:?}"));
        let before = self.replicas[index].states();
        self.replicas[index].arm(death);
        let result = self.replicas[index].turn().await;
        if self.replicas[index].disarm() {
            self.after(index, &before, &Err(EngineError::NotConnected))?;
            self.reopen(index);
            return Ok(());
        }
        self.after(index, &before, &result)
    }

    /// Some replicas have their turns side by side; among them may be compactions, and some may die.
    async fn sync_together(&mut self) -> Verdict {
        let befores: Vec<Rc<States>> = self.replicas.iter().map(|r| r.states()).collect();
        let mut chosen: BTreeSet<usize> = (0..self.replicas.len()).collect();
        chosen.retain(|_| self.random.u8(0..4) > 0);
        chosen.retain(|index| !self.is_away(*index));
        let folds = self.draw_folds(&chosen);
        self.tell(format!("together: {chosen:?}, of which compact: {folds:?}"));
        let some = self.replicas.iter_mut().enumerate();
        let some = some.filter(|(index, _)| chosen.contains(index));
        let turns = some.map(|(index, replica)| replica.turn_or_fold(folds.get(&index).copied()));
        let results = futures::future::join_all(turns).await;
        for (&index, result) in chosen.iter().zip(results) {
            let died = self.replicas[index].disarm();
            let result = if died { Err(EngineError::NotConnected) } else { result };
            let nths = match folds.get(&index) {
                Some((nth, _)) => vec![*nth],
                None => (0..self.bound[index].len()).collect(),
            };
            self.after_some(index, &nths, &befores[index], &result)?;
            if died {
                self.reopen(index);
            }
        }
        Ok(())
    }

    /// Which of those who are at work at once compact which of their remotes, by force or not; and has
    /// some of them die.
    fn draw_folds(&mut self, chosen: &BTreeSet<usize>) -> BTreeMap<usize, (usize, bool)> {
        let mut folds = BTreeMap::new();
        if !self.shape.mixed {
            return folds;
        }
        for &index in chosen {
            let remotes = self.bound[index].len();
            if self.shape.compacts && self.random.u8(0..3) == 0 {
                folds.insert(index, (self.random.usize(..remotes), self.random.bool()));
            }
            if self.shape.crashes && self.random.u8(0..4) == 0 {
                let death = Death::Call(self.random.u64(1..25), moment(&mut self.random));
                self.tell(format!("{index} is to die {death:?}"));
                self.replicas[index].arm(death);
            }
        }
        folds
    }

    /// Takes down what a turn did.
    pub(crate) fn after(
        &mut self,
        index: usize,
        before: &States,
        result: &Result<Report, EngineError>,
    ) -> Verdict {
        let all: Vec<usize> = (0..self.bound[index].len()).collect();
        self.after_some(index, &all, before, result)
    }

    /// Takes down what a turn with these remotes of a replica did.
    fn after_some(
        &mut self,
        index: usize,
        nths: &[usize],
        before: &States,
        result: &Result<Report, EngineError>,
    ) -> Verdict {
        if let Err(EngineError::Refused(why)) = result
            && why == ENDLESS
        {
            return Err(Promise::Harmless.broken(format!("{index} has {why}")));
        }
        let (device, states) = (self.replicas[index].device(), self.replicas[index].states());
        self.log.renamed(index, &device, &states);
        self.log.note((index, self.step), &device, (before, &states), true);
        let told = match result {
            Ok(r) => format!("+{} -{} merged {} raced {}", r.pulled, r.pushed, r.merged, r.raced),
            Err(error) => format!("{error:?}"),
        };
        self.tell(format!("{index} ({device}) syncs: {told}"));
        self.show_closely(index, &states);
        if result.is_ok() {
            self.log.sent(index);
            self.check_acknowledged(index, nths)?;
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
        let nth = match self.places.len() {
            1 => 0,
            count => self.random.usize(..count),
        };
        let told = self.places[nth].roll_back(&mut self.random);
        self.tell(told);
    }
}

pub(crate) fn short<T: Debug, E: Debug>(result: &Result<T, E>) -> String {
    let mut text = format!("{result:?}");
    text.truncate(text.char_indices().nth(300).map_or(text.len(), |(at, _)| at));
    text
}
