//! Data files: deltas, packs and entity files, whole and in part.
//!
//! An input is what a manifest claims of a file, as JSON, and then the texts of its blocks. What is
//! not claimed is true, so that little has to be right by chance: a digest never is.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use larder::{
    digest::sha256_hex,
    model::{DeviceId, Entity, VersionVector, limits::DATA_TEXT_BYTES_MAX},
    remote::{DataFile, Fetched, Loose, codec, fetch, take_whole},
};
use larder_providers::{Memory, SharedStorage};
use serde_json::{Map, Value, json};

use crate::{
    pieces::{BETWEEN, Pieces},
    records::check,
    turn::RUNTIME,
};

/// A block that makes a file long enough to be read in part.
static PADDING: LazyLock<(Vec<u8>, Block)> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(7);
    let text: String = (0..400_000).map(|_| random.alphanumeric()).collect();
    let at = "2026-11-20T10:30:00.123Z";
    let line = json!({
        "id": "padding", "clock": {"zzzz": [1, 1, at]},
        "fields": {"body": [{"dot": "zzzz:1", "at": at, "value": text}]},
    });
    let text = format!("{line}\n");
    let bytes = zstd::bulk::compress(text.as_bytes(), 1).expect("it is compressed in memory");
    let block = Block::of(&text, &bytes);
    (bytes, block)
});

/// What the index truly says of a block.
struct Block {
    bytes: u64,
    sha256: String,
    text_bytes: u64,
    entities: u64,
    holds: VersionVector,
}

impl Block {
    fn of(text: &str, bytes: &[u8]) -> Self {
        let mut holds = VersionVector::default();
        let entities = text.lines().filter_map(|line| codec::decode(line).ok());
        entities.for_each(|entity| holds.join(&entity.seen()));
        Self {
            bytes: bytes.len() as u64,
            sha256: sha256_hex(bytes),
            text_bytes: text.len() as u64,
            entities: text.lines().filter(|line| !line.is_empty()).count() as u64,
            holds,
        }
    }

    fn row(&self) -> Value {
        json!({
            "bytes": self.bytes, "sha256": self.sha256, "textBytes": self.text_bytes,
            "entities": self.entities, "holds": self.holds,
        })
    }
}

/// A data file, what a manifest says of it, and what the reader knows.
struct Built {
    row: DataFile,
    bytes: Bytes,
    knows: VersionVector,
}

fn claim(row: &mut Value, claims: Option<&Value>) {
    if let (Value::Object(row), Some(Value::Object(claims))) = (row, claims) {
        row.extend(claims.clone());
    }
}

fn build(data: &[u8], padded: bool) -> Option<Built> {
    let mut pieces = Pieces::of(data);
    let claims: Map<String, Value> = serde_json::from_slice(pieces.next()?).ok()?;
    let is_plain = claims.get("plain").is_some();
    let (mut bytes, mut blocks) = (Vec::new(), Vec::new());
    if padded {
        let (padding, block) = &*PADDING;
        bytes.extend_from_slice(padding);
        blocks.push((block.row(), block.holds.clone()));
    }
    if claims.get("raw").is_some() {
        // The bytes of the file themselves, which may have the separator in them.
        let start = data.iter().position(|byte| *byte == BETWEEN)? + 1;
        let raw = &data[start..];
        let text = zstd::bulk::decompress(raw, 1 << 17).unwrap_or_default();
        let block = Block::of(&String::from_utf8_lossy(&text), raw);
        bytes.extend_from_slice(raw);
        blocks.push((block.row(), block.holds));
    } else {
        for (number, text) in pieces.enumerate() {
            let packed =
                if is_plain { text.to_vec() } else { zstd::bulk::compress(text, 1).ok()? };
            let block = Block::of(&String::from_utf8_lossy(text), &packed);
            let mut row = block.row();
            claim(&mut row, claims.get("blocks").and_then(|blocks| blocks.get(number)));
            bytes.extend_from_slice(&packed);
            blocks.push((row, block.holds));
        }
    }
    let sum = |key: &str| {
        blocks.iter().filter_map(|(row, _)| row[key].as_u64()).fold(0, u64::wrapping_add)
    };
    let mut holds = VersionVector::default();
    blocks.iter().for_each(|(_, held)| holds.join(held));
    let name = if is_plain { "entities/note.a.0-0123.json" } else { "packs/3-0123.jsonl.zst" };
    let mut row = json!({
        "file": name, "entities": sum("entities"), "fromGeneration": 4, "toGeneration": 4,
        "holds": holds,
    });
    if !is_plain {
        row["textBytes"] = sum("textBytes").into();
    }
    if blocks.len() > 1 || claims.contains_key("index") {
        let rows: Vec<&Value> = blocks.iter().map(|(row, _)| row).collect();
        let index = claims.get("index").cloned().unwrap_or_else(|| json!({ "blocks": rows }));
        let index = index.as_str().map_or_else(|| index.to_string(), str::to_owned);
        let length = u32::try_from(index.len()).ok()?;
        let frame =
            [&[0x50, 0x2a, 0x4d, 0x18], &length.to_le_bytes()[..], index.as_bytes()].concat();
        row["index"] = json!({ "bytes": frame.len(), "sha256": sha256_hex(&frame) });
        claim(&mut row["index"], claims.get("indexRow"));
        bytes.extend(frame);
    }
    row["bytes"] = bytes.len().into();
    row["sha256"] = sha256_hex(&bytes).into();
    claim(&mut row, claims.get("row"));
    let knows = claims.get("knows").and_then(VersionVector::from_json).unwrap_or_default();
    Some(Built { row: serde_json::from_value(row).ok()?, bytes: bytes.into(), knows })
}

/// Takes every block; whether none was damaged.
fn entities(row: &DataFile, mut fetched: Fetched) -> (Vec<Entity>, bool) {
    let mut entities = Vec::new();
    while let Some(block) = fetched.next_portion() {
        let Ok(block) = block else { return (entities, false) };
        for entity in &block {
            check(entity);
            assert!(row.holds.includes(&entity.seen()), "{} holds more than is said", entity.id);
        }
        entities.extend(block);
    }
    (entities, true)
}

/// What is taken of a data file is what its row says, and never more than may be declared.
pub(crate) fn whole(data: &[u8]) {
    let Some(Built { row, bytes, .. }) = build(data, false) else { return };
    if let Some(mut loose) = Loose::open(row.file.as_str(), &bytes) {
        std::iter::from_fn(|| loose.next_portion()).flatten().for_each(|entity| check(&entity));
    }
    let Ok(fetched) = take_whole(&row, bytes) else { return };
    assert!(row.text_bytes.unwrap_or_default() <= DATA_TEXT_BYTES_MAX);
    let (entities, is_whole) = entities(&row, fetched);
    assert!(entities.len() as u64 <= row.entities);
    assert!(!is_whole || entities.len() as u64 == row.entities);
}

/// Who reads a data file in part gets of it all that they lack, and nothing that the whole has not.
pub(crate) fn part(data: &[u8]) {
    let Some(Built { row, bytes, mut knows }) = build(data, true) else { return };
    // Somebody who knows nothing reads everything.
    knows.raise(&DeviceId::new("zzzz").expect("it is a name"), 1);
    let memory = Memory::new();
    memory.insert_raw(&row.file, bytes.clone());
    let storage: SharedStorage = Arc::new(memory);
    let Ok(fetched) = RUNTIME.block_on(fetch(&storage, &row, &knows)) else { return };
    let (some, is_fine) = entities(&row, fetched);
    let Ok(Ok(all)) = take_whole(&row, bytes).map(Fetched::all) else { return };
    assert!(is_fine, "the whole is fine and a part of it is not");
    assert!(some.iter().all(|entity| all.contains(entity)));
    let lacked = all.iter().filter(|entity| !knows.includes(&entity.seen()));
    for entity in lacked {
        assert!(some.contains(entity), "{} was left out", entity.id);
    }
}
