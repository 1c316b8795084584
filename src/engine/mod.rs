//! The turn: observe, plan, execute, settle. The only place where store, vault and remote meet.

mod cargo;
mod check;
mod command;
mod compact;
mod connect;
mod edits;
mod error;
mod execute;
mod forms;
mod identity;
mod observe;
mod recover;
mod report;
mod rules;
mod send;
mod ship;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use larder_providers::{SharedStorage, Traffic};

pub use check::{CheckOptions, CheckReport, Finding, FindingKind};
pub use command::{At, Keep, Restored};
pub use compact::{CompactOptions, CompactReport};
pub use connect::Connected;
pub use error::{Brake, EngineError, Result};
pub use report::{Note, NoteKind, Progress, Report, Silent, Stage};

use crate::{
    clock::Clock,
    merge::plan,
    model::{Rules, limits},
    remote::{DataFile, Remote, tiers::Pace},
    store::Store,
    vault::Vault,
};

/// How often a turn starts over because somebody else committed first.
const RACES_MAX: u32 = 8;

/// How long the history is kept, in milliseconds: 90 days.
const HISTORY_MS: i64 = 90 * limits::STAMP_AHEAD_MS_MAX;

/// One device's side of one vault: its replica, its folder, its way to the remote.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    vault: Option<Vault>,
    rules: Rules,
    clock: Clock,
    random: fastrand::Rng,
    device_name: String,
    /// What this turn has sent, by digest: after a lost race it need not go again.
    sent: BTreeMap<String, DataFile>,
    /// When to fold what lies on the remote.
    pace: Pace,
}

/// What a turn may do that it would not do unasked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TurnOptions {
    /// Only plan.
    pub dry_run: bool,
    /// Let more than half of the vault go.
    pub accept_deletes: bool,
    /// Fill an emptied remote folder again from this replica.
    pub recreate_remote: bool,
}

impl Engine {
    /// An engine over a replica and, if the records have files, the vault they lie in.
    pub fn new(
        store: Store,
        vault: Option<Vault>,
        clock: Clock,
        random: fastrand::Rng,
        device_name: impl Into<String>,
    ) -> Result<Self> {
        let device_name = device_name.into();
        let (rules, sent) = (Rules::default(), BTreeMap::new());
        let pace = Pace::default();
        let mut engine = Self { store, vault, rules, clock, random, device_name, sent, pace };
        engine.recall_rules()?;
        engine.settle_identity()?;
        Ok(engine)
    }

    /// The replica.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The replica, to be changed by tests.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Gives the replica back and forgets the rest, as the end of the process does.
    #[must_use]
    pub fn into_store(self) -> Store {
        self.store
    }

    /// Has the remote folded at another pace.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// The vault's folder.
    pub fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    /// The vault's rules, as of the last look at them.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Does one turn with the remote on `storage`: brings both sides to the same state, or says why
    /// not. Whatever stops it, nothing is lost and the next turn goes on.
    pub async fn turn(
        &mut self,
        storage: &SharedStorage,
        traffic: &Traffic,
        options: TurnOptions,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let before = traffic.snapshot();
        let started = self.clock.now();
        self.sent.clear();
        let remote = self.open_remote(storage, options).await?;
        let mut report = Report::default();
        for race in 0..=RACES_MAX {
            let outcome = self.try_turn(&remote, options, progress, &mut report).await?;
            if outcome == Outcome::Done {
                break;
            }
            if race == RACES_MAX {
                return Err(EngineError::Raced { tries: RACES_MAX + 1 });
            }
            report.raced += 1;
            self.pause(race).await;
        }
        let used = traffic.snapshot().since(&before);
        report.requests = used.requests;
        report.bytes_up = used.bytes_up;
        report.bytes_down = used.bytes_down;
        report.duration_ms = self.clock.now().millis().saturating_sub(started.millis());
        Ok(report)
    }

    /// The straight road of a turn.
    async fn try_turn(
        &mut self,
        remote: &Remote,
        options: TurnOptions,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Outcome> {
        let observed = self.observe(remote, options, progress, report).await?;
        let plan = self.with_snapshot(&observed, plan)?;
        report.note_plan(&plan, &observed);
        if options.dry_run {
            return Ok(Outcome::Done);
        }
        if let Some(brake) = plan.brake.filter(|_| !options.accept_deletes) {
            return Err(EngineError::Brake(Brake::Incoming(brake)));
        }
        self.execute(&plan, &observed, progress, report)?;
        self.send(remote, &plan, &observed, progress, report).await
    }

    /// Waits a little longer after each race, by chance, so that rivals fall out of step.
    async fn pause(&mut self, race: u32) {
        let longest_ms = 50_u64 << race.min(6);
        let pause_ms = self.random.u64(longest_ms / 4..=longest_ms);
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
    }
}

/// How a try of a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Both sides are in the same state.
    Done,
    /// Somebody else committed first: the turn starts over from what is there now.
    Raced,
}
