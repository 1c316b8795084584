//! The turn: observe, plan, execute, settle. The only place where store, vault and remote meet.

mod adopt;
mod cargo;
mod check;
mod command;
mod compact;
mod connect;
mod contents;
mod cost;
mod devices;
mod edits;
mod error;
mod execute;
mod feed;
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
mod turn;
mod turns;
mod waiting;
mod work;

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

pub use check::{CheckOptions, CheckReport, Finding, FindingKind, RepairOptions};
pub use command::{At, Keep, Restored};
pub use compact::{CompactOptions, CompactReport};
pub use connect::Connected;
pub use cost::Cost;
pub use devices::Device;
pub use error::{Brake, EngineError, Result};
pub use report::{Note, NoteKind, Progress, Report, Silent, Stage};
pub use turns::{Turned, Way};
pub use work::BatchSize;

use crate::{
    clock::Clock,
    model::{RemoteId, Rules, Stamp, limits},
    remote::{DataFile, Manifest, tiers::Pace},
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
    batch_size: BatchSize,
    /// The latest that the clocks of storages ever said.
    told: Option<Stamp>,
    /// The last manifest that was decoded out of the replica, and its text.
    last_manifest: RefCell<Option<(String, Arc<Manifest>)>>,
    /// What this turn knows of the contents of files.
    contents: contents::Contents,
    /// The id of the remote that is made next, if it was drawn before.
    drawn_id: Option<RemoteId>,
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
        let (pace, batch_size) = (Pace::default(), BatchSize::default());
        let contents = contents::Contents::default();
        let told = store.told_ms()?.map(Stamp::from_millis);
        let mut engine = Self {
            store,
            vault,
            rules,
            clock,
            random,
            device_name,
            sent,
            pace,
            batch_size,
            told,
            last_manifest: RefCell::default(),
            contents,
            drawn_id: None,
        };
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

    /// Has turns take up more or less at once.
    pub fn set_batch_size(&mut self, batch_size: BatchSize) {
        self.batch_size = batch_size;
    }

    /// The vault's folder.
    pub fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    /// The vault's rules, as of the last look at them.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}
