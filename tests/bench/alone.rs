//! larder alone: two replicas without a vault, in one process, and a remote in memory. So many
//! records that no server and no file system would finish in time.
//!
//! Uses nothing but the crate's public engine. The replicas lie in `/dev/shm` where there is one, so
//! that they are neither bounded by a disk nor counted as this process's memory; the remote is.

use std::{io::Write as _, path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
use larder::{
    clock::Clock,
    engine::{Engine, Silent, TurnOptions},
    store::Store,
    vault::document::{Format, parse},
};
use larder_providers::{Memory, SharedStorage, Traffic};
use serde_json::{Map, Value};

use crate::{
    SEED,
    measure::{Measured, Run},
    parts::{
        mersenne::Mersenne,
        notes::{Notes, edited},
        proxy::Counted,
    },
    sample::{Results, Sample, Work},
};

/// The first argument of the process that does it.
pub(crate) const ALONE: &str = "alone";

/// What it is called in tables.
pub(crate) const NAME: &str = "larder alone";

/// One line of what that process says.
type Line = (Work, f64, u64, u64, u64);

/// Has it done in a process of its own, for the sake of its peak memory.
pub(crate) fn measure(records: usize, results: &mut Results) -> anyhow::Result<()> {
    eprintln!("larder alone: {records} records");
    let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir()?;
    let told = dir.path().join("told");
    let own = std::env::current_exe()?;
    let script = format!("exec '{}' {ALONE} {records} '{}'", own.display(), told.display());
    let run = Run { script: &script, dir: dir.path(), notebook: dir.path(), env: &[] };
    let peak_kib = run.measure()?.peak_kib;
    for line in std::fs::read_to_string(&told)?.lines() {
        let (work, seconds, requests, up, down): Line = serde_json::from_str(line)?;
        let measured = Measured { seconds, peak_kib };
        let counted = Counted { requests, up, down };
        results.samples.push(Sample::new((NAME, records, 0), work, measured, counted));
    }
    Ok(())
}

/// The process that does it; the arguments are how many records, and where to tell.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let [records, told] = args else { anyhow::bail!("alone takes a number and a file") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(records.parse()?, Path::new(told)))
}

async fn play(records: usize, told: &Path) -> anyhow::Result<()> {
    let traffic = Traffic::new();
    let storage: SharedStorage = Arc::new(Memory::new().with_traffic(traffic.clone()));
    let mut out = std::fs::File::create(told)?;
    let (mut laptop, mut phone) = (Seat::new("laptop")?, Seat::new("phone")?);
    for (number, note) in Notes::new(SEED).take(records).enumerate() {
        laptop.put(number, &note)?;
    }
    laptop.engine.connect(&storage, None).await?;
    phone.engine.connect(&storage, None).await?;
    let mut turn = async |seat: &mut Seat, work: Work| {
        let started = Instant::now();
        let done = seat.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent).await?;
        let seconds = started.elapsed().as_secs_f64();
        let line: Line =
            (work, seconds, done.cost.requests, done.cost.bytes_up, done.cost.bytes_down);
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        anyhow::Ok(())
    };
    turn(&mut laptop, Work::Upload).await?;
    turn(&mut phone, Work::Bootstrap).await?;
    turn(&mut laptop, Work::Idle).await?;
    laptop.edit(records, 1)?;
    turn(&mut laptop, Work::SendOne).await?;
    turn(&mut phone, Work::ReceiveOne).await?;
    laptop.edit(records, 100.min(records))?;
    turn(&mut laptop, Work::SendMany).await?;
    turn(&mut phone, Work::ReceiveMany).await?;
    let (sent, received) =
        (laptop.engine.store().live_count()?, phone.engine.store().live_count()?);
    anyhow::ensure!(sent == received, "{sent} records on one side and {received} on the other");
    Ok(())
}

/// A device without files.
struct Seat {
    engine: Engine,
    _dir: tempfile::TempDir,
}

impl Seat {
    fn new(name: &str) -> anyhow::Result<Self> {
        let mut place = tempfile::Builder::new();
        place.prefix("larder-bench-");
        let dir = place.tempdir_in("/dev/shm").or_else(|_| place.tempdir())?;
        let store = Store::open(&dir.path().join("replica.db"))?;
        let random = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
        let engine = Engine::new(store, None, Clock::system(), random, name)?;
        Ok(Self { engine, _dir: dir })
    }

    /// Writes a note as a record of its own, without a file.
    fn put(&mut self, number: usize, note: &str) -> anyhow::Result<()> {
        let document = parse(Format::Markdown, note).document;
        let mut fields: Map<String, Value> =
            document.fields.into_iter().map(|(name, content)| (name, content.value)).collect();
        fields.insert("body".to_owned(), document.body.unwrap_or_default().into());
        self.engine.put("note", Some(&id(number)), fields)?;
        Ok(())
    }

    /// Edits so many of the records.
    fn edit(&mut self, records: usize, edits: usize) -> anyhow::Result<()> {
        let seed = edits as u32;
        let mut random = Mersenne::new(seed);
        for number in random.sample(records, edits) {
            let record = self.engine.find(&id(number))?;
            let record = self.engine.store().record(&record)?.context("a record is gone")?;
            let fields = record.state.siblings("body").iter();
            let body =
                fields.filter_map(|sibling| sibling.content.value.as_str()).collect::<String>();
            let note = format!("---\nupdated: never\n---\n{body}");
            self.put(number, &edited(&note, &mut random, seed))?;
        }
        Ok(())
    }
}

fn id(number: usize) -> String {
    format!("note-{number:07}")
}
