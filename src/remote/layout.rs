//! Names on the remote.

use larder_providers::RemotePath;

use super::{CommitMode, RemoteError, Result};
use crate::model::{DeviceId, EntityId};

/// The file that says what the folder is.
pub const META: &str = "meta.json";
/// How the name of a `meta.json` begins that has not got its place yet.
pub const META_NEW: &str = "meta-new-";
/// Commit mode rename: holds the one token whose name is the state.
pub const HEAD: &str = "head";
/// Commit mode rename: holds the manifests.
pub const MANIFESTS: &str = "meta";
/// Commit mode devices: holds a manifest for each device.
pub const HEADS: &str = "heads";
/// Holds changed entities, one a file.
pub const ENTITIES: &str = "entities";
/// Holds batches of changed entities.
pub const DELTAS: &str = "deltas";
/// Holds compacted batches.
pub const PACKS: &str = "packs";

/// Holds the contents of files that are no records; made when the first of them is sent.
pub const BLOBS: &str = crate::model::blob::FOLDER;

/// Where `larder remote probe` tries things out; it stays behind, empty.
pub const PROBE: &str = "larder-probe";

/// Every folder that larder makes, in the order in which they are made.
pub const FOLDERS: [&str; 6] = [HEAD, MANIFESTS, HEADS, DELTAS, ENTITIES, PACKS];

/// The folders that a new remote gets.
pub fn folders(mode: CommitMode) -> impl Iterator<Item = &'static str> {
    FOLDERS.into_iter().filter(move |folder| match *folder {
        HEAD | MANIFESTS => mode == CommitMode::Rename,
        HEADS => mode == CommitMode::Devices,
        _ => true,
    })
}

/// How many hexadecimal digits of a file's digest stand in its name: enough that names never meet,
/// while the whole digest stands in the manifest.
const HASH_DIGITS: usize = 16;

/// `text` as a checked path.
pub(super) fn path(text: impl Into<String>) -> Result<RemotePath> {
    RemotePath::new(text).map_err(|error| RemoteError::damaged(META, error))
}

/// The file of one changed entity.
pub(super) fn entity_file(
    type_name: &str,
    id: &EntityId,
    generation: u64,
    sha256: &str,
) -> Result<RemotePath> {
    let (type_name, id) = (slug(type_name, 20), slug(id.as_str(), 40));
    path(format!("{ENTITIES}/{type_name}.{id}.{generation}-{}.json", short(sha256)))
}

/// The file of a batch.
pub(super) fn delta_file(generation: u64, device: &DeviceId, sha256: &str) -> Result<RemotePath> {
    path(format!("{DELTAS}/{generation}-{device}-{}.jsonl.zst", short(sha256)))
}

/// The file of a compacted batch.
pub(super) fn pack_file(generation: u64, sha256: &str) -> Result<RemotePath> {
    path(format!("{PACKS}/{generation}-{}.jsonl.zst", short(sha256)))
}

/// The file under a name that was never used: a second upload of the same content, cut midway, must
/// not spoil the first, which the head may name already.
pub fn never_used(file: &RemotePath, random: &mut fastrand::Rng) -> Result<RemotePath> {
    let salt: String = (0..6).map(|_| random.char('a'..='z')).collect();
    let name = file.as_str();
    let end = [".jsonl.zst", ".json"].into_iter().find(|end| name.ends_with(end));
    let end = end.unwrap_or_default();
    path(format!("{}-{salt}{end}", name.strip_suffix(end).unwrap_or(name)))
}

/// The token of a commit.
pub(super) fn head_token(token: &str) -> Result<RemotePath> {
    path(format!("{HEAD}/{token}"))
}

/// The manifest of a commit.
pub(super) fn manifest_file(token: &str) -> Result<RemotePath> {
    path(format!("{MANIFESTS}/{token}.json"))
}

/// The generation that a token's name begins with.
pub fn token_generation(token: &str) -> Option<u64> {
    token.split_once('-')?.0.parse().ok()
}

/// The token that a name begins with: all of it, or what a copy of the token was made of.
pub(super) fn token_of(name: &str) -> Option<&str> {
    let (generation, rest) = name.split_once('-')?;
    generation.parse::<u64>().ok()?;
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    name.get(..generation.len() + 1 + end).filter(|_| end > 0)
}

/// The generation that a data file was built on, by its name.
pub fn data_generation(file: &str) -> Option<u64> {
    let (folder, name) = file.split_once('/')?;
    match folder {
        ENTITIES => name.rsplit_once('.')?.0.rsplit_once('.')?.1.split_once('-')?.0.parse().ok(),
        DELTAS | PACKS => name.split_once('-')?.0.parse().ok(),
        _ => None,
    }
}

/// Whether a data file's name says that its content has this digest.
pub fn is_named_after(file: &RemotePath, sha256: &str) -> bool {
    file.name().contains(short(sha256))
}

fn short(sha256: &str) -> &str {
    sha256.get(..HASH_DIGITS).unwrap_or(sha256)
}

/// Lower case, and so many of the characters that names may have: a hint for people, no more. Few enough
/// that the name can be sealed.
fn slug(text: &str, length: usize) -> String {
    let fold = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_' | '-') => c,
        _ => '-',
    };
    text.chars().map(fold).take(length).collect()
}

/// Whether a name is one that programs which mirror folders give to a copy of `meta.json`.
pub fn is_copy_of_meta(name: &str) -> bool {
    let folded = name.to_lowercase();
    let is_like_it = folded.starts_with("meta") && folded.contains(".json");
    is_like_it && folded != META && !folded.starts_with(META_NEW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::{COUNT_MAX, SEALED_NAME_BYTES_MAX};

    #[test]
    fn a_name_says_on_what_it_was_built() {
        let (id, device) = (EntityId::new("Ab_1").unwrap(), DeviceId::new("k3v9x2").unwrap());
        let sha = "0123456789abcdef0123";
        let entity = entity_file("Meeting Note", &id, 12, sha).unwrap();
        assert_eq!(entity.as_str(), "entities/meeting-note.ab_1.12-0123456789abcdef.json");
        let delta = delta_file(7, &device, sha).unwrap();
        assert_eq!(delta.as_str(), "deltas/7-k3v9x2-0123456789abcdef.jsonl.zst");
        let pack = pack_file(3, sha).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for (file, generation) in [(&entity, 12), (&delta, 7), (&pack, 3)] {
            assert_eq!(data_generation(file.as_str()), Some(generation));
            let salted = never_used(file, &mut random).unwrap();
            assert_eq!(data_generation(salted.as_str()), Some(generation));
            assert_ne!(salted, never_used(file, &mut random).unwrap());
        }
        let longest = EntityId::new("i".repeat(64)).unwrap();
        let longest = entity_file(&"t".repeat(64), &longest, COUNT_MAX - 1, sha).unwrap();
        let longest = never_used(&longest, &mut random).unwrap();
        assert!(longest.name().len() <= SEALED_NAME_BYTES_MAX, "{longest}");
        assert_eq!(crate::seal::SEALED_FOLDERS, [BLOBS, DELTAS, ENTITIES, PACKS]);
        assert_eq!(data_generation("head/3-x"), None);
        assert_eq!(token_generation("41-qq"), Some(41));
        assert_eq!(token_of("41-qq"), Some("41-qq"));
        for copy in ["41-qq (conflicted copy)", "41-qq.sync-conflict-20261120-101500-ABCDEFG"] {
            assert_eq!(token_of(copy), Some("41-qq"));
        }
        assert_eq!(token_of("new-k3v9x2"), None);
    }
}
