//! Sealed names: each has one spelling, which can be told and read only with the key.
//!
//! The construction is SIV (Rogaway, Shrimpton: Deterministic Authenticated-Encryption, EUROCRYPT
//! 2006) of HMAC-SHA256 and XChaCha20: the tag of folder and name is the nonce that the name is
//! encrypted under.

use chacha20::{
    XChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};
use data_encoding::{BASE32_NOPAD, Encoding, Specification};
use hmac::{Hmac, KeyInit, Mac};
use larder_providers::RemotePath;
use sha2::Sha256;

use super::Sealer;

/// The first bytes of the HMAC of a name: so many that no two names meet.
const TAG_BYTES: usize = 16;

impl Sealer {
    /// The name under which `name` in `folder` is stored.
    pub(super) fn seal_name(&self, folder: &str, name: &str) -> String {
        let tag = self.name_tag(folder, name.as_bytes());
        let mut sealed = tag.to_vec();
        sealed.extend_from_slice(&self.cross(&tag, name.as_bytes()));
        spelling().encode(&sealed)
    }

    /// The name that is stored as `sealed` in `folder`; nothing if it is somebody else's.
    pub(super) fn open_name(&self, folder: &str, sealed: &str) -> Option<String> {
        let bytes = spelling().decode(sealed.as_bytes()).ok()?;
        let (tag, text) = bytes.split_first_chunk::<TAG_BYTES>()?;
        let name = self.cross(tag, text);
        let expected = self.name_tag(folder, &name);
        let differs = expected.iter().zip(tag).fold(0, |differs, (a, b)| differs | (a ^ b));
        let name = String::from_utf8(name).ok().filter(|_| differs == 0)?;
        RemotePath::new(format!("{folder}/{name}")).ok().map(|path| path.name().to_owned())
    }

    /// Whether this may be the name of a sealed file, whatever the key.
    pub(super) fn may_be_name(name: &str) -> bool {
        spelling().decode(name.as_bytes()).is_ok_and(|bytes| bytes.len() > TAG_BYTES)
    }

    fn name_tag(&self, folder: &str, name: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.name_tags.as_ref()) else {
            return tag;
        };
        mac.update(folder.as_bytes());
        mac.update(b"\0");
        mac.update(name);
        let whole = mac.finalize().into_bytes();
        tag.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        tag
    }

    /// Encrypts or decrypts a name.
    fn cross(&self, tag: &[u8; TAG_BYTES], text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 24];
        nonce.iter_mut().zip(tag).for_each(|(to, from)| *to = *from);
        let mut text = text.to_vec();
        let mut cipher = XChaCha20::new((&*self.name_texts).into(), (&nonce).into());
        cipher.apply_keystream(&mut text);
        text
    }
}

/// Base32 of RFC 4648 in lower case, without padding.
fn spelling() -> &'static Encoding {
    static SPELLING: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    SPELLING.get_or_init(|| {
        let mut lower = Specification::new();
        lower.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        lower.encoding().unwrap_or(BASE32_NOPAD)
    })
}
