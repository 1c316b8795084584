//! One device of the simulation: an engine that can die at any call and come back.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    engine::{
        BatchSize, CheckReport, CompactOptions, CompactReport, Engine, EngineError, RepairOptions,
        Report, Silent, TurnOptions,
    },
    model::{DeviceId, Entity},
    remote::tiers::Pace,
    seal::{DataKey, Sealed, Sealer},
    store::{Store, StoredRules},
    vault::{Asked, Vault},
};
use larder_providers::{
    Memory, SharedStorage, Traffic,
    layer::{Fault, FaultPlan, Moment, Retry, RetryPolicy},
};

use super::{
    oracle::States,
    seat::{Manners, Seat},
    time::Time,
};

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
    pub(crate) sealed: bool,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) setup: Setup,
    pub(crate) skew_ms: Arc<AtomicI64>,
    engine: Option<Engine>,
    time: Time,
    switch: Arc<Switch>,
    storage: SharedStorage,
    lives: u64,
    seen: RefCell<Seen>,
}

/// What the database holds, as of the so-manieth change.
#[derive(Debug, Default)]
struct Seen {
    states: (u64, Rc<States>),
    own: (u64, Option<Rc<larder::store::Replica>>),
}

/// Ends the process: at a call to the storage, or before a commit of the store.
#[derive(Debug)]
struct Switch {
    wire: Arc<Fault<Server>>,
    dies_at_call: AtomicU64,
    commits_left: AtomicU64,
    files_left: AtomicU64,
    /// How many writes still find the disk full.
    full: AtomicU64,
    /// Somebody writes into a file of the vault.
    typing: Mutex<Option<Typing>>,
    is_dead: AtomicBool,
    /// How often the database changed.
    changes: AtomicU64,
}

impl Switch {
    fn may_commit(&self) -> bool {
        self.changes.fetch_add(1, SeqCst);
        if self.is_full() {
            return false;
        }
        let left = self.commits_left.load(SeqCst);
        if self.wire.calls() >= self.dies_at_call.load(SeqCst) || left == 0 {
            self.is_dead.store(true, SeqCst);
        } else {
            self.commits_left.store(left.saturating_sub(1), SeqCst);
        }
        !self.is_dead.load(SeqCst)
    }

    fn is_full(&self) -> bool {
        let full = self.full.load(SeqCst);
        self.full.store(full.saturating_sub(1), SeqCst);
        full > 0
    }

    /// Before a step of writing a file.
    fn may_write(&self, file: &Path) -> io::Result<()> {
        self.type_now();
        let left = self.files_left.load(SeqCst);
        self.files_left.store(left.saturating_sub(1), SeqCst);
        if left == 0 && !self.is_dead.swap(true, SeqCst) {
            // What a process leaves behind that has no time to tidy up.
            let litter = file.with_file_name(".larder-tmp-dead");
            let _ = std::fs::write(litter, "half a fi");
        }
        if self.is_dead.load(SeqCst) || self.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn type_now(&self) {
        let mut typing = self.typing.lock().unwrap();
        let Some(some) = typing.as_mut() else { return };
        if some.after > 0 {
            some.after -= 1;
        } else if !some.is_done
            && let Ok(old) = std::fs::read_to_string(&some.file)
        {
            std::fs::write(&some.file, old + &some.text).unwrap();
            some.is_done = true;
        }
    }

    fn disarm(&self) {
        self.wire.revive();
        self.dies_at_call.store(u64::MAX, SeqCst);
        self.commits_left.store(u64::MAX, SeqCst);
        self.files_left.store(u64::MAX, SeqCst);
        self.is_dead.store(false, SeqCst);
    }
}

/// Something that a person adds to a file while larder is at work.
#[derive(Debug, Clone)]
pub(crate) struct Typing {
    /// After so many steps of larder's.
    pub(crate) after: u64,
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) is_done: bool,
}

/// How a process is to die.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    /// In its so-manieth call to the storage from now, counted from 1.
    Call(u64, Moment),
    /// Before its so-manieth commit from now, counted from 0.
    Commit(u64),
    /// Before its so-manieth step of writing a file from now, counted from 0.
    File(u64),
}

/// The key of every encrypted remote of the simulation.
pub(crate) fn sealer() -> Sealer {
    let key = DataKey::from_text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE").unwrap();
    Sealer::new("the-remote-of-a-story", &key)
}

impl Replica {
    pub(crate) fn new(setup: Setup, server: &Server, time: &Time, skew_ms: i64) -> Self {
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
        let storage: SharedStorage =
            if setup.sealed { Arc::new(Sealed::new(storage, sealer())) } else { storage };
        let switch = Switch {
            wire,
            dies_at_call: AtomicU64::new(u64::MAX),
            commits_left: AtomicU64::new(u64::MAX),
            files_left: AtomicU64::new(u64::MAX),
            full: AtomicU64::new(0),
            typing: Mutex::default(),
            is_dead: AtomicBool::new(false),
            changes: AtomicU64::new(1),
        };
        let mut replica = Self {
            setup,
            skew_ms: Arc::new(AtomicI64::new(skew_ms)),
            engine: None,
            time: time.clone(),
            switch: Arc::new(switch),
            storage,
            lives: 0,
            seen: RefCell::default(),
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
        self.switch.changes.fetch_add(1, SeqCst);
        let clock = self.time.device_clock(&self.skew_ms);
        let switch = self.switch.clone();
        let gate: Asked = Arc::new(move |file: &Path| switch.may_write(file));
        let vault = self.setup.vault.as_ref().map(|folder| Vault::open(folder).unwrap());
        let vault = vault.map(|vault| vault.with_gate(gate));
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
        self.own().device.clone()
    }

    /// What the replica knows of itself, read once after each change.
    pub(crate) fn own(&self) -> Rc<larder::store::Replica> {
        let changes = self.switch.changes.load(SeqCst);
        let (as_of, own) = &mut self.seen.borrow_mut().own;
        if *as_of != changes {
            *own = self.peek().store().replica().unwrap().map(Rc::new);
            *as_of = changes;
        }
        own.clone().unwrap()
    }

    /// The records, read once after each change.
    pub(crate) fn states(&self) -> Rc<States> {
        let changes = self.switch.changes.load(SeqCst);
        let seen = &mut self.seen.borrow_mut().states;
        if seen.0 != changes {
            let mut states = States::new();
            let each = |state: Entity| {
                states.insert(state.id.clone(), state);
                Ok(())
            };
            self.peek().store().each_state(each).unwrap();
            *seen = (changes, Rc::new(states));
        }
        seen.1.clone()
    }

    /// Has the process die as said; it is dead for good until [`Replica::reopen`].
    pub(crate) fn arm(&self, death: Death) {
        match death {
            Death::Call(nth, moment) => {
                let call = self.switch.wire.calls() + nth;
                self.switch.wire.crash_at(call, moment);
                self.switch.dies_at_call.store(call, SeqCst);
            }
            Death::Commit(nth) => self.switch.commits_left.store(nth, SeqCst),
            Death::File(nth) => self.switch.files_left.store(nth, SeqCst),
        }
    }

    /// Has the next so many writes to the disk find it full.
    pub(crate) fn fill_disk(&self, writes: u64) {
        self.switch.full.store(writes, SeqCst);
    }

    /// Has somebody type during the next turn, or nobody; tells what became of it the last time.
    pub(crate) fn set_typing(&self, typing: Option<Typing>) -> Option<Typing> {
        std::mem::replace(&mut *self.switch.typing.lock().unwrap(), typing)
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

    pub(crate) async fn repair(&mut self) -> Result<CheckReport, EngineError> {
        let (storage, traffic) = (self.storage.clone(), Traffic::new());
        let options = RepairOptions::default();
        self.engine().repair(&storage, &traffic, options, &Silent).await
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
