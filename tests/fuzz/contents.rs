//! Contents of files on their way from a remote.

use std::{fs, sync::Arc};

use larder::{digest::sha256_hex, model::Blob, remote::blob};
use larder_providers::{Memory, RemotePath, SharedStorage};

use crate::{pieces::Pieces, turn::RUNTIME};

/// A content that is taken is what its record says, whatever lies on the remote and whatever an
/// earlier try left; one that is not leaves no more behind than it was to have.
pub(crate) fn download(data: &[u8]) {
    let mut pieces = Pieces::of(data);
    let claimed = pieces.number(1 << 40);
    let [part, stored, meant] = std::array::from_fn(|_| pieces.next().unwrap_or_default());
    let sha256 = sha256_hex(meant);
    let bytes = if claimed == 0 { meant.len() as u64 } else { claimed };
    let file = format!("blobs/{sha256}-abc");
    let blob = Blob { sha256, bytes, file };
    let memory = Memory::new();
    let path = RemotePath::new(blob.file.as_str()).expect("it is a name");
    memory.insert_raw(&path, stored.to_vec());
    let storage: SharedStorage = Arc::new(memory);
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let place = folder.path().join("content.part");
    fs::write(&place, part).expect("there is room");
    let verified = RUNTIME.block_on(blob::verify(&storage, &blob)).is_ok();
    assert_eq!(verified, stored == meant && bytes == meant.len() as u64);
    let opened = fs::File::options().read(true).write(true).open(&place);
    let opened = opened.expect("it was just written");
    let done = RUNTIME.block_on(blob::download(&storage, &blob, (&opened, &place), &|_| ()));
    let left = fs::read(&place).unwrap_or_default();
    assert!(left.len() as u64 <= bytes, "{} of {bytes} bytes", left.len());
    if done.is_ok() {
        assert_eq!((sha256_hex(&left), left.len() as u64), (blob.sha256.clone(), bytes));
    }
}
