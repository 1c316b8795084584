//! One device of the simulation: an engine that can die at any call and come back.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    engine::{
        BatchSize, CheckOptions, CheckReport, CompactOptions, CompactReport, Engine, EngineError,
        RepairOptions, Report, Silent, TurnOptions, Way,
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
    late::Late,
    mirror::SharedMirror,
    oracle::States,
    seat::{Manners, Seat},
    time::Time,
};

/// A storage that replicas share, with its faults.
pub(crate) type Server = Arc<Fault<Memory>>;

/// A storage as a replica finds it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) server: Server,
    /// Whether nobody gets through to it.
    pub(crate) is_cut: Arc<AtomicBool>,
    /// The number of a remote that is encrypted.
    pub(crate) sealed: Option<usize>,
    /// Whether all faults are over.
    pub(crate) is_calm: Arc<AtomicBool>,
    /// Where it is a copy of a folder that is mirrored, and whose it is.
    pub(crate) mirror: Option<(SharedMirror, usize)>,
    /// What the server has not done yet.
    pub(crate) late: Option<Arc<Late>>,
}

/// What is said of a turn that does not end.
pub(crate) const ENDLESS: &str = "a turn without end";

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
    time: Time,
    switch: Arc<Switch>,
    /// Those of the remotes, in the order in which it was bound to them.
    storages: Vec<SharedStorage>,
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
    /// To each of its remotes.
    wires: Vec<Wire>,
    /// On which of them it dies.
    dying: AtomicUsize,
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

type Wire = Arc<Fault<Server>>;

/// A replica's way to a storage.
fn way(setup: &Setup, wire: &Wire, line: &Line) -> SharedStorage {
    let seat = Seat::new(wire.clone(), setup.seed ^ 0x5ea7, setup.manners, line);
    let storage = patience(setup, seat);
    match line.sealed {
        Some(number) => Arc::new(Sealed::new(storage, sealer(number))),
        None => storage,
    }
}

fn patience(setup: &Setup, seat: Seat) -> SharedStorage {
    if !setup.patient {
        return Arc::new(seat);
    }
    let policy = RetryPolicy {
        waits: vec![Duration::from_secs(2), Duration::from_secs(4)],
        seed: Some(setup.seed),
        ..RetryPolicy::default()
    };
    Arc::new(Retry::with_policy(seat, policy))
}

impl Switch {
    fn wire(&self) -> &Wire {
        &self.wires[self.dying.load(SeqCst)]
    }

    fn may_commit(&self) -> bool {
        self.changes.fetch_add(1, SeqCst);
        if self.is_full() {
            return false;
        }
        let left = self.commits_left.load(SeqCst);
        if self.wire().calls() >= self.dies_at_call.load(SeqCst) || left == 0 {
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
        self.wires.iter().for_each(|wire| wire.revive());
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

/// What the encrypted remote of this number is read and written by.
pub(crate) fn sealer(number: usize) -> Sealer {
    let key = DataKey::from_text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE").unwrap();
    Sealer::new(&format!("remote-{number}-of-a-story"), &key)
}

impl Replica {
    pub(crate) fn new(setup: Setup, lines: &[Line], time: &Time, skew_ms: Arc<AtomicI64>) -> Self {
        let wires: Vec<Wire> = lines
            .iter()
            .map(|line| Arc::new(Fault::new(line.server.clone(), FaultPlan::default())))
            .collect();
        let storages =
            wires.iter().zip(lines).map(|(wire, line)| way(&setup, wire, line)).collect();
        let switch = Switch {
            wires,
            dying: AtomicUsize::new(0),
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
            skew_ms,
            engine: None,
            time: time.clone(),
            switch: Arc::new(switch),
            storages,
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
            store.rejudge(&[], &BTreeSet::new(), &rules, 0).unwrap();
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

    /// The storages of its remotes.
    pub(crate) fn storages(&self) -> &[SharedStorage] {
        &self.storages
    }

    /// Its remotes, in the order in which it was bound to them.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let bound = self.peek().store().bindings().unwrap().into_iter();
        let ways = bound.zip(&self.storages);
        ways.map(|(bound, storage)| Way { id: bound.id, storage: storage.clone() }).collect()
    }

    /// Has a command be about one of its remotes.
    fn look_at(&mut self, nth: usize) -> Result<SharedStorage, EngineError> {
        let way = self.ways().into_iter().nth(nth).ok_or(EngineError::NotConnected)?;
        self.engine().look_at(&way.id)?;
        Ok(way.storage)
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
                // On the way to one of its remotes.
                let count = self.switch.wires.len() as u64;
                let dying = usize::try_from(nth % count).unwrap();
                self.switch.dying.store(dying, SeqCst);
                let call = self.switch.wire().calls() + nth.div_ceil(count);
                self.switch.wire().crash_at(call, moment);
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
            || self.switch.wire().calls() >= self.switch.dies_at_call.load(SeqCst);
        self.switch.disarm();
        died
    }

    pub(crate) async fn compact(
        &mut self,
        nth: usize,
        force: bool,
    ) -> Result<CompactReport, EngineError> {
        let storage = self.look_at(nth)?;
        let traffic = Traffic::new();
        let options = CompactOptions { force, dry_run: false };
        self.engine().compact(&storage, &traffic, options, &Silent).await
    }

    /// A turn, or the compaction of one of its remotes, by force or not.
    pub(crate) async fn turn_or_fold(
        &mut self,
        fold: Option<(usize, bool)>,
    ) -> Result<Report, EngineError> {
        match fold {
            None => self.turn().await,
            Some((nth, force)) => self.compact(nth, force).await.map(|_| Report::default()),
        }
    }

    /// Reads everything and holds it against each other.
    pub(crate) async fn check(&mut self, nth: usize) -> Result<CheckReport, EngineError> {
        let (storage, traffic) = (self.look_at(nth)?, Traffic::new());
        self.engine().check(&storage, &traffic, CheckOptions { read_data: true }).await
    }

    pub(crate) async fn repair(&mut self, nth: usize) -> Result<CheckReport, EngineError> {
        let (storage, traffic) = (self.look_at(nth)?, Traffic::new());
        let options = RepairOptions::default();
        self.engine().repair(&storage, &traffic, options, &Silent).await
    }

    /// A turn through all of its remotes.
    pub(crate) async fn turn(&mut self) -> Result<Report, EngineError> {
        let (ways, options, traffic) = (self.ways(), TurnOptions::default(), Traffic::new());
        let turns = self.engine().turns(&ways, &traffic, options, &Silent);
        let longest = Duration::from_hours(10);
        let turned = tokio::time::timeout(longest, turns).await;
        let turned = turned.map_err(|_| EngineError::Refused(ENDLESS.to_owned()))?;
        let mut all = Report::default();
        for turned in turned {
            all.add(turned.result?);
        }
        Ok(all)
    }
}
