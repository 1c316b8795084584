//! Data files on their way from the remote: fetched whole or in part, verified, decoded.

use std::{cell::RefCell, io::Read as _, ops::Range};

use bytes::Bytes;
use larder_providers::{
    ErrorKind, Get, GetOptions, Object, SharedStorage, Storage as _, StorageExt, collect,
};
use zstd::bulk::Decompressor;

use super::{
    DataFile, RemoteError, Result,
    block::{self, Block},
    codec,
    manifest::IndexRow,
};
use crate::{
    digest::sha256_hex,
    model::{Entity, EntityId, VersionVector, limits::DATA_FILE_BYTES_MAX},
};

/// A file of fewer bytes is read whole: a request more costs more than it spares.
const PARTS_FROM_BYTES: u64 = 256 << 10;

/// Blocks that lie closer together than this many bytes are fetched by one request.
const GAP_BYTES: u64 = 64 << 10;

/// How much text is decoded at once, in bytes; one record may have more.
pub(super) const PORTION_BYTES: usize = 4 << 20;

/// How many values are decoded at once; one record may have more. A list of zeros takes two bytes of
/// text each, and two hundred times that in memory.
pub(super) const PORTION_VALUES: usize = 1 << 16;

/// Of a text of more bytes that part is let go of that was read.
const LONG_TEXT_BYTES: usize = 8 << 20;

/// A text of at most so many bytes is unpacked in one step.
const SHORT_TEXT_BYTES: usize = 256 << 10;

/// What was fetched of a data file: blocks whose bytes are verified and that are still packed.
#[derive(Debug)]
pub struct Fetched {
    data: DataFile,
    blocks: std::vec::IntoIter<(Block, Bytes)>,
    open: Option<Open>,
    line: usize,
    /// What lines say of their own entities and is not so, where that was asked for.
    false_claims: Option<Vec<(EntityId, String)>>,
}

/// A block that is unpacked, and how far it was read.
#[derive(Debug)]
struct Open {
    block: Block,
    text: String,
    at: usize,
    entities: u64,
}

impl Fetched {
    fn new(data: &DataFile, blocks: Vec<(Block, Bytes)>) -> Self {
        Self {
            data: data.clone(),
            blocks: blocks.into_iter(),
            open: None,
            line: 0,
            false_claims: None,
        }
    }

    /// Has what can be derived of an entity held against what its line says of it. Nobody who merges
    /// uses that, but other readers may.
    #[must_use]
    pub fn with_claims(self) -> Self {
        Self { false_claims: Some(Vec::new()), ..self }
    }

    /// What was not so in the portions that were given.
    pub fn take_false_claims(&mut self) -> Vec<(EntityId, String)> {
        self.false_claims.take().unwrap_or_default()
    }

    /// Unpacks the next block, or a part of one that is large; nothing after the last.
    pub fn next_portion(&mut self) -> Option<Result<Vec<Entity>>> {
        let open = match self.open.take() {
            Some(open) => Ok(open),
            None => {
                let (block, bytes) = self.blocks.next()?;
                self.unpack(block, &bytes)
            }
        };
        Some(open.and_then(|open| self.read(open)))
    }

    /// Unpacks all of it.
    pub fn all(mut self) -> Result<Vec<Entity>> {
        let mut entities = Vec::new();
        while let Some(portion) = self.next_portion() {
            entities.extend(portion?);
        }
        Ok(entities)
    }

    fn unpack(&self, block: Block, bytes: &[u8]) -> Result<Open> {
        let name = self.data.file.as_str();
        let text = match self.data.text_bytes {
            Some(_) => inflate(name, bytes, block.text_bytes)?,
            None => bytes.to_vec(),
        };
        let text = String::from_utf8(text).map_err(|error| RemoteError::damaged(name, error))?;
        Ok(Open { block, text, at: 0, entities: 0 })
    }

    /// Decodes lines of a block, as many as fit into memory with what is made of them.
    fn read(&mut self, mut open: Open) -> Result<Vec<Entity>> {
        let name = self.data.file.as_str();
        let (mut bytes, mut values) = (0, 0);
        let mut entities = Vec::new();
        while bytes < PORTION_BYTES && values < PORTION_VALUES {
            let rest = open.text.get(open.at..).unwrap_or_default();
            let Some(line) = rest.split_inclusive('\n').next() else { break };
            open.at += line.len();
            self.line += 1;
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            bytes += line.len();
            values += values_of(line);
            let at = self.line;
            let damaged =
                |detail: String| RemoteError::damaged(name, format!("line {at}: {detail}"));
            let entity = codec::decode(line).map_err(damaged)?;
            if !open.block.holds.includes(&entity.seen()) {
                let detail = format!("edits of {} that the manifest does not name", entity.id);
                return Err(damaged(detail));
            }
            if let Some(claims) = &mut self.false_claims {
                let lie = codec::false_claim(line, &entity);
                claims.extend(lie.map(|lie| (entity.id.clone(), lie)));
            }
            entities.push(entity);
        }
        open.entities += entities.len() as u64;
        if open.at < open.text.len() {
            if open.text.len() > LONG_TEXT_BYTES {
                // What was read goes before what was made of it is worked on.
                open.text.drain(..std::mem::take(&mut open.at));
                open.text.shrink_to_fit();
            }
            self.open = Some(open);
        } else if open.entities != open.block.entities {
            let detail = format!("{} entities instead of {}", open.entities, open.block.entities);
            return Err(RemoteError::damaged(name, detail));
        }
        Ok(entities)
    }
}

/// About how many values a line has; what stands in its strings counts as well.
pub(super) fn values_of(line: &str) -> usize {
    line.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
}

/// Fetches a data file, or the blocks of it that hold edits which a replica of the edits `knows`
/// lacks, and checks it against what the manifest says of it.
pub async fn fetch(
    storage: &SharedStorage,
    data: &DataFile,
    knows: &VersionVector,
) -> Result<Fetched> {
    if data.bytes > DATA_FILE_BYTES_MAX {
        let detail = format!("{} bytes, over {DATA_FILE_BYTES_MAX}", data.bytes);
        return Err(RemoteError::damaged(data.file.as_str(), detail));
    }
    block::check_lengths(data)?;
    if let Some(index) = &data.index
        && data.bytes >= PARTS_FROM_BYTES
        && !knows.is_empty()
        && let Some(fetched) = fetch_parts(storage, data, index, knows).await?
    {
        return Ok(fetched);
    }
    let read = storage.read(&data.file, data.bytes).await;
    let (bytes, _) = read.map_err(|error| told_length(data, error))?;
    take_whole(data, bytes)
}

/// A file that is longer than it was when it was written is damaged; everything else is the
/// storage's.
fn told_length(data: &DataFile, error: larder_providers::Error) -> RemoteError {
    if error.kind() == ErrorKind::TooLarge {
        let detail = format!("longer than the {} bytes that were written", data.bytes);
        return RemoteError::damaged(data.file.as_str(), detail);
    }
    error.into()
}

/// Verifies a data file that came as `bytes`.
pub fn take_whole(data: &DataFile, bytes: Bytes) -> Result<Fetched> {
    let damaged = |detail: String| RemoteError::damaged(data.file.as_str(), detail);
    if bytes.len() as u64 != data.bytes {
        return Err(damaged(format!("{} bytes long instead of {}", bytes.len(), data.bytes)));
    }
    if sha256_hex(&bytes) != data.sha256 {
        return Err(damaged("its content is not what was written (SHA-256)".to_owned()));
    }
    block::check_lengths(data)?;
    let Some(index) = &data.index else {
        let only = Block {
            bytes: data.bytes,
            sha256: data.sha256.clone(),
            text_bytes: data.text_bytes.unwrap_or(data.bytes),
            entities: data.entities,
            holds: data.holds.clone(),
        };
        return Ok(Fetched::new(data, vec![(only, bytes)]));
    };
    let end = bytes.len() - usize::try_from(index.bytes).unwrap_or(bytes.len());
    let blocks = block::decode(data, index, bytes.get(end..).unwrap_or_default())?;
    let cut = block::cut(&bytes.slice(..end), blocks.iter()).unwrap_or_default();
    verified(data, blocks.into_iter().zip(cut).collect())
}

/// Makes sure that each block is what the index says.
fn verified(data: &DataFile, blocks: Vec<(Block, Bytes)>) -> Result<Fetched> {
    for (number, (block, bytes)) in (1..).zip(&blocks) {
        if sha256_hex(bytes) != block.sha256 {
            let detail = format!("block {number} is not what was written (SHA-256)");
            return Err(RemoteError::damaged(data.file.as_str(), detail));
        }
    }
    Ok(Fetched::new(data, blocks))
}

/// Fetches the index and then the blocks that hold news; nothing if the whole file is the shorter
/// way.
async fn fetch_parts(
    storage: &SharedStorage,
    data: &DataFile,
    index: &IndexRow,
    knows: &VersionVector,
) -> Result<Option<Fetched>> {
    let index_range = data.bytes - index.bytes..data.bytes;
    let frame = match fetch_range(storage, data, index_range).await? {
        Part::Whole(bytes) => return take_whole(data, bytes).map(Some),
        Part::Range(frame) => frame,
    };
    let blocks = block::decode(data, index, &frame)?;
    let mut wanted: Vec<(u64, Block)> = Vec::new();
    let mut start = 0;
    for block in blocks {
        let next = start + block.bytes;
        if !knows.includes(&block.holds) {
            wanted.push((start, block));
        }
        start = next;
    }
    let wanted_bytes: u64 = wanted.iter().map(|(_, block)| block.bytes).sum();
    if wanted_bytes > data.bytes / 2 {
        return Ok(None);
    }
    let mut fetched = Vec::new();
    for group in neighbours(wanted) {
        let range = span(&group);
        let base = range.start;
        match fetch_range(storage, data, range).await? {
            Part::Whole(bytes) => return take_whole(data, bytes).map(Some),
            Part::Range(bytes) => {
                for (start, block) in group {
                    let from = usize::try_from(start - base).unwrap_or(usize::MAX);
                    let length = usize::try_from(block.bytes).unwrap_or(usize::MAX);
                    let end = from.saturating_add(length).min(bytes.len());
                    fetched.push((block, bytes.slice(from.min(end)..end)));
                }
            }
        }
    }
    verified(data, fetched).map(Some)
}

/// Blocks, with where they begin, in groups of which each is fetched by one request.
fn neighbours(wanted: Vec<(u64, Block)>) -> Vec<Vec<(u64, Block)>> {
    let mut groups: Vec<Vec<(u64, Block)>> = Vec::new();
    for (start, block) in wanted {
        match groups.last_mut() {
            Some(group) if start - span(group).end <= GAP_BYTES => group.push((start, block)),
            _ => groups.push(vec![(start, block)]),
        }
    }
    groups
}

fn span(group: &[(u64, Block)]) -> Range<u64> {
    let start = group.first().map_or(0, |(start, _)| *start);
    let end = group.last().map_or(start, |(start, block)| start + block.bytes);
    start..end
}

/// What came of a range that was asked for.
enum Part {
    Range(Bytes),
    /// The storage has no ranges and sent everything.
    Whole(Bytes),
}

async fn fetch_range(storage: &SharedStorage, data: &DataFile, range: Range<u64>) -> Result<Part> {
    let length = range.end - range.start;
    let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
    let object: Object = match storage.get(&data.file, options).await? {
        Get::Object(object) => object,
        Get::NotModified => {
            let detail = "the server answered 'not modified' to an unconditional request";
            return Err(RemoteError::damaged(data.file.as_str(), detail));
        }
    };
    let is_part = object.range.as_ref() == Some(&range);
    let most = if is_part { length } else { data.bytes };
    let is_whole = object.range.is_none();
    let bytes = collect(&data.file, object, most).await;
    let bytes = bytes.map_err(|error| told_length(data, error))?;
    match (is_part, is_whole) {
        (true, _) if bytes.len() as u64 == length => Ok(Part::Range(bytes)),
        (_, true) => Ok(Part::Whole(bytes)),
        _ => {
            let detail = format!("shorter than the {} bytes that were written", data.bytes);
            Err(RemoteError::damaged(data.file.as_str(), detail))
        }
    }
}

thread_local! {
    /// What unpacks short texts: it takes longer to make than to use.
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Decompresses, but never more than is declared.
fn inflate(name: &str, bytes: &[u8], text_bytes: u64) -> Result<Vec<u8>> {
    if let Some(text) = inflate_short(bytes, text_bytes) {
        return Ok(text);
    }
    let damaged = |error: std::io::Error| RemoteError::damaged(name, error);
    let mut decoder = zstd::stream::read::Decoder::new(bytes).map_err(damaged)?;
    decoder.window_log_max(27).map_err(damaged)?;
    let mut text = Vec::new();
    decoder.take(text_bytes + 1).read_to_end(&mut text).map_err(damaged)?;
    if text.len() as u64 != text_bytes {
        let detail = format!("its content is not of the {text_bytes} bytes that are declared");
        return Err(RemoteError::damaged(name, detail));
    }
    Ok(text)
}

/// Decompresses a short text straight to where it is wanted, without the buffers that a long one
/// streams through. Nothing if it is not short, or anything is wrong with it.
fn inflate_short(bytes: &[u8], text_bytes: u64) -> Option<Vec<u8>> {
    let length = usize::try_from(text_bytes).ok().filter(|length| *length <= SHORT_TEXT_BYTES)?;
    UNPACKER.with_borrow_mut(|unpacker| {
        if unpacker.is_none() {
            *unpacker = Decompressor::new().ok();
        }
        let text = unpacker.as_mut()?.decompress(bytes, length).ok()?;
        (text.len() == length).then_some(text)
    })
}

#[cfg(test)]
mod tests;
