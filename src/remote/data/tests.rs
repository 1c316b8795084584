use std::sync::Arc;

use larder_providers::{Body, Memory, PutMode, Traffic};
use serde_json::Value;

use super::*;
use crate::{
    model::{Change, Content, DeviceId, Dot, EntityId, Stamp},
    remote::{Outgoing, Packer, Parcel},
};

const ENTITIES: u64 = 400;

/// An entity of about 20 kB that does not compress much, made by the edit of this number.
fn outgoing(number: u64) -> Outgoing {
    let device = DeviceId::new("k3v9x2").unwrap();
    let mut random = fastrand::Rng::with_seed(number);
    let text: String = (0..20_000).map(|_| random.alphanumeric()).collect();
    let mut state = Entity::new(EntityId::new(format!("e{number}")).unwrap());
    let changes = [("body".to_owned(), Change::set(Content::new(Value::from(text))))];
    state.edit(&Dot::new(device, number), Stamp::from_millis(1), changes.into());
    Outgoing { state, type_name: "note".to_owned(), is_deleted: false }
}

async fn pack() -> Parcel {
    let [parcel] = pack_all(ENTITIES).await.try_into().unwrap();
    parcel
}

/// The files that so many entities become.
async fn pack_all(entities: u64) -> Vec<Parcel> {
    let (mut packer, mut parcels) = (Packer::of_packs(3), Vec::new());
    for number in 1..=entities {
        parcels.extend(packer.add(&outgoing(number)).await.unwrap());
    }
    while let Some(parcel) = packer.finish().await.unwrap() {
        parcels.push(parcel);
    }
    parcels
}

fn knows(counter: u64) -> VersionVector {
    [(DeviceId::new("k3v9x2").unwrap(), counter)].into_iter().collect()
}

async fn stored(parcel: &Parcel) -> (SharedStorage, Memory, Traffic) {
    let traffic = Traffic::new();
    let memory = Memory::new().with_traffic(traffic.clone());
    let body = Body::Bytes(parcel.bytes.clone());
    memory.put(&parcel.file.file, body, PutMode::Overwrite).await.unwrap();
    (Arc::new(memory.clone()), memory, traffic)
}

fn ids(entities: &[Entity]) -> Vec<String> {
    entities.iter().map(|entity| entity.id.to_string()).collect()
}

#[tokio::test]
async fn blocks_unpack_together_and_each_alone() {
    let parcel = pack().await;
    let blocks = block_rows(&parcel);
    assert!(blocks.len() > 3, "{}", blocks.len());
    let plain = zstd::stream::decode_all(&parcel.bytes[..]).unwrap();
    assert_eq!(plain.len() as u64, parcel.file.text_bytes.unwrap());
    let all = take_whole(&parcel.file, parcel.bytes.clone()).unwrap().all().unwrap();
    assert_eq!(all.len() as u64, ENTITIES);
    assert_eq!(all[7], outgoing(8).state);
}

#[tokio::test]
async fn files_are_the_same_every_time_and_end_where_they_are_full() {
    let parcels = pack_all(3 * ENTITIES).await;
    let again = pack_all(3 * ENTITIES).await;
    assert_eq!(parcels.len(), 2);
    let mut number = 1;
    for (parcel, again) in parcels.iter().zip(&again) {
        assert_eq!((&parcel.file, &parcel.bytes), (&again.file, &again.bytes));
        let read = take_whole(&parcel.file, parcel.bytes.clone()).unwrap().all().unwrap();
        let expected: Vec<_> = (number..).take(read.len()).map(|n| format!("e{n}")).collect();
        assert_eq!(ids(&read), expected, "in the order in which they came");
        number += read.len() as u64;
    }
    assert_eq!(number, 3 * ENTITIES + 1);
    // Full, and not by more than the block that filled it.
    let (full, block) = (16 << 20, 2 << 20);
    assert!((full..full + block).contains(&parcels[0].bytes.len()), "{}", parcels[0].bytes.len());
}

#[tokio::test]
async fn who_is_a_little_behind_reads_a_little() {
    let parcel = pack().await;
    let (storage, _, traffic) = stored(&parcel).await;
    let before = traffic.snapshot();
    let fetched = fetch(&storage, &parcel.file, &knows(ENTITIES - 5)).await.unwrap();
    let used = traffic.snapshot().since(&before);
    assert_eq!(used.requests, 2);
    assert!(used.bytes_down < parcel.file.bytes / 2, "{} bytes", used.bytes_down);
    let got = ids(&fetched.all().unwrap());
    assert!((ENTITIES - 4..=ENTITIES).all(|number| got.contains(&format!("e{number}"))));

    let before = traffic.snapshot();
    let fetched = fetch(&storage, &parcel.file, &VersionVector::default()).await.unwrap();
    assert_eq!(traffic.snapshot().since(&before).requests, 1);
    assert_eq!(fetched.all().unwrap().len() as u64, ENTITIES);
}

/// The blocks of a pack, as its index has them.
fn block_rows(parcel: &Parcel) -> Vec<Block> {
    let index = parcel.file.index.as_ref().unwrap();
    let end = parcel.bytes.len() - usize::try_from(index.bytes).unwrap();
    block::decode(&parcel.file, index, &parcel.bytes[end..]).unwrap()
}

#[tokio::test]
async fn a_damaged_block_is_found_whole_or_in_part_and_hurts_no_other() {
    let parcel = pack().await;
    let (storage, memory, _) = stored(&parcel).await;
    let mut bytes = parcel.bytes.to_vec();
    bytes[100] ^= 1;
    memory.insert_raw(&parcel.file.file, bytes);
    let whole = fetch(&storage, &parcel.file, &VersionVector::default()).await.unwrap_err();
    assert!(whole.to_string().contains("not what was written (SHA-256)"), "{whole}");
    // The last block is fine, and who needs only that does not notice.
    let last = fetch(&storage, &parcel.file, &knows(ENTITIES - 2)).await.unwrap();
    assert!(!last.all().unwrap().is_empty());
    // Blocks by half would not be worth it: only the first one is wanted.
    let mut rows = block_rows(&parcel);
    rows.iter_mut().for_each(|row| row.holds = knows(1));
    rows[0].holds = parcel.file.holds.clone();
    let lying = with_index(&parcel, &rows);
    let bytes = [&[0xff; 100][..], &lying.bytes[100..]].concat();
    memory.insert_raw(&parcel.file.file, bytes);
    let part = fetch(&storage, &lying.file, &knows(1)).await.unwrap_err();
    assert!(part.to_string().contains("block 1 is not what was written"), "{part}");
}

/// The pack with another index, which the manifest believes.
fn with_index(parcel: &Parcel, rows: &[Block]) -> Parcel {
    let index = parcel.file.index.as_ref().unwrap();
    let end = parcel.bytes.len() - usize::try_from(index.bytes).unwrap();
    let (frame, index) = block::encode(rows);
    let bytes = Bytes::from([&parcel.bytes[..end], &frame].concat());
    let mut file = parcel.file.clone();
    (file.bytes, file.sha256) = (bytes.len() as u64, sha256_hex(&bytes));
    file.index = Some(index);
    Parcel { file, bytes }
}

#[tokio::test]
async fn an_index_that_lies_is_found_and_named() {
    let parcel = pack().await;
    let refused = |change: fn(&mut Vec<Block>)| {
        let mut rows = block_rows(&parcel);
        change(&mut rows);
        let lying = with_index(&parcel, &rows);
        let read = take_whole(&lying.file, lying.bytes).and_then(Fetched::all);
        let error = read.unwrap_err().to_string();
        assert!(error.starts_with(parcel.file.file.as_str()), "{error}");
        error
    };
    type Lie = fn(&mut Vec<Block>);
    let cases: [(Lie, &str); 6] = [
        (|rows| rows[0].bytes += 1, "differ in the bytes"),
        (|rows| rows[0].bytes = (1 << 53) - 1, "differ in the bytes"),
        (|rows| rows[1].text_bytes -= 1, "differ in the bytes of content"),
        (|rows| drop(rows.pop()), "differ in the bytes"),
        (|rows| rows[0].holds = knows(9_999), "differ in the edits"),
        (|rows| rows[0].holds = knows(1), "edits of e2 that the manifest does not name"),
    ];
    for (change, expected) in cases {
        let error = refused(change);
        assert!(error.contains(expected), "{error}");
    }
    let moved = refused(|rows| {
        rows[0].entities += 1;
        rows[1].entities -= 1;
    });
    assert!(moved.contains("entities instead of"), "{moved}");
    let swapped = refused(|rows| rows.swap(0, 1));
    assert!(swapped.contains("block 1 is not what was written"), "{swapped}");
}

#[tokio::test]
async fn a_pack_that_was_cut_is_found() {
    let parcel = pack().await;
    let cut = parcel.bytes.slice(..parcel.bytes.len() / 2);
    let error = take_whole(&parcel.file, cut).unwrap_err();
    assert!(error.to_string().contains("bytes long instead of"), "{error}");
    let mut without = parcel.file.clone();
    without.index.as_mut().unwrap().bytes = u64::MAX;
    let error = take_whole(&without, parcel.bytes).unwrap_err();
    assert!(error.to_string().contains("declares an index of"), "{error}");
}

#[tokio::test]
async fn entities_that_cannot_be_read_cannot_be_packed() {
    let mut bad = outgoing(1);
    bad.state.clock.clear();
    let error = Packer::of_packs(1).add(&bad).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unsendable { .. }), "{error}");
}

#[tokio::test]
async fn a_block_of_many_values_comes_in_portions() {
    let at = "2026-11-20T10:30:00.123Z";
    let zeros = vec!["0"; 50_000].join(",");
    let line = |id: u64| {
        let sibling = format!(r#"{{"dot":"k3v9x2:{id}","at":"{at}","value":[{zeros}]}}"#);
        format!(
            r#"{{"id":"e{id}","clock":{{"k3v9x2":[{id},1,"{at}"]}},"fields":{{"x":[{sibling}]}}}}"#
        )
    };
    let text: String = (1..=5).map(|id| line(id) + "\n").collect();
    let packed = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
    let mut parcel = pack().await;
    parcel.file.index = None;
    parcel.file.bytes = packed.len() as u64;
    parcel.file.sha256 = sha256_hex(&packed);
    parcel.file.text_bytes = Some(text.len() as u64);
    for (entities, is_fine) in [(5, true), (4, false)] {
        parcel.file.entities = entities;
        let mut fetched = take_whole(&parcel.file, packed.clone().into()).unwrap();
        let mut portions = Vec::new();
        while let Some(portion) = fetched.next_portion() {
            portions
                .push(portion.map(|entities| entities.len()).map_err(|error| error.to_string()));
        }
        let sizes: Vec<usize> = portions.iter().flatten().copied().collect();
        assert_eq!(sizes, if is_fine { vec![2, 2, 1] } else { vec![2, 2] });
        assert_eq!(portions.iter().all(Result::is_ok), is_fine, "{portions:?}");
    }
}
