//! Packing entities for the way: one alone as a file that anybody can read, more as lines in blocks.

use std::collections::VecDeque;

use bytes::Bytes;
use larder_providers::RemotePath;
use tokio::task::{JoinHandle, spawn_blocking};
use zstd::zstd_safe::CParameter;

use super::{
    DataFile, RemoteError, Result,
    block::{self, Block},
    codec, layout,
};
use crate::{
    digest::sha256_hex,
    model::{DeviceId, Entity, VersionVector, json, limits::DATA_TEXT_BYTES_MAX},
};

/// The most entities that travel as one delta; more travel as a run of packs.
pub const DELTA_ENTITIES_MAX: usize = 256;

/// How much text goes into one block, in bytes. Larger blocks repeat less: at 64 KiB notes take a
/// quarter more bytes.
const BLOCK_TEXT_BYTES: usize = 2 << 20;

/// A file that has grown to so many bytes is finished.
const FILE_BYTES: usize = 16 << 20;

/// The compression level: of the levels whose speed a person does not notice, the smallest result.
const ZSTD_LEVEL: i32 = 9;

/// How large the compressor's table is, as a power of two: half of what the level would take, which
/// makes notes 0.1 % longer and a compressor 6 MiB smaller.
const ZSTD_HASH_LOG: u32 = 20;

/// A block of at most so much text, in bytes, is compressed at once: another thread is longer woken, or
/// even made, than that takes.
const SHORT_TEXT_BYTES: usize = 32 << 10;

/// How many blocks are compressed at once while the next is filled. Each takes some 10 MiB; with two,
/// filling takes about as long.
const BLOCKS_AT_ONCE: usize = 2;

/// An entity ready to be written, with what is derived of it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The state.
    pub state: Entity,
    /// Its type.
    pub type_name: String,
    /// Whether it is deleted.
    pub is_deleted: bool,
}

/// A data file that has yet to be sent.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// What the manifest will say of it.
    pub file: DataFile,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Packs one entity as a file of its own. `generation` is the one the file is built on.
pub fn pack_one(outgoing: &Outgoing, generation: u64) -> Result<Parcel> {
    let bytes = line(outgoing)?.into_bytes();
    let sha256 = sha256_hex(&bytes);
    let name = layout::entity_file(&outgoing.type_name, &outgoing.state.id, generation, &sha256)?;
    let mut file = row(name, generation, &bytes, sha256);
    (file.entities, file.holds) = (1, outgoing.state.seen());
    Ok(Parcel { file, bytes: bytes.into() })
}

/// Packs entities, one after the other, into as few files as may be. Long blocks are compressed on
/// other threads; the files are the same whichever is faster.
pub struct Packer {
    generation: u64,
    /// The maker of a delta; a pack does not name it.
    device: Option<DeviceId>,
    text: String,
    entities: u64,
    holds: VersionVector,
    /// Blocks that are being compressed, in their order.
    pending: VecDeque<Pending>,
    /// Compressors that have nothing to do: each has tables that are costly to make.
    idle: Vec<Compressor>,
    /// The file that is being filled.
    blocks: Vec<Block>,
    bytes: Vec<u8>,
}

type Compressor = zstd::bulk::Compressor<'static>;

/// A block on its way to be finished.
enum Pending {
    There(std::io::Result<Packed>),
    Elsewhere(JoinHandle<std::io::Result<Packed>>),
}

/// A block that is finished.
struct Packed {
    block: Block,
    bytes: Vec<u8>,
    compressor: Compressor,
}

impl Packer {
    /// A packer of a delta that `device` builds on `generation`.
    pub fn of_delta(generation: u64, device: DeviceId) -> Self {
        Self::new(generation, Some(device))
    }

    /// A packer of packs that are built on `generation`.
    pub fn of_packs(generation: u64) -> Self {
        Self::new(generation, None)
    }

    fn new(generation: u64, device: Option<DeviceId>) -> Self {
        Self {
            generation,
            device,
            text: String::new(),
            entities: 0,
            holds: VersionVector::default(),
            pending: VecDeque::new(),
            idle: Vec::new(),
            blocks: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Adds an entity; gives a file if one turned out to be full.
    pub async fn add(&mut self, outgoing: &Outgoing) -> Result<Option<Parcel>> {
        let line = line(outgoing)?;
        let mut full = None;
        if !self.text.is_empty() && self.text.len() + line.len() > BLOCK_TEXT_BYTES {
            if self.pending.len() >= BLOCKS_AT_ONCE {
                full = self.take_block().await?;
            }
            self.end_block();
        }
        self.text.push_str(&line);
        self.entities += 1;
        self.holds.join(&outgoing.state.seen());
        Ok(full)
    }

    /// Gives what is left, one file at a time; nothing once nothing is left.
    pub async fn finish(&mut self) -> Result<Option<Parcel>> {
        if !self.text.is_empty() {
            self.end_block();
        }
        while !self.pending.is_empty() {
            if let Some(full) = self.take_block().await? {
                return Ok(Some(full));
            }
        }
        self.end_file()
    }

    /// Has the block that was filled compressed.
    fn end_block(&mut self) {
        let text = std::mem::take(&mut self.text);
        let (entities, holds) =
            (std::mem::take(&mut self.entities), std::mem::take(&mut self.holds));
        let idle = self.idle.pop();
        let is_short = text.len() <= SHORT_TEXT_BYTES;
        let compress = move || {
            let mut compressor = idle.map_or_else(compressor, Ok)?;
            let bytes = compressor.compress(text.as_bytes())?;
            let block = Block {
                bytes: bytes.len() as u64,
                sha256: sha256_hex(&bytes),
                text_bytes: text.len() as u64,
                entities,
                holds,
            };
            Ok(Packed { block, bytes, compressor })
        };
        self.pending.push_back(if is_short {
            Pending::There(compress())
        } else {
            Pending::Elsewhere(spawn_blocking(compress))
        });
    }

    /// Waits for the next block and puts it into the file; gives that file if it was full before,
    /// and begins another with the block.
    async fn take_block(&mut self) -> Result<Option<Parcel>> {
        let Some(pending) = self.pending.pop_front() else { return Ok(None) };
        let packed = match pending {
            Pending::There(packed) => packed,
            Pending::Elsewhere(task) => task.await.map_err(std::io::Error::other).flatten(),
        };
        let packed = packed.map_err(unpackable)?;
        let text_bytes: u64 = self.blocks.iter().map(|block| block.text_bytes).sum();
        let room = packed.block.text_bytes.max(BLOCK_TEXT_BYTES as u64);
        let is_full = self.bytes.len() >= FILE_BYTES || text_bytes + room > DATA_TEXT_BYTES_MAX;
        let full = if is_full { self.end_file()? } else { None };
        self.blocks.push(packed.block);
        self.bytes.extend(packed.bytes);
        self.idle.push(packed.compressor);
        Ok(full)
    }

    fn end_file(&mut self) -> Result<Option<Parcel>> {
        let blocks = std::mem::take(&mut self.blocks);
        let mut bytes = std::mem::take(&mut self.bytes);
        if blocks.is_empty() {
            return Ok(None);
        }
        // One block is the whole file, and needs no index to be read alone.
        let index = (blocks.len() > 1).then(|| {
            let (frame, index) = block::encode(&blocks);
            bytes.extend(frame);
            index
        });
        let sha256 = sha256_hex(&bytes);
        let name = match &self.device {
            Some(device) => layout::delta_file(self.generation, device, &sha256)?,
            None => layout::pack_file(self.generation, &sha256)?,
        };
        let mut file = row(name, self.generation, &bytes, sha256);
        file.index = index;
        file.text_bytes = Some(blocks.iter().map(|block| block.text_bytes).sum());
        file.entities = blocks.iter().map(|block| block.entities).sum();
        blocks.iter().for_each(|block| file.holds.join(&block.holds));
        Ok(Some(Parcel { file, bytes: bytes.into() }))
    }
}

fn compressor() -> std::io::Result<Compressor> {
    let mut compressor = Compressor::new(ZSTD_LEVEL)?;
    compressor.set_parameter(CParameter::HashLog(ZSTD_HASH_LOG))?;
    Ok(compressor)
}

fn unpackable(error: std::io::Error) -> RemoteError {
    RemoteError::damaged("a batch to be sent", error)
}

/// The row of a file, as far as its bytes tell.
fn row(file: RemotePath, generation: u64, bytes: &[u8], sha256: String) -> DataFile {
    DataFile {
        file,
        bytes: bytes.len() as u64,
        sha256,
        text_bytes: None,
        entities: 0,
        from_generation: generation + 1,
        to_generation: generation + 1,
        holds: VersionVector::default(),
        index: None,
        up_to: None,
    }
}

/// Encodes an entity with the end of its line, and makes sure that every reader will take it: what
/// one reader refuses would make its whole file unreadable to all.
fn line(entity: &Outgoing) -> Result<String> {
    let mut text = codec::encode(&entity.state, &entity.type_name, entity.is_deleted);
    codec::check(&entity.state, text.len())
        .and_then(|()| json::check_values(&text).map_err(|error| error.to_string()))
        .map_err(|why| RemoteError::Unsendable { id: entity.state.id.clone(), why })?;
    text.push('\n');
    Ok(text)
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer")
            .field("generation", &self.generation)
            .field("blocks", &self.blocks.len())
            .finish_non_exhaustive()
    }
}
