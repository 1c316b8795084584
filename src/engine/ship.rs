//! Carrying a cargo to the remote: packed piece by piece, several pieces on their way at once.

use std::collections::BTreeMap;

use larder_providers::{Body, PutMode, RemotePath, SharedStorage, Storage as _};
use tokio::task::JoinSet;

use super::{
    Engine, EngineError, Progress, Result, Stage,
    cargo::{Batch, Form},
};
use crate::{
    merge::view,
    model::{EntityId, Record},
    mutant::{self, Mutant},
    remote::{DataFile, Manifest, Outgoing, Packer, Parcel, Remote, layout, pack_one},
};

/// How many files are on their way at once.
const SENDS: usize = 4;
/// How many bytes may wait to be sent while more is packed.
const BYTES_IN_FLIGHT: u64 = 16 << 20;

/// How far the packing of a cargo has come.
pub(super) struct Tally<'a> {
    pub(super) progress: &'a dyn Progress,
    pub(super) done: u64,
    pub(super) of: u64,
}

impl Tally<'_> {
    fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(256) || self.done == self.of {
            self.progress.step(Stage::Send, self.done, self.of);
        }
    }
}

impl Engine {
    /// Packs a batch and sends it for the manifest `next`; says which files it became.
    pub(super) async fn ship(
        &mut self,
        remote: &Remote,
        next: &Manifest,
        batch: &Batch,
        tally: &mut Tally<'_>,
    ) -> Result<Vec<DataFile>> {
        let generation = next.generation - 1;
        let mut flight = Flight::new(remote.storage.clone());
        let mut packer = match &batch.form {
            Form::Entity => None,
            Form::Delta => Some(Packer::of_delta(generation, next.commit.device.clone())),
            Form::Loose | Form::Run(_) => Some(Packer::of_packs(generation)),
        };
        for id in &batch.ids {
            tally.step();
            let Some(outgoing) = self.outgoing(id)? else { continue };
            let full = match &mut packer {
                None => Some(pack_one(&outgoing, generation)?),
                Some(packer) => packer.add(&outgoing).await?,
            };
            if let Some(parcel) = full {
                self.dispatch(&mut flight, next, parcel).await?;
            }
        }
        if let Some(mut packer) = packer {
            while let Some(parcel) = packer.finish().await? {
                self.dispatch(&mut flight, next, parcel).await?;
            }
        }
        let mut files = flight.land().await?;
        self.sent.extend(files.iter().map(|file| (file.sha256.clone(), file.clone())));
        if let (Form::Run(up_to), Some(last)) = (&batch.form, files.last_mut()) {
            last.up_to = Some(up_to.clone());
        }
        Ok(files)
    }

    /// A record as the remote is to hold it; nothing if it is not to have it.
    fn outgoing(&self, id: &EntityId) -> Result<Option<Outgoing>> {
        let state = self.store.record(id)?.and_then(Record::on_remote);
        Ok(state.map(|state| {
            let view = view(&state, &self.rules);
            Outgoing { state, type_name: view.type_name, is_deleted: view.is_deleted }
        }))
    }

    /// Sends a file, unless an earlier try of this turn has sent it: but not one that was built below
    /// the floor, where it may be taken for an orphan and removed, nor one that is part of the remote
    /// already, or that this very commit retires.
    async fn dispatch(
        &mut self,
        flight: &mut Flight,
        next: &Manifest,
        parcel: Parcel,
    ) -> Result<()> {
        let is_free = |sent: &&DataFile| {
            let is_named = next.data().any(|data| data.file == sent.file);
            let is_retired = next.retired.iter().any(|old| old.file == sent.file);
            let may_go = sent.from_generation <= next.floor || is_named || is_retired;
            !may_go || mutant::is(Mutant::ReusesOld)
        };
        if let Some(sent) = self.sent.get(&parcel.file.sha256).filter(is_free) {
            flight.has_arrived(DataFile { up_to: None, ..sent.clone() });
            return Ok(());
        }
        let name = layout::never_used(&parcel.file.file, &mut self.random)?;
        flight.start(name, parcel).await
    }
}

/// Files on their way.
struct Flight {
    storage: SharedStorage,
    tasks: JoinSet<Result<(usize, DataFile)>>,
    bytes: u64,
    started: usize,
    arrived: BTreeMap<usize, DataFile>,
}

impl Flight {
    fn new(storage: SharedStorage) -> Self {
        let (tasks, arrived) = (JoinSet::new(), BTreeMap::new());
        Self { storage, tasks, bytes: 0, started: 0, arrived }
    }

    fn has_arrived(&mut self, file: DataFile) {
        self.arrived.insert(self.started, file);
        self.started += 1;
    }

    /// Sends a file, as soon as few enough are on their way.
    async fn start(&mut self, name: RemotePath, parcel: Parcel) -> Result<()> {
        while self.tasks.len() >= SENDS
            || self.bytes > 0 && self.bytes + parcel.file.bytes > BYTES_IN_FLIGHT
        {
            self.await_one().await?;
        }
        let (storage, number) = (self.storage.clone(), self.started);
        self.bytes += parcel.file.bytes;
        self.started += 1;
        self.tasks.spawn(async move {
            storage.put(&name, Body::Bytes(parcel.bytes), PutMode::Overwrite).await?;
            Ok((number, DataFile { file: name, ..parcel.file }))
        });
        Ok(())
    }

    async fn await_one(&mut self) -> Result<()> {
        let Some(done) = self.tasks.join_next().await else { return Ok(()) };
        let (number, file) = done.map_err(EngineError::task)??;
        self.bytes -= file.bytes.min(self.bytes);
        self.arrived.insert(number, file);
        Ok(())
    }

    /// Waits for all; in the order in which they were started.
    async fn land(mut self) -> Result<Vec<DataFile>> {
        while !self.tasks.is_empty() {
            self.await_one().await?;
        }
        Ok(self.arrived.into_values().collect())
    }
}
