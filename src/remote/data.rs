//! Data files: entities on their way to and from the remote.

use std::io::Read as _;

use larder_providers::{ErrorKind, RemotePath, SharedStorage, StorageExt};

use super::{DataFile, RemoteError, Result, codec, layout};
use crate::{
    digest::sha256_hex,
    model::{
        DeviceId, Entity, VersionVector,
        limits::{DATA_FILE_BYTES_MAX, DATA_TEXT_BYTES_MAX},
    },
};

/// The most entities that travel as one delta; more travel as packs.
pub const DELTA_ENTITIES_MAX: usize = 256;

/// How much text goes into one file, in bytes before compression; a single longer line may.
const PACK_TEXT_BYTES: usize = 16 << 20;

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
    /// Whether it is a pack and not a delta.
    pub is_pack: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Packs entities for the way: one alone as a file of its own that anybody can read, some as a
/// delta, many or long ones as packs. `generation` is the one the files are built on.
pub fn pack_up(outgoing: &[Outgoing], generation: u64, device: &DeviceId) -> Result<Vec<Parcel>> {
    let lines = lines(outgoing)?;
    let text_bytes: usize = lines.iter().map(|line| line.text.len()).sum();
    match lines.as_slice() {
        [] => Ok(Vec::new()),
        [single] => {
            let bytes = single.text.clone().into_bytes();
            let sha256 = sha256_hex(&bytes);
            let (name, id) = (&single.entity.type_name, &single.entity.state.id);
            let file = layout::entity_file(name, id, generation, &sha256)?;
            let batch = Batch { file, sha256, bytes, text_bytes: None };
            Ok(vec![batch.seal(&lines, generation, false)])
        }
        some if some.len() <= DELTA_ENTITIES_MAX && text_bytes <= PACK_TEXT_BYTES => {
            let (bytes, text_bytes) = compress(some)?;
            let sha256 = sha256_hex(&bytes);
            let file = layout::delta_file(generation, device, &sha256)?;
            let batch = Batch { file, sha256, bytes, text_bytes: Some(text_bytes) };
            Ok(vec![batch.seal(some, generation, false)])
        }
        many => pack_lines(many, generation),
    }
}

/// Packs entities, sorted by id, into packs.
pub fn pack_all(outgoing: &[Outgoing], generation: u64) -> Result<Vec<Parcel>> {
    pack_lines(&lines(outgoing)?, generation)
}

fn pack_lines(lines: &[Line<'_>], generation: u64) -> Result<Vec<Parcel>> {
    let mut parcels = Vec::new();
    let (mut start, mut text_bytes) = (0, 0);
    for (index, line) in lines.iter().enumerate() {
        text_bytes += line.text.len();
        let next = lines.get(index + 1).map(|next| next.text.len());
        if next.is_none_or(|next| text_bytes + next > PACK_TEXT_BYTES) {
            let some = lines.get(start..=index).unwrap_or_default();
            let (bytes, length) = compress(some)?;
            let sha256 = sha256_hex(&bytes);
            let file = layout::pack_file(generation, &sha256)?;
            let batch = Batch { file, sha256, bytes, text_bytes: Some(length) };
            parcels.push(batch.seal(some, generation, true));
            (start, text_bytes) = (index + 1, 0);
        }
    }
    Ok(parcels)
}

/// An entity and the line that stands for it, its end included.
struct Line<'a> {
    entity: &'a Outgoing,
    text: String,
}

/// Encodes entities, and makes sure that every reader will take them: what one reader refuses
/// would make its whole file unreadable to all.
fn lines(outgoing: &[Outgoing]) -> Result<Vec<Line<'_>>> {
    outgoing.iter().map(line).collect()
}

fn line(entity: &Outgoing) -> Result<Line<'_>> {
    let mut text = codec::encode(&entity.state, &entity.type_name, entity.is_deleted);
    codec::check(&entity.state, text.len())
        .map_err(|why| RemoteError::Unsendable { id: entity.state.id.clone(), why })?;
    text.push('\n');
    Ok(Line { entity, text })
}

/// The bytes of a data file, before it is known what the manifest will say of it.
struct Batch {
    file: RemotePath,
    sha256: String,
    bytes: Vec<u8>,
    text_bytes: Option<u64>,
}

impl Batch {
    fn seal(self, lines: &[Line<'_>], generation: u64, is_pack: bool) -> Parcel {
        let mut holds = VersionVector::default();
        for line in lines {
            holds.join(&line.entity.state.seen());
        }
        let file = DataFile {
            file: self.file,
            bytes: self.bytes.len() as u64,
            sha256: self.sha256,
            text_bytes: self.text_bytes,
            entities: lines.len() as u64,
            from_generation: generation + 1,
            to_generation: generation + 1,
            holds,
        };
        Parcel { file, is_pack, bytes: self.bytes }
    }
}

/// Lines, compressed; with their length before.
fn compress(lines: &[Line<'_>]) -> Result<(Vec<u8>, u64)> {
    let text: String = lines.iter().map(|line| line.text.as_str()).collect();
    let bytes = zstd::bulk::compress(text.as_bytes(), ZSTD_LEVEL)
        .map_err(|error| RemoteError::damaged("a batch to be sent", error))?;
    Ok((bytes, text.len() as u64))
}

/// Reads a data file, checks it against what the manifest says of it, and decodes it.
pub async fn read(storage: &SharedStorage, data: &DataFile) -> Result<Vec<Entity>> {
    if data.bytes > DATA_FILE_BYTES_MAX {
        let detail = format!("{} bytes, over {DATA_FILE_BYTES_MAX}", data.bytes);
        return Err(RemoteError::damaged(data.file.as_str(), detail));
    }
    match storage.read(&data.file, data.bytes).await {
        Ok((bytes, _)) => decode(data, &bytes),
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            let detail = format!("longer than the {} bytes that were written", data.bytes);
            Err(RemoteError::damaged(data.file.as_str(), detail))
        }
        Err(error) => Err(error.into()),
    }
}

/// Decodes a data file that came as `bytes`.
pub fn decode(data: &DataFile, bytes: &[u8]) -> Result<Vec<Entity>> {
    let name = data.file.as_str();
    if bytes.len() as u64 != data.bytes {
        let detail = format!("{} bytes long instead of {}", bytes.len(), data.bytes);
        return Err(RemoteError::damaged(name, detail));
    }
    if sha256_hex(bytes) != data.sha256 {
        return Err(RemoteError::damaged(name, "its content is not what was written (SHA-256)"));
    }
    let text = match data.text_bytes {
        Some(text_bytes) => inflate(name, bytes, text_bytes)?,
        None => bytes.to_vec(),
    };
    let text = String::from_utf8(text).map_err(|error| RemoteError::damaged(name, error))?;
    let mut entities = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let entity = codec::decode(line)
            .map_err(|error| RemoteError::damaged(name, format!("line {}: {error}", index + 1)))?;
        if !data.holds.includes(&entity.seen()) {
            let detail = format!(
                "line {}: edits of {} that the manifest does not name",
                index + 1,
                entity.id
            );
            return Err(RemoteError::damaged(name, detail));
        }
        entities.push(entity);
    }
    if entities.len() as u64 != data.entities {
        let detail = format!("{} entities instead of {}", entities.len(), data.entities);
        return Err(RemoteError::damaged(name, detail));
    }
    Ok(entities)
}

/// Decompresses, but never more than the manifest declares.
fn inflate(name: &str, bytes: &[u8], text_bytes: u64) -> Result<Vec<u8>> {
    if text_bytes > DATA_TEXT_BYTES_MAX {
        let detail =
            format!("it declares {text_bytes} bytes of content, over {DATA_TEXT_BYTES_MAX}");
        return Err(RemoteError::damaged(name, detail));
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

/// Decodes what can be decoded of a data file that no manifest describes.
pub fn decode_loose(name: &str, bytes: &[u8]) -> Vec<Entity> {
    let mut text = Vec::new();
    if name.ends_with(".zst") {
        let Ok(decoder) = zstd::stream::read::Decoder::new(bytes) else { return Vec::new() };
        if decoder.take(DATA_TEXT_BYTES_MAX).read_to_end(&mut text).is_err() {
            return Vec::new();
        }
    } else {
        text.extend_from_slice(bytes);
    }
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|line| codec::decode(line).ok()).collect()
}
