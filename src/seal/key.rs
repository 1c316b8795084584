//! Keys: the one that everything on a remote is encrypted with, and what is derived from it.

use std::fmt;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use data_encoding::BASE64_NOPAD;
use hkdf::Hkdf;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{Result, SealError};
use crate::{
    digest::hex,
    model::{RemoteId, limits::PASSPHRASE_CHARS_MIN},
};

/// The length of every key, in bytes.
pub(super) const KEY_BYTES: usize = 32;
/// The length of a fingerprint, in bytes.
const FINGERPRINT_BYTES: usize = 8;

/// The key of a remote, drawn when it is made. It never changes and is never written in clear.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// A new key.
    pub fn random() -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill_random(key.as_mut())?;
        Ok(Self(key))
    }

    /// The key as it is kept among this device's secrets.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_NOPAD.encode(self.0.as_ref()))
    }

    /// Reads what [`DataKey::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64_NOPAD.decode(text.trim().as_bytes()).ok()?);
        Self::from_bytes(&bytes)
    }

    /// What tells this key of a remote from any other, and gives nothing of it away.
    pub fn fingerprint(&self, remote_id: &RemoteId) -> String {
        let derived = self.derive(remote_id.as_str(), "larder seal 1: fingerprint");
        derived.first_chunk().map(|first: &[u8; FINGERPRINT_BYTES]| hex(first)).unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// A key of its own for one use on one remote: HKDF-SHA256 (RFC 5869).
    fn derive(&self, remote_id: &str, what: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        let hkdf = Hkdf::<Sha256>::new(Some(remote_id.as_bytes()), self.bytes());
        // Fails only for more than 8,160 bytes.
        let _ = hkdf.expand(what.as_bytes(), derived.as_mut());
        derived
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// What a person opens a remote with; in NFC, so that every keyboard types the same one.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes what was typed.
    pub fn new(typed: &str) -> Self {
        Self(Zeroizing::new(typed.nfc().collect()))
    }

    /// Refuses one that is too short to begin with.
    pub fn check(&self) -> Result<()> {
        let is_enough = self.0.chars().count() >= PASSPHRASE_CHARS_MIN;
        let min = PASSPHRASE_CHARS_MIN;
        if is_enough { Ok(()) } else { Err(SealError::TooShort { min }) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// What seals and opens the files and names of one remote.
pub struct Sealer {
    pub(super) remote_id: String,
    pub(super) contents: XChaCha20Poly1305,
    pub(super) name_tags: Zeroizing<[u8; KEY_BYTES]>,
    pub(super) name_texts: Zeroizing<[u8; KEY_BYTES]>,
}

impl Sealer {
    /// The sealer of a remote with this key.
    pub fn new(remote_id: &str, key: &DataKey) -> Self {
        let contents = key.derive(remote_id, "larder seal 1: contents");
        Self {
            remote_id: remote_id.to_owned(),
            contents: XChaCha20Poly1305::new(&(*contents).into()),
            name_tags: key.derive(remote_id, "larder seal 1: name tags"),
            name_texts: key.derive(remote_id, "larder seal 1: name texts"),
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("remote_id", &self.remote_id).finish_non_exhaustive()
    }
}

/// Random bytes from the system: what keys and nonces rest on must not be guessed.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(SealError::NoRandomness)
}
