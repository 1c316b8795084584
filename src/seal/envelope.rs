//! `meta.json` of an encrypted remote: what everybody may know, and the rest sealed.

use data_encoding::BASE64_NOPAD;
use larder_providers::{RemotePath, SharedStorage, StorageExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Result, SealError, Sealer, sealed_bytes};
use crate::model::{ForeignRemote, RemoteId, json, limits::MANIFEST_BYTES_MAX};

/// The form of remotes that are encrypted. Who knows only the form before it stops and says so.
pub const FORM: u32 = 2;

/// The file's name.
pub(super) const META: &str = "meta.json";
/// What contents are encrypted with.
const CIPHER: &str = "xchacha20-poly1305";
/// The version of everything that this room does.
const VERSION: u32 = 1;
/// The longest envelope, in bytes: the longest manifest, sealed and in base64, and what is around it.
pub(super) const ENVELOPE_BYTES_MAX: u64 = MANIFEST_BYTES_MAX / 3 * 4 + (64 << 10);

/// A `meta.json` of an encrypted remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    format: u32,
    min_reader: u32,
    /// Which remote this is.
    pub remote_id: RemoteId,
    encryption: Scheme,
    /// What `meta.json` would hold if it were not encrypted, in base64.
    sealed: String,
}

/// How a remote is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Scheme {
    version: u32,
    cipher: String,
}

impl Envelope {
    /// The envelope of what `meta.json` is to say.
    pub(super) fn seal(sealer: &Sealer, plain: &[u8]) -> Result<Self> {
        let remote_id = RemoteId::new(&sealer.remote_id);
        Ok(Self {
            format: FORM,
            min_reader: FORM,
            remote_id: remote_id.map_err(|error| SealError::damaged(META, error))?,
            encryption: Scheme { version: VERSION, cipher: CIPHER.to_owned() },
            sealed: BASE64_NOPAD.encode(&sealer.seal(META, plain)?),
        })
    }

    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Reads an envelope; nothing if this is the `meta.json` of a remote that is not encrypted.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>> {
        let damaged = |detail: String| SealError::damaged(META, detail);
        if bytes.len() as u64 > ENVELOPE_BYTES_MAX {
            return Err(damaged(format!("{} bytes, over {ENVELOPE_BYTES_MAX}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
        let value = json::parse(text).map_err(|error| damaged(error.to_string()))?;
        if let Some(needed) = value.get("minReader").and_then(Value::as_u64)
            && needed > u64::from(FORM)
        {
            return Err(SealError::NeedsNewer { needed });
        }
        if value.get("encryption").is_none() {
            return Ok(None);
        }
        let envelope: Self =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        let Scheme { version, cipher } = &envelope.encryption;
        if envelope.min_reader != FORM || *version != VERSION || cipher != CIPHER {
            return Err(damaged(format!("it speaks of a cipher {cipher:?}, version {version}")));
        }
        Ok(Some(envelope))
    }

    /// Makes sure that it is that of the sealer's remote.
    pub(super) fn check(&self, sealer: &Sealer) -> Result<()> {
        let (found, expected) = (self.remote_id.clone(), RemoteId::new(&sealer.remote_id));
        let expected = expected.map_err(|error| SealError::damaged(META, error))?;
        if found == expected { Ok(()) } else { Err(ForeignRemote { expected, found }.into()) }
    }

    /// What the `meta.json` says.
    pub(super) fn open(&self, sealer: &Sealer) -> Result<Vec<u8>> {
        self.check(sealer)?;
        let sealed = BASE64_NOPAD.decode(self.sealed.as_bytes());
        let sealed = sealed.map_err(|error| SealError::damaged(META, error))?;
        if sealed.len() as u64 > sealed_bytes(MANIFEST_BYTES_MAX) {
            return Err(SealError::damaged(META, "it is too long"));
        }
        sealer.open(META, &sealed).map_err(|why| SealError::damaged(META, why))
    }
}

/// What lies at an address, before any key is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// No `meta.json`.
    Nothing,
    /// A `meta.json` that is not encrypted.
    Plain,
    /// An encrypted remote.
    Sealed(RemoteId),
}

/// Looks at the `meta.json` on a storage.
pub async fn inspect(storage: &SharedStorage) -> Result<Inspected> {
    let meta = RemotePath::new(META).map_err(|error| SealError::damaged(META, error))?;
    let bytes = match storage.read(&meta, ENVELOPE_BYTES_MAX).await {
        Ok((bytes, _)) => bytes,
        Err(error) if error.is_not_found() => return Ok(Inspected::Nothing),
        Err(error) => return Err(error.into()),
    };
    Ok(Envelope::decode(&bytes)?
        .map_or(Inspected::Plain, |envelope| Inspected::Sealed(envelope.remote_id)))
}
