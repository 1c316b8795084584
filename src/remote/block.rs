//! Blocks: the parts of a data file that can be read each on its own, and the index that lists them.
//!
//! A data file is one zstd frame a block, so that all of them together unpack like one. The index
//! follows as a skippable frame, which every zstd decoder passes over (RFC 8878, 3.1.2).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{DataFile, RemoteError, Result, manifest::IndexRow};
use crate::{
    digest::sha256_hex,
    model::{
        VersionVector, json,
        limits::{DATA_TEXT_BYTES_MAX, INDEX_BYTES_MAX},
    },
};

/// The first of the sixteen magic numbers of skippable frames.
const MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// What stands before the content of a skippable frame: the magic number, and its length.
const HEADER_BYTES: usize = 8;

/// What the index says of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Block {
    /// Its length in bytes; it begins where the one before ends.
    pub(super) bytes: u64,
    /// Its digest.
    pub(super) sha256: String,
    /// The length of its content in bytes.
    pub(super) text_bytes: u64,
    /// How many entities it holds.
    pub(super) entities: u64,
    /// The highest edit of each device in it.
    pub(super) holds: VersionVector,
}

#[derive(Serialize, Deserialize)]
struct Index {
    blocks: Vec<Block>,
}

/// The index of `blocks` as it ends a file, with what the manifest says of it.
pub(super) fn encode(blocks: &[Block]) -> (Vec<u8>, IndexRow) {
    let content = serde_json::to_vec(&Index { blocks: blocks.to_vec() }).unwrap_or_default();
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let frame = [&MAGIC[..], &length.to_le_bytes(), &content].concat();
    let row = IndexRow { bytes: frame.len() as u64, sha256: sha256_hex(&frame) };
    (frame, row)
}

/// Reads the index of `data` that came as `frame`, and makes sure that it agrees with the manifest.
pub(super) fn decode(data: &DataFile, row: &IndexRow, frame: &[u8]) -> Result<Vec<Block>> {
    let damaged = |detail: String| RemoteError::damaged(data.file.as_str(), detail);
    if frame.len() as u64 != row.bytes || sha256_hex(frame) != row.sha256 {
        return Err(damaged("its index is not what was written (SHA-256)".to_owned()));
    }
    let content = content(frame).ok_or_else(|| damaged("its index is no frame".to_owned()))?;
    let text = std::str::from_utf8(content).map_err(|error| damaged(format!("index: {error}")))?;
    let value = json::parse(text).map_err(|error| damaged(format!("index: {error}")))?;
    let index: Index =
        serde_json::from_value(value).map_err(|error| damaged(format!("index: {error}")))?;
    let sum = |of: fn(&Block) -> u64| {
        index.blocks.iter().try_fold(0_u64, |sum, block| sum.checked_add(of(block)))
    };
    let claims = [
        ("bytes", sum(|block| block.bytes), data.bytes.checked_sub(row.bytes)),
        ("bytes of content", sum(|block| block.text_bytes), data.text_bytes),
        ("entities", sum(|block| block.entities), Some(data.entities)),
    ];
    for (what, found, declared) in claims {
        if found.is_none() || found != declared {
            return Err(damaged(format!("its index and the manifest differ in the {what}")));
        }
    }
    // A block that holds more than is said of it would be left out by who lacks that, for good.
    let mut holds = VersionVector::default();
    index.blocks.iter().for_each(|block| holds.join(&block.holds));
    if !data.holds.includes(&holds) || !holds.includes(&data.holds) {
        return Err(damaged("its index and the manifest differ in the edits".to_owned()));
    }
    Ok(index.blocks)
}

fn content(frame: &[u8]) -> Option<&[u8]> {
    let (header, content) = frame.split_at_checked(HEADER_BYTES)?;
    let (magic, length) = header.split_at_checked(MAGIC.len())?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    (magic == MAGIC && length as usize == content.len()).then_some(content)
}

/// What the manifest says of a data file is within what a reader takes.
pub(super) fn check_lengths(data: &DataFile) -> Result<()> {
    let damaged = |detail: String| Err(RemoteError::damaged(data.file.as_str(), detail));
    if let Some(text_bytes) = data.text_bytes.filter(|bytes| *bytes > DATA_TEXT_BYTES_MAX) {
        let detail =
            format!("it declares {text_bytes} bytes of content, over {DATA_TEXT_BYTES_MAX}");
        return damaged(detail);
    }
    let Some(index) = &data.index else { return Ok(()) };
    if index.bytes > INDEX_BYTES_MAX || index.bytes > data.bytes || data.text_bytes.is_none() {
        return damaged(format!("it declares an index of {} bytes", index.bytes));
    }
    Ok(())
}

/// Cuts `bytes` into the blocks that lie in it one after the other.
pub(super) fn cut<'a>(
    bytes: &Bytes,
    blocks: impl Iterator<Item = &'a Block>,
) -> Option<Vec<Bytes>> {
    let mut rest = bytes.clone();
    let mut cut = Vec::new();
    for block in blocks {
        let length = usize::try_from(block.bytes).ok().filter(|length| *length <= rest.len())?;
        cut.push(rest.split_to(length));
    }
    Some(cut)
}
