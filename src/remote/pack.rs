//! Packing entities for the way: one alone as a file that anybody can read, more as lines in blocks.

use bytes::Bytes;
use larder_providers::RemotePath;

use super::{
    DataFile, RemoteError, Result,
    block::{self, Block},
    codec, layout,
};
use crate::{
    digest::sha256_hex,
    model::{DeviceId, Entity, VersionVector, limits::DATA_TEXT_BYTES_MAX},
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

/// Packs entities, one after the other, into as few files as may be.
pub struct Packer {
    generation: u64,
    /// The maker of a delta; a pack does not name it.
    device: Option<DeviceId>,
    compressor: zstd::bulk::Compressor<'static>,
    text: String,
    entities: u64,
    holds: VersionVector,
    blocks: Vec<Block>,
    bytes: Vec<u8>,
}

impl Packer {
    /// A packer of a delta that `device` builds on `generation`.
    pub fn of_delta(generation: u64, device: DeviceId) -> Result<Self> {
        Self::new(generation, Some(device))
    }

    /// A packer of packs that are built on `generation`.
    pub fn of_packs(generation: u64) -> Result<Self> {
        Self::new(generation, None)
    }

    fn new(generation: u64, device: Option<DeviceId>) -> Result<Self> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(unpackable)?;
        let (text, blocks, bytes) = (String::new(), Vec::new(), Vec::new());
        let holds = VersionVector::default();
        Ok(Self { generation, device, compressor, text, entities: 0, holds, blocks, bytes })
    }

    /// Adds an entity; gives a file if one is full by that.
    pub fn add(&mut self, outgoing: &Outgoing) -> Result<Option<Parcel>> {
        let line = line(outgoing)?;
        let mut full = None;
        if !self.text.is_empty() && self.text.len() + line.len() > BLOCK_TEXT_BYTES {
            self.end_block()?;
            let text_bytes: u64 = self.blocks.iter().map(|block| block.text_bytes).sum();
            let room = BLOCK_TEXT_BYTES.max(line.len()) as u64;
            if self.bytes.len() >= FILE_BYTES || text_bytes + room > DATA_TEXT_BYTES_MAX {
                full = self.finish()?;
            }
        }
        self.text.push_str(&line);
        self.entities += 1;
        self.holds.join(&outgoing.state.seen());
        Ok(full)
    }

    /// Gives what is left as a file; nothing if nothing is.
    pub fn finish(&mut self) -> Result<Option<Parcel>> {
        self.end_block()?;
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

    fn end_block(&mut self) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let bytes = self.compressor.compress(self.text.as_bytes()).map_err(unpackable)?;
        self.blocks.push(Block {
            bytes: bytes.len() as u64,
            sha256: sha256_hex(&bytes),
            text_bytes: self.text.len() as u64,
            entities: std::mem::take(&mut self.entities),
            holds: std::mem::take(&mut self.holds),
        });
        self.bytes.extend(bytes);
        self.text.clear();
        Ok(())
    }
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
