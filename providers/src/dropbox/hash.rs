//! The hash that Dropbox keeps of every content.
//!
//! SHA-256 of the SHA-256 of each 4 MiB, one after the other:
//! <https://www.dropbox.com/developers/reference/content-hash>.

use sha2::{Digest, Sha256};

use crate::body::hex;

/// How many bytes one of the inner hashes covers.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// A content being hashed.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContentHash {
    whole: Sha256,
    block: Sha256,
    /// How many bytes of the current block were taken.
    taken: usize,
}

impl ContentHash {
    /// The hash of bytes in memory.
    pub(crate) fn of(bytes: &[u8]) -> String {
        let mut hash = Self::default();
        hash.update(bytes);
        hash.finish()
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.taken));
            self.block.update(now);
            self.taken += now.len();
            if self.taken == BLOCK_BYTES {
                self.close();
            }
            bytes = later;
        }
    }

    pub(crate) fn finish(mut self) -> String {
        if self.taken > 0 {
            self.close();
        }
        hex(&self.whole.finalize())
    }

    fn close(&mut self) {
        self.whole.update(std::mem::take(&mut self.block).finalize());
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_made_of_blocks() {
        // The hash of nothing stands in Dropbox's own examples.
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(ContentHash::of(b""), nothing);
        let sha = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
        assert_eq!(ContentHash::of(b"abc"), hex(&sha(&sha(b"abc"))));
        let bytes = vec![7; BLOCK_BYTES + 1];
        let (first, second) = bytes.split_at(BLOCK_BYTES);
        let wanted = hex(&sha(&[sha(first), sha(second)].concat()));
        assert_eq!(ContentHash::of(&bytes), wanted);
        assert_eq!(ContentHash::of(first), hex(&sha(&sha(first))));
        let mut pieces = ContentHash::default();
        bytes.chunks(100_003).for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.finish(), wanted);
    }
}
