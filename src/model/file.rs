//! What is remembered of a file on the disk.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;

/// What tells whether a file was touched since it was read.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub struct FileStat {
    /// Bytes.
    pub size: u64,
    /// When the content changed, in ns since 1970.
    pub mtime_ns: i64,
    /// When anything about the file changed, in ns since 1970; 0 where the system does not tell.
    pub ctime_ns: i64,
    /// The number of the file in its file system; 0 where the system does not tell.
    pub inode: u64,
}

impl FileStat {
    /// Tells whether two answers speak of the same content of the same file. The ctime is left out:
    /// a rename or a chmod moves it too.
    pub fn same_content(&self, other: &Self) -> bool {
        self.size == other.size && self.mtime_ns == other.mtime_ns && self.inode == other.inode
    }

    /// Tells when the file changed last, as far as programs cannot set it back.
    pub fn changed_ns(&self) -> i64 {
        if self.ctime_ns == 0 { self.mtime_ns } else { self.ctime_ns }
    }
}

/// The SHA-256 of a file's content. As text, 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes a hash that was made elsewhere, as of a file that was read piece by piece.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the text form; nothing if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        // No branches: the hash of every file is read whenever the books are.
        let is_digit = |byte: u8| byte.is_ascii_digit() | matches!(byte, b'a'..=b'f');
        let digit = |byte: u8| (byte & 0xf) + 9 * (byte >> 6);
        if !text.bytes().fold(true, |all, byte| all & is_digit(byte)) {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high) << 4 | digit(*low);
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is remembered of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFile {
    /// As of the last scan or write.
    pub stat: FileStat,
    /// What it held.
    pub sha256: ContentHash,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ContentHash;

    proptest! {
        #[test]
        fn a_hash_is_read_as_it_was_written(bytes: [u8; 32], at in 0..64_usize, other: char) {
            let hash = ContentHash::from_bytes(bytes);
            let text = hash.to_string();
            prop_assert_eq!(ContentHash::parse(&text), Some(hash));
            let mut digits: Vec<char> = text.chars().collect();
            digits[at] = other;
            let other: String = digits.iter().collect();
            let read = ContentHash::parse(&other);
            prop_assert_eq!(read.map(|hash| hash.to_string()), read.map(|_| other));
            prop_assert_eq!(ContentHash::parse(&text[..at]), None);
        }
    }

    #[test]
    fn the_hash_is_sha_256() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(ContentHash::of(b"").to_string(), text);
        assert_eq!(ContentHash::parse(&text.to_uppercase()), None);
        assert_eq!(ContentHash::parse(&format!("{text}00")), None);
    }
}
