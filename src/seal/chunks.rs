//! A sealed file: a mark, and chunks of which each is encrypted and authenticated on its own.
//!
//! The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption
//! and its Nonce-Reuse Misuse-Resistance, CRYPTO 2015) over XChaCha20-Poly1305: the nonce of a chunk
//! is the file's random prefix, the chunk's number, and whether it is the last. Each chunk repeats
//! the prefix, so that a range can be read by one request.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use chacha20poly1305::{AeadInOut, Tag, XNonce};
use futures::stream::{self, BoxStream, StreamExt};
use larder_providers::{Error, ErrorKind, RemotePath};

use super::{Sealer, key::fill_random};
use crate::model::SEALED_MARK as MARK;

/// How many bytes of the content a chunk holds; the last may hold fewer.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// The random part of the nonces of a file.
const PREFIX_BYTES: usize = 19;
const TAG_BYTES: usize = 16;
/// What a chunk has beside its content.
const EXTRA_BYTES: usize = PREFIX_BYTES + TAG_BYTES;
/// A full chunk as it is stored.
const STORED_BYTES: usize = CHUNK_BYTES + EXTRA_BYTES;

/// The length of a sealed file whose content has so many bytes.
pub fn sealed_bytes(plain: u64) -> u64 {
    let chunks = plain.div_ceil(CHUNK_BYTES as u64).max(1);
    (MARK.len() as u64).saturating_add(plain).saturating_add(chunks * EXTRA_BYTES as u64)
}

/// The length of the content of a sealed file of so many bytes; nothing if no sealed file has that
/// length.
pub fn plain_bytes(sealed: u64) -> Option<u64> {
    held_by(sealed.checked_sub(MARK.len() as u64)?)
}

/// How much content chunks of so many bytes together hold, from a chunk's beginning to the file's end.
fn held_by(stored: u64) -> Option<u64> {
    let (full, rest) = (stored / STORED_BYTES as u64, stored % STORED_BYTES as u64);
    let held = full * CHUNK_BYTES as u64;
    match rest.checked_sub(EXTRA_BYTES as u64) {
        _ if rest == 0 && full > 0 => Some(held),
        // Only a file without content has an empty chunk.
        Some(0) if full > 0 => None,
        Some(last) => Some(held + last),
        None => None,
    }
}

/// Seals the chunks of one file, one after the other.
pub(super) struct Sealing<'a> {
    sealer: &'a Sealer,
    about: Vec<u8>,
    prefix: [u8; PREFIX_BYTES],
    number: u32,
}

impl<'a> Sealing<'a> {
    /// Begins a file at `place`.
    pub(super) fn new(sealer: &'a Sealer, place: &str) -> super::Result<Self> {
        let mut prefix = [0; PREFIX_BYTES];
        fill_random(&mut prefix)?;
        Ok(Self { sealer, about: sealer.about(place), prefix, number: 0 })
    }

    /// The next chunk as it is stored; nothing if the file is too long.
    pub(super) fn chunk(&mut self, plain: &[u8], is_last: bool) -> Option<Vec<u8>> {
        let nonce = nonce(&self.prefix, self.number, is_last);
        let mut stored = Vec::with_capacity(plain.len() + EXTRA_BYTES);
        stored.extend_from_slice(&self.prefix);
        stored.extend_from_slice(plain);
        let content = stored.get_mut(PREFIX_BYTES..)?;
        let cipher = &self.sealer.contents;
        let tag = cipher.encrypt_inout_detached(&nonce, &self.about, content.into()).ok()?;
        stored.extend_from_slice(&tag);
        self.number = self.number.checked_add(1)?;
        Some(stored)
    }
}

impl Sealer {
    /// Seals a content that is to lie at `place`.
    pub(super) fn seal(&self, place: &str, plain: &[u8]) -> super::Result<Vec<u8>> {
        let sealing = Sealing::new(self, place)?;
        let too_long = || super::SealError::damaged(place, "it is too long to be sealed");
        seal_all(sealing, plain).ok_or_else(too_long)
    }

    /// Seals a content under nonces that were drawn by somebody else.
    #[cfg(test)]
    pub(super) fn seal_with(&self, place: &str, plain: &[u8], prefix: &[u8]) -> Vec<u8> {
        let prefix = prefix.try_into().unwrap();
        let sealing = Sealing { sealer: self, about: self.about(place), prefix, number: 0 };
        seal_all(sealing, plain).unwrap()
    }

    /// Opens a whole file that lies at `place`; why not, if it was not sealed there.
    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut rest = sealed.strip_prefix(MARK).ok_or(NOT_SEALED)?;
        let mut opening = Opening::new(self, place, 0);
        let mut plain = Vec::with_capacity(sealed.len());
        loop {
            let (stored, after) = rest.split_at(rest.len().min(STORED_BYTES));
            plain.extend_from_slice(&opening.chunk(stored, Some(after.is_empty())).ok_or(FORGED)?);
            rest = after;
            if rest.is_empty() {
                return Ok(plain);
            }
        }
    }

    /// What every chunk of a file is bound to: the form, the remote, and where the file lies.
    fn about(&self, place: &str) -> Vec<u8> {
        [MARK.as_slice(), self.remote_id.as_bytes(), b"\0", place.as_bytes()].concat()
    }
}

fn seal_all(mut sealing: Sealing<'_>, plain: &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(sealed_bytes(plain.len() as u64)).unwrap_or_default();
    let mut sealed = Vec::with_capacity(length);
    sealed.extend_from_slice(MARK);
    let mut rest = plain;
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(CHUNK_BYTES));
        sealed.extend_from_slice(&sealing.chunk(chunk, after.is_empty())?);
        rest = after;
        if rest.is_empty() {
            return Some(sealed);
        }
    }
}

const NOT_SEALED: &str = "it is not encrypted, as everything on this remote has to be";
const FORGED: &str = "it was not encrypted for this place on this remote, or was changed since";
const CUT: &str = "its end is missing";

fn nonce(prefix: &[u8; PREFIX_BYTES], number: u32, is_last: bool) -> XNonce {
    let mut nonce = XNonce::default();
    let parts = prefix.iter().copied().chain(number.to_be_bytes()).chain([u8::from(is_last)]);
    nonce.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    nonce
}

/// Opens the chunks of one file, one after the other.
struct Opening<'a> {
    sealer: &'a Sealer,
    about: Vec<u8>,
    prefix: Option<[u8; PREFIX_BYTES]>,
    number: u32,
}

impl<'a> Opening<'a> {
    fn new(sealer: &'a Sealer, place: &str, number: u32) -> Self {
        Self { sealer, about: sealer.about(place), prefix: None, number }
    }

    /// The content of the next chunk. Where nobody knows whether it is the last, either will do.
    fn chunk(&mut self, stored: &[u8], is_last: Option<bool>) -> Option<Vec<u8>> {
        let (prefix, rest) = stored.split_first_chunk::<PREFIX_BYTES>()?;
        let (content, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        if *self.prefix.get_or_insert(*prefix) != *prefix {
            return None;
        }
        let is_allowed = |last: &bool| is_last.is_none_or(|known| known == *last);
        let tried = [false, true].into_iter().filter(is_allowed);
        let opened = tried.into_iter().find_map(|last| {
            let mut plain = content.to_vec();
            let (nonce, tag) = (nonce(prefix, self.number, last), Tag::from(*tag));
            let cipher = &self.sealer.contents;
            let buffer = plain.as_mut_slice().into();
            cipher.decrypt_inout_detached(&nonce, &self.about, buffer, &tag).ok()?;
            // A part of a chunk, or none, can only be the end, and an empty end only the whole.
            let is_full = content.len() == CHUNK_BYTES;
            let is_whole = self.number == 0 || !content.is_empty();
            (if last { is_whole } else { is_full }).then_some(plain)
        })?;
        self.number = self.number.checked_add(1)?;
        Some(opened)
    }
}

/// A part of a file, and the chunks that it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// What is wanted of the content.
    wanted: Range<u64>,
    first: u64,
}

impl Part {
    pub(super) fn new(wanted: Range<u64>) -> Self {
        Self { first: wanted.start / CHUNK_BYTES as u64, wanted }
    }

    /// The bytes of the sealed file that hold it.
    pub(super) fn stored(&self) -> Range<u64> {
        let at = |chunk: u64| {
            (MARK.len() as u64).saturating_add(chunk.saturating_mul(STORED_BYTES as u64))
        };
        // Of an empty part the chunk as well: how far the file reaches is told by it.
        let last = self.wanted.end.max(self.wanted.start.saturating_add(1)) - 1;
        at(self.first)..at((last / CHUNK_BYTES as u64).saturating_add(1))
    }

    /// Which part of the content is covered by what came of [`Part::stored`].
    pub(super) fn covered(&self, came: &Range<u64>) -> Range<u64> {
        let begin = self.first.saturating_mul(CHUNK_BYTES as u64);
        let held = held_by(came.end.saturating_sub(came.start)).unwrap_or_default();
        let end = begin.saturating_add(held);
        let start = self.wanted.start.min(end.max(begin));
        start..self.wanted.end.clamp(start, end.max(start))
    }
}

/// A sealed body on its way, opened chunk by chunk.
pub(super) struct Unsealing {
    pub(super) sealer: std::sync::Arc<Sealer>,
    pub(super) path: RemotePath,
    pub(super) place: String,
    pub(super) body: BoxStream<'static, larder_providers::Result<Bytes>>,
    /// How many sealed bytes were announced.
    pub(super) announced: Option<u64>,
    /// The part that was asked for and is coming; nothing for the whole file.
    pub(super) part: Option<(Part, Range<u64>)>,
}

impl Unsealing {
    /// The content. It ends with an error where the file was not sealed for this place.
    pub(super) fn stream(self) -> BoxStream<'static, larder_providers::Result<Bytes>> {
        let (skip, left, number) = match &self.part {
            None => (0, u64::MAX, 0),
            Some((part, covered)) => (
                covered.start.saturating_sub(part.first.saturating_mul(CHUNK_BYTES as u64)),
                covered.end - covered.start,
                part.first,
            ),
        };
        let reading = Reading {
            is_marked: self.part.is_some(),
            unsealing: self,
            gathered: BytesMut::new(),
            came: 0,
            prefix: None,
            number,
            skip,
            left,
            is_over: left == 0,
            is_ended: false,
        };
        stream::try_unfold(reading, async |mut reading| {
            Ok(reading.next().await?.map(|chunk| (chunk, reading)))
        })
        .boxed()
    }
}

struct Reading {
    unsealing: Unsealing,
    gathered: BytesMut,
    came: u64,
    /// Whether the mark was seen, or is not part of what was asked for.
    is_marked: bool,
    prefix: Option<[u8; PREFIX_BYTES]>,
    number: u64,
    /// What of the next chunk was not asked for.
    skip: u64,
    /// How much is still wanted.
    left: u64,
    is_ended: bool,
    is_over: bool,
}

impl Reading {
    async fn next(&mut self) -> larder_providers::Result<Option<Bytes>> {
        while !self.is_over {
            self.gather().await?;
            let plain = self.open()?;
            let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(plain.len());
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            let end = skip.saturating_add(left).min(plain.len());
            self.skip = 0;
            self.left -= (end - skip) as u64;
            self.is_over |= self.left == 0;
            if end > skip {
                return Ok(Some(Bytes::from(plain).slice(skip..end)));
            }
        }
        Ok(None)
    }

    /// Gathers a chunk and a byte more, which tells that it is not the last.
    async fn gather(&mut self) -> larder_providers::Result<()> {
        let mark = if self.is_marked { 0 } else { MARK.len() };
        while !self.is_ended && self.gathered.len() <= STORED_BYTES + mark {
            match self.unsealing.body.next().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(|error| error.about(&self.unsealing.path))?;
                    self.came += chunk.len() as u64;
                    self.gathered.extend_from_slice(&chunk);
                }
                None => self.is_ended = true,
            }
        }
        if self.is_ended && self.unsealing.announced.is_some_and(|bytes| bytes > self.came) {
            let detail = format!("the answer was cut after {} bytes", self.came);
            return Err(Error::new(ErrorKind::Unreachable, "get", &self.unsealing.path, detail));
        }
        if !self.is_marked {
            if !self.gathered.starts_with(MARK) {
                return Err(self.damaged(NOT_SEALED));
            }
            drop(self.gathered.split_to(MARK.len()));
            self.is_marked = true;
        }
        Ok(())
    }

    fn open(&mut self) -> larder_providers::Result<Vec<u8>> {
        let stored = self.gathered.split_to(self.gathered.len().min(STORED_BYTES));
        let is_end = self.gathered.is_empty();
        let is_last = match (&self.unsealing.part, is_end) {
            (_, false) => Some(false),
            (None, true) => Some(true),
            (Some(_), true) => None,
        };
        let Ok(number) = u32::try_from(self.number) else { return Err(self.damaged(FORGED)) };
        let sealer = std::sync::Arc::clone(&self.unsealing.sealer);
        let mut opening = Opening::new(&sealer, &self.unsealing.place, number);
        opening.prefix = self.prefix;
        let why = if stored.len() < EXTRA_BYTES { CUT } else { FORGED };
        let plain = opening.chunk(&stored, is_last).ok_or_else(|| self.damaged(why))?;
        self.prefix = opening.prefix;
        self.number += 1;
        self.is_over = is_end;
        Ok(plain)
    }

    fn damaged(&self, detail: &str) -> Error {
        Error::new(ErrorKind::Damaged, "get", &self.unsealing.path, detail)
    }
}
