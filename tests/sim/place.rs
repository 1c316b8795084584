//! Where a remote lies: on a server that all share, or in a folder of which each device has a copy.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
};

use larder_providers::{
    Memory, MemorySnapshot, RemotePath,
    layer::{Fault, FaultPlan},
};

use super::{
    ground::{Files, Ground, Watch},
    late::Late,
    mirror::{Mirror, SharedMirror},
    promise::Verdict,
    replica::{Line, Server},
    shape::Shape,
    time::Time,
};

#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) is_cut: Arc<AtomicBool>,
    pub(crate) watch: Watch,
    site: Site,
    faults: FaultPlan,
    is_calm: Arc<AtomicBool>,
    sealed: Option<usize>,
}

/// Of which copy it is.
type Backup = (usize, MemorySnapshot);

#[derive(Debug)]
enum Site {
    Server {
        memory: Memory,
        server: Server,
        late: Arc<Late>,
        backup: Option<MemorySnapshot>,
    },
    /// What each replica finds, by its number.
    Mirrored {
        mirror: SharedMirror,
        copies: BTreeMap<usize, Server>,
        backup: Option<Backup>,
    },
}

impl Place {
    pub(crate) fn new(shape: &Shape, time: &Time, number: usize) -> Self {
        let seed = shape.faults.seed ^ number as u64;
        let faults = FaultPlan { seed, ..shape.faults.clone() };
        let site = match shape.mirrored {
            Some(lag) => {
                let mirror = Arc::new(Mirror::new(lag).into());
                Site::Mirrored { mirror, copies: BTreeMap::new(), backup: None }
            }
            None => {
                let memory = Memory::with_clock(time.server_clock()).with_tags(shape.tags);
                let server = Arc::new(Fault::new(memory.clone(), faults.clone()));
                let late = Arc::new(Late::new(memory.clone(), time.clone()));
                Site::Server { memory, server, late, backup: None }
            }
        };
        let sealed = shape.sealed.get(number).is_some_and(|is| *is).then_some(number);
        let watch = Watch::new(sealed, shape);
        Self { is_cut: Arc::default(), watch, site, faults, is_calm: Arc::default(), sealed }
    }

    /// How a replica of this number finds it, whose clock is off by so much.
    pub(crate) fn line(&mut self, number: usize, time: &Time, skew_ms: &Arc<AtomicI64>) -> Line {
        let (server, mirror, late) = match &mut self.site {
            Site::Server { server, late, .. } => (server.clone(), None, Some(late.clone())),
            Site::Mirrored { mirror, copies, .. } => {
                let memory = mirror.lock().unwrap().join(number, time.folder_clock(skew_ms));
                let seed = self.faults.seed.wrapping_add((number as u64) << 32);
                let faults = FaultPlan { seed, ..self.faults.clone() };
                let server = Arc::new(Fault::new(memory, faults));
                server.set_calm(self.is_calm.load(SeqCst));
                copies.insert(number, server.clone());
                (server, Some((mirror.clone(), number)), None)
            }
        };
        let (is_cut, is_calm) = (self.is_cut.clone(), self.is_calm.clone());
        Line { server, is_cut, sealed: self.sealed, is_calm, mirror, late }
    }

    /// The remote as it really is, or will be once everything has arrived.
    pub(crate) fn look(&mut self, time: &Time) -> Verdict<Option<&Ground>> {
        let calls = self.calls();
        let Self { watch, site, .. } = self;
        watch.look(|| site.files(), calls, time.now_ms())
    }

    pub(crate) fn files(&self) -> Files {
        self.site.files()
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> u64 {
        self.site.servers().map(|server| server.calls()).sum()
    }

    pub(crate) fn set_calm(&self, calm: bool) {
        self.is_calm.store(calm, SeqCst);
        self.site.servers().for_each(|server| server.set_calm(calm));
        self.set_prompt(calm);
    }

    /// What is on its way in folders that are mirrored arrives at once.
    pub(crate) fn set_prompt(&self, is_prompt: bool) {
        if let Site::Mirrored { mirror, .. } = &self.site {
            mirror.lock().unwrap().is_prompt = is_prompt;
        }
    }

    /// Time is about to pass: by then a server has done what it was asked for.
    pub(crate) fn end_late(&mut self, now_ms: i64) {
        if let Site::Server { late, .. } = &self.site
            && late.do_before(now_ms)
        {
            self.watch.look_again();
        }
    }

    /// Time passed, and files arrive.
    pub(crate) fn pass(&self, random: &mut fastrand::Rng) {
        if let Site::Mirrored { mirror, .. } = &self.site {
            mirror.lock().unwrap().pass(random);
        }
    }

    /// The files come back from a backup, or one is made, of one copy if there are several; or the program
    /// that mirrors one forgets what it knew. Says which.
    pub(crate) fn roll_back(&mut self, random: &mut fastrand::Rng) -> String {
        match &mut self.site {
            Site::Server { memory, backup, late, .. } => match backup.take() {
                Some(snapshot) if random.bool() => {
                    memory.restore(&snapshot);
                    late.forget();
                    self.watch.forget();
                    "the remote goes back to its backup".to_owned()
                }
                _ => {
                    *backup = Some(memory.snapshot());
                    "a backup of the remote is made".to_owned()
                }
            },
            Site::Mirrored { mirror, backup, .. } => {
                let mut mirror = mirror.lock().unwrap();
                match (random.u8(0..3), backup.take()) {
                    (0, Some((copy, snapshot))) => {
                        mirror.restore(copy, &snapshot);
                        self.watch.forget();
                        format!("the folder of {copy} goes back to its backup")
                    }
                    (1, kept) => {
                        *backup = kept;
                        let copy = mirror.forget(random);
                        self.watch.forget();
                        format!("what mirrors the folder of {copy} forgets what it knew")
                    }
                    _ => {
                        let taken = mirror.back_up(random);
                        let told = format!("a backup of the folder of {} is made", taken.0);
                        *backup = Some(taken);
                        told
                    }
                }
            }
        }
    }

    /// A server loses a file.
    pub(crate) fn lose(&mut self, file: &RemotePath) {
        if let Site::Server { memory, .. } = &self.site {
            memory.remove_raw(file);
            self.watch.forget();
        }
    }
}

impl Site {
    fn files(&self) -> Files {
        match self {
            Self::Server { memory, .. } => memory.files(),
            Self::Mirrored { mirror, .. } => mirror.lock().unwrap().settled(),
        }
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        let (one, copies) = match self {
            Self::Server { server, .. } => (Some(server), None),
            Self::Mirrored { copies, .. } => (None, Some(copies.values())),
        };
        one.into_iter().chain(copies.into_iter().flatten())
    }
}
