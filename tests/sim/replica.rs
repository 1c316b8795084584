//! One device of the simulation: an engine that can die at any call and come back.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    clock::Clock,
    engine::{
        BatchSize, CompactOptions, CompactReport, Engine, EngineError, Report, Silent, TurnOptions,
    },
    model::{DeviceId, Entity, EntityId, Stamp},
    remote::tiers::Pace,
    store::{Store, StoredRules},
    vault::Vault,
};
use larder_providers::{
    Memory, SharedStorage, Traffic,
    layer::{Fault, FaultPlan, Moment, Retry, RetryPolicy},
};

use super::seat::{Manners, Seat};

/// The storage that all replicas share, with its faults.
pub(crate) type Server = Arc<Fault<Memory>>;

/// Where a replica's database lies.
#[derive(Debug, Clone)]
pub(crate) enum Home {
    Memory,
    File(PathBuf),
}

/// How a replica is set up, for as long as it lives.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) number: usize,
    pub(crate) seed: u64,
    pub(crate) home: Home,
    pub(crate) vault: Option<PathBuf>,
    pub(crate) rules: &'static str,
    pub(crate) patient: bool,
    pub(crate) manners: Manners,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) setup: Setup,
    pub(crate) skew_ms: Arc<AtomicI64>,
    engine: Option<Engine>,
    now_ms: Arc<AtomicI64>,
    switch: Arc<Switch>,
    storage: SharedStorage,
    lives: u64,
}

/// Ends the process: at a call to the storage, or before a commit of the store.
#[derive(Debug)]
struct Switch {
    wire: Arc<Fault<Server>>,
    dies_at_call: AtomicU64,
    commits_left: AtomicU64,
    is_dead: AtomicBool,
}

impl Switch {
    fn may_commit(&self) -> bool {
        let left = self.commits_left.load(SeqCst);
        if self.wire.calls() >= self.dies_at_call.load(SeqCst) || left == 0 {
            self.is_dead.store(true, SeqCst);
        } else {
            self.commits_left.store(left.saturating_sub(1), SeqCst);
        }
        !self.is_dead.load(SeqCst)
    }

    fn disarm(&self) {
        self.wire.revive();
        self.dies_at_call.store(u64::MAX, SeqCst);
        self.commits_left.store(u64::MAX, SeqCst);
        self.is_dead.store(false, SeqCst);
    }
}

/// How a process is to die.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    /// In its so-manieth call to the storage from now, counted from 1.
    AtCall(u64, Moment),
    /// Before its so-manieth commit from now, counted from 0.
    AtCommit(u64),
}

impl Replica {
    pub(crate) fn new(setup: Setup, server: &Server, now_ms: &Arc<AtomicI64>) -> Self {
        let wire = Arc::new(Fault::new(server.clone(), FaultPlan::default()));
        let seat = Seat::new(wire.clone(), setup.seed ^ 0x5ea7, setup.manners);
        let storage: SharedStorage = if setup.patient {
            let policy = RetryPolicy {
                waits: vec![Duration::from_secs(2), Duration::from_secs(4)],
                seed: Some(setup.seed),
                ..RetryPolicy::default()
            };
            Arc::new(Retry::with_policy(seat, policy))
        } else {
            Arc::new(seat)
        };
        let switch = Switch {
            wire,
            dies_at_call: AtomicU64::new(u64::MAX),
            commits_left: AtomicU64::new(u64::MAX),
            is_dead: AtomicBool::new(false),
        };
        let mut replica = Self {
            setup,
            skew_ms: Arc::default(),
            engine: None,
            now_ms: now_ms.clone(),
            switch: Arc::new(switch),
            storage,
            lives: 0,
        };
        let store = match &replica.setup.home {
            Home::Memory => Store::in_memory().unwrap(),
            Home::File(file) => Store::open(file).unwrap(),
        };
        replica.start(store);
        replica
    }

    /// Starts the process over a store.
    fn start(&mut self, mut store: Store) {
        self.switch.disarm();
        let switch = self.switch.clone();
        store.set_commit_gate(Box::new(move || switch.may_commit()));
        if self.setup.vault.is_none() && store.rules().unwrap().is_none() {
            let rules = StoredRules { digest: String::new(), text: self.setup.rules.to_owned() };
            store.rejudge(&[], &BTreeSet::new(), &rules).unwrap();
        }
        let (now, skew) = (self.now_ms.clone(), self.skew_ms.clone());
        let clock = Clock::custom(move || Stamp::from_millis(now.load(SeqCst) + skew.load(SeqCst)));
        let vault = self.setup.vault.as_ref().map(|folder| Vault::open(folder).unwrap());
        self.lives += 1;
        let random = fastrand::Rng::with_seed(self.setup.seed.wrapping_add(self.lives << 32));
        let name = format!("device {}", self.setup.number);
        let mut engine = Engine::new(store, vault, clock, random, name).unwrap();
        // So few records and commits have to be folded as often as many thousands are.
        engine.set_pace(Pace {
            deltas: 3,
            entities: 4,
            factor: 2,
            bound: 12,
            runs: 6,
            orphan_hours: 0,
        });
        // And every other replica works in batches of a few records.
        if self.setup.number % 2 == 1 {
            engine.set_batch_size(BatchSize { bytes: 1 << 20, records: 2 });
        }
        engine.recall_rules().unwrap();
        self.engine = Some(engine);
    }

    /// Ends the process and starts it again over its database.
    pub(crate) fn reopen(&mut self) {
        let store = self.engine.take().unwrap().into_store();
        let store = match &self.setup.home {
            Home::Memory => store,
            Home::File(file) => {
                drop(store);
                Store::open(file).unwrap()
            }
        };
        self.start(store);
    }

    /// Ends the process, has `work` done to the database's file, and starts the process again.
    pub(crate) fn with_closed(&mut self, work: impl FnOnce(&Path)) {
        drop(self.engine.take());
        let Home::File(file) = self.setup.home.clone() else { unreachable!("it has a file") };
        work(&file);
        self.start(Store::open(&file).unwrap());
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    pub(crate) fn peek(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub(crate) fn storage(&self) -> SharedStorage {
        self.storage.clone()
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.peek().store().replica().unwrap().unwrap().device
    }

    pub(crate) fn states(&self) -> BTreeMap<EntityId, Entity> {
        let mut states = BTreeMap::new();
        let each = |state: Entity| {
            states.insert(state.id.clone(), state);
            Ok(())
        };
        self.peek().store().each_state(each).unwrap();
        states
    }

    /// Has the process die as said; it is dead for good until [`Replica::reopen`].
    pub(crate) fn arm(&self, death: Death) {
        match death {
            Death::AtCall(nth, moment) => {
                let call = self.switch.wire.calls() + nth;
                self.switch.wire.crash_at(call, moment);
                self.switch.dies_at_call.store(call, SeqCst);
            }
            Death::AtCommit(nth) => self.switch.commits_left.store(nth, SeqCst),
        }
    }

    /// Takes the order to die back; says whether it was carried out.
    pub(crate) fn disarm(&self) -> bool {
        let died = self.switch.is_dead.load(SeqCst)
            || self.switch.wire.calls() >= self.switch.dies_at_call.load(SeqCst);
        self.switch.disarm();
        died
    }

    pub(crate) async fn compact(&mut self, force: bool) -> Result<CompactReport, EngineError> {
        let storage = self.storage.clone();
        let traffic = Traffic::new();
        let options = CompactOptions { force, dry_run: false };
        self.engine().compact(&storage, &traffic, options, &Silent).await
    }

    pub(crate) async fn turn(&mut self) -> Result<Report, EngineError> {
        let storage = self.storage.clone();
        let options = TurnOptions::default();
        let traffic = Traffic::new();
        let turn = self.engine().turn(&storage, &traffic, options, &Silent);
        let longest = Duration::from_hours(10);
        tokio::time::timeout(longest, turn).await.unwrap_or_else(|_| panic!("a turn without end"))
    }
}
