//! The files in `keys/`: the remote's key, wrapped by a passphrase.
//!
//! Each is written once under a name of its own, so that a write that is cut spoils none that was
//! there; the highest number counts. Only who joins reads them.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use data_encoding::BASE64_NOPAD;
use larder_providers::{RemotePath, SharedStorage, Storage as _, StorageExt};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    DataKey, Passphrase, Result, SealError,
    key::{KEY_BYTES, fill_random},
};
use crate::model::{
    RemoteId, json,
    limits::{
        KDF_ITERATIONS_MAX, KDF_MEMORY_KIB_MAX, KDF_MEMORY_KIB_MIN, KDF_PARALLELISM_MAX,
        KEY_FILE_BYTES_MAX, KEY_FILES_MAX,
    },
};

/// Where the files lie.
pub const FOLDER: &str = "keys";
/// The form of these files.
const FORM: u32 = 1;
const KDF: &str = "argon2id";
const SALT_BYTES: usize = 16;

/// What a guess of the passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl Default for Cost {
    /// 64 MiB and three passes: the second of the choices of RFC 9106, with one lane, as nothing here
    /// fills lanes at once.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, iterations: 3, parallelism: 1 }
    }
}

/// A key that is wrapped by a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyFile {
    format: u32,
    remote_id: RemoteId,
    kdf: Kdf,
    nonce: Base64,
    wrapped: Base64,
}

/// How a passphrase becomes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kdf {
    name: String,
    memory_kib: u32,
    iterations: u32,
    parallelism: u32,
    salt: Base64,
}

impl KeyFile {
    /// Wraps a key. Takes as long as a guess is to take.
    pub fn wrap(
        remote_id: &RemoteId,
        key: &DataKey,
        passphrase: &Passphrase,
        cost: Cost,
    ) -> Result<Self> {
        passphrase.check()?;
        let (mut salt, mut nonce) = (vec![0; SALT_BYTES], vec![0; 24]);
        fill_random(&mut salt)?;
        fill_random(&mut nonce)?;
        let Cost { memory_kib, iterations, parallelism } = cost;
        let salt = Base64(salt);
        let kdf = Kdf { name: KDF.to_owned(), memory_kib, iterations, parallelism, salt };
        let mut file = Self {
            format: FORM,
            remote_id: remote_id.clone(),
            kdf,
            nonce: Base64(nonce),
            wrapped: Base64(Vec::new()),
        };
        let (cipher, nonce) = (file.cipher(passphrase)?, file.nonce()?);
        let about = file.about();
        let payload = Payload { msg: key.bytes(), aad: &about };
        let wrapped = cipher.encrypt(&nonce, payload);
        file.wrapped = Base64(wrapped.map_err(|_| refused("the key cannot be wrapped"))?);
        Ok(file)
    }

    /// Takes the key out. Takes as long as a guess is to take.
    pub fn unwrap(&self, passphrase: &Passphrase) -> Result<DataKey> {
        let (cipher, nonce) = (self.cipher(passphrase)?, self.nonce()?);
        let about = self.about();
        let payload = Payload { msg: &self.wrapped.0, aad: &about };
        let key = cipher.decrypt(&nonce, payload).map_err(|_| SealError::WrongPassphrase)?;
        let key = Zeroizing::new(key);
        DataKey::from_bytes(&key).ok_or_else(|| refused("the key has another length"))
    }

    /// Reads a file, and refuses one that would cost too much or protect too little.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
            return Err(refused(&format!("{} bytes, over {KEY_FILE_BYTES_MAX}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| refused(&error.to_string()))?;
        let value = json::parse(text).map_err(|error| refused(&error.to_string()))?;
        let file: Self =
            serde_json::from_value(value).map_err(|error| refused(&error.to_string()))?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<()> {
        let Kdf { name, memory_kib, iterations, parallelism, salt } = &self.kdf;
        if self.format != FORM || name != KDF {
            return Err(refused(&format!("form {}, made by {name:?}", self.format)));
        }
        for (what, value, min, max) in [
            ("KiB of memory", *memory_kib, KDF_MEMORY_KIB_MIN, KDF_MEMORY_KIB_MAX),
            ("iterations", *iterations, 1, KDF_ITERATIONS_MAX),
            ("lanes", *parallelism, 1, KDF_PARALLELISM_MAX),
        ] {
            if !(min..=max).contains(&value) {
                return Err(refused(&format!("{value} {what}, not between {min} and {max}")));
            }
        }
        if !(SALT_BYTES..=64).contains(&salt.0.len()) {
            return Err(refused(&format!("a salt of {} bytes", salt.0.len())));
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    fn nonce(&self) -> Result<XNonce> {
        let nonce: Result<[u8; 24], _> = self.nonce.0.as_slice().try_into();
        Ok(nonce.map_err(|_| refused("a nonce of another length"))?.into())
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<XChaCha20Poly1305> {
        let Kdf { memory_kib, iterations, parallelism, salt, .. } = &self.kdf;
        let failed = |error: argon2::Error| refused(&error.to_string());
        let params = Params::new(*memory_kib, *iterations, *parallelism, Some(KEY_BYTES));
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(failed)?);
        let mut wrapping = Zeroizing::new([0; KEY_BYTES]);
        let made = argon2.hash_password_into(passphrase.bytes(), &salt.0, wrapping.as_mut());
        made.map_err(failed)?;
        Ok(XChaCha20Poly1305::new(&(*wrapping).into()))
    }

    /// What the wrapped key is bound to.
    fn about(&self) -> Vec<u8> {
        let Kdf { name, memory_kib, iterations, parallelism, .. } = &self.kdf;
        let id = &self.remote_id;
        format!("larder key {FORM}\0{id}\0{name}\0{memory_kib}\0{iterations}\0{parallelism}")
            .into_bytes()
    }
}

/// The wrapped keys of a remote that count: those of the highest number.
#[derive(Debug, Clone)]
pub struct KeyFiles(Vec<KeyFile>);

impl KeyFiles {
    /// Reads those of a remote.
    pub async fn read(storage: &SharedStorage, remote_id: &RemoteId) -> Result<Self> {
        let mut names = list(storage).await?;
        names.truncate(4 * KEY_FILES_MAX);
        let mut why = "there is none in the folder keys".to_owned();
        let (mut files, mut highest) = (Vec::new(), None);
        for (number, path) in names {
            if highest.is_some_and(|highest| number < highest) {
                break;
            }
            let read = match storage.read(&path, KEY_FILE_BYTES_MAX).await {
                Ok((bytes, _)) => KeyFile::decode(&bytes),
                Err(error) if error.is_not_found() => continue,
                Err(error) if error.is_temporary() => return Err(error.into()),
                Err(error) => Err(error.into()),
            };
            match read {
                Ok(file) if file.remote_id == *remote_id && files.len() < KEY_FILES_MAX => {
                    highest = Some(number);
                    files.push(file);
                }
                Ok(file) => why = format!("{path} is that of another remote ({})", file.remote_id),
                Err(SealError::NoKey { detail }) => why = format!("{path}: {detail}"),
                Err(error) => why = format!("{path}: {error}"),
            }
        }
        if files.is_empty() { Err(SealError::NoKey { detail: why }) } else { Ok(Self(files)) }
    }

    /// Takes the key out of whichever of them the passphrase opens.
    pub fn open(&self, passphrase: &Passphrase) -> Result<DataKey> {
        let mut refused = SealError::WrongPassphrase;
        for file in &self.0 {
            match file.unwrap(passphrase) {
                Ok(key) => return Ok(key),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// Writes the wrapped key of a remote, and removes those before it: only this passphrase opens it from
/// then on. The data stays as it is.
pub async fn lock(storage: &SharedStorage, file: &KeyFile) -> Result<()> {
    let before = list(storage).await?;
    let number = before.first().map_or(0, |(number, _)| *number).saturating_add(1);
    write(storage, file, number).await?;
    for (_, old) in before {
        storage.delete(&old).await?;
    }
    Ok(())
}

/// Writes the wrapped key of a remote that is about to be made, and says where. What lies there
/// already may be that of a device that makes one in the same moment.
pub async fn lock_new(storage: &SharedStorage, file: &KeyFile) -> Result<RemotePath> {
    write(storage, file, 1).await
}

async fn write(storage: &SharedStorage, file: &KeyFile, number: u64) -> Result<RemotePath> {
    let mut salt = [0; 6];
    fill_random(&mut salt)?;
    let salt: String = salt.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let path = key_path(&format!("{number}-{salt}.json"))?;
    let text = Bytes::from(file.encode());
    // The name was never used, and a condition would be one more thing for a server to get wrong.
    storage.write(&path, text.clone()).await?;
    let (stands, _) = storage.read(&path, KEY_FILE_BYTES_MAX).await?;
    if stands != text {
        let detail = format!("{path} does not hold what was written to it");
        return Err(SealError::NoKey { detail });
    }
    Ok(path)
}

/// The files in the folder, the highest number first.
async fn list(storage: &SharedStorage) -> Result<Vec<(u64, RemotePath)>> {
    let folder = RemotePath::new(FOLDER).map_err(|error| SealError::damaged(FOLDER, error))?;
    let listing = match storage.list_names(&folder).await {
        Ok(listing) => listing,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let numbered = |path: RemotePath| {
        let (number, _) = path.name().strip_suffix(".json")?.split_once('-')?;
        Some((number.parse().ok()?, path))
    };
    let files = listing.entries.into_iter().filter(|entry| !entry.is_folder);
    let mut files: Vec<_> = files.filter_map(|entry| numbered(entry.path)).collect();
    files.sort_by(|a, b| b.cmp(a));
    Ok(files)
}

fn key_path(name: &str) -> Result<RemotePath> {
    let path = format!("{FOLDER}/{name}");
    RemotePath::new(path.clone()).map_err(|error| SealError::damaged(&path, error))
}

fn refused(why: &str) -> SealError {
    SealError::NoKey { detail: why.to_owned() }
}

/// Bytes that are written in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Base64(Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64_NOPAD.decode(text.as_bytes()).map(Self)
    }
}

impl From<Base64> for String {
    fn from(bytes: Base64) -> Self {
        BASE64_NOPAD.encode(&bytes.0)
    }
}

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_NOPAD.encode(&self.0))
    }
}
