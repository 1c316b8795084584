//! The content of a file that is no record of fields: named by its digest, kept beside the records.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::BLOB_BYTES_MAX;

/// The folder of a remote that holds the contents.
pub const FOLDER: &str = "blobs";

/// The most letters and digits behind the digest in a name.
const SALT_MAX: usize = 32;

/// What the field [`BLOB`](super::entity::BLOB) says: which content the record's file has, and which
/// file of the remote holds it.
///
/// Two of them with the same digest are the same content, wherever it lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Blob {
    /// The SHA-256 of the content, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Where it lies on the remote: `blobs/<sha256>-<salt>`.
    pub file: String,
}

impl Blob {
    /// A content whose file on the remote gets a name that was never used.
    pub fn new(sha256: &str, bytes: u64, random: &mut fastrand::Rng) -> Self {
        let salt: String = (0..6).map(|_| random.char('a'..='z')).collect();
        Self { sha256: sha256.to_owned(), bytes, file: format!("{FOLDER}/{sha256}-{salt}") }
    }

    /// Reads the value of a field; says what is wrong with one that is none.
    pub fn read(value: &Value) -> Result<Self, String> {
        let blob = Self::deserialize(value).map_err(|error| error.to_string())?;
        let is_digest = |text: &str| {
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !is_digest(&blob.sha256) {
            return Err(format!("{:?} is no SHA-256", shortened(&blob.sha256)));
        }
        if digest_of(&blob.file) != Some(&blob.sha256) {
            return Err(format!("{:?} is no name of its file", shortened(&blob.file)));
        }
        if blob.bytes > BLOB_BYTES_MAX {
            return Err(format!("it has {} bytes, over {BLOB_BYTES_MAX}", blob.bytes));
        }
        Ok(blob)
    }

    /// The value of a field that says this.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Tells whether two values of the field are the same content.
    pub fn is_same(a: &Value, b: &Value) -> bool {
        a == b || digest(a).is_some_and(|digest_of_a| Some(digest_of_a) == digest(b))
    }
}

fn digest(value: &Value) -> Option<&str> {
    value.get("sha256")?.as_str()
}

/// The digest that stands in the name of a content's file; nothing if the name is not of that form.
pub fn digest_of(file: &str) -> Option<&str> {
    let (digest, salt) = file.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('-')?;
    let is_salt = (1..=SALT_MAX).contains(&salt.len())
        && salt.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (digest.len() == 64 && is_salt).then_some(digest)
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_read_as_it_is_written() {
        let sha = "ab".repeat(32);
        let mut random = fastrand::Rng::with_seed(7);
        let blob = Blob::new(&sha, 12, &mut random);
        assert_eq!(Blob::read(&blob.to_value()), Ok(blob.clone()));
        let again = Blob::new(&sha, 12, &mut random);
        assert_ne!(again.file, blob.file);
        assert!(Blob::is_same(&again.to_value(), &blob.to_value()));
        assert!(!Blob::is_same(&json!(null), &json!("x")));
    }

    #[test]
    fn hostile_values_are_refused() {
        let sha = "ab".repeat(32);
        let value = |sha: &str, bytes: u64, file: &str| {
            let value = json!({"sha256": sha, "bytes": bytes, "file": file});
            Blob::read(&value).unwrap_err()
        };
        let file = format!("blobs/{sha}-qwerty");
        assert!(value("AB", 1, &file).ends_with("is no SHA-256"));
        assert!(value(&"AB".repeat(32), 1, &file).ends_with("is no SHA-256"));
        for bad in [
            "../etc/passwd",
            "meta.json",
            "blobs/",
            &format!("blobs/{sha}"),
            &format!("blobs/{sha}-"),
            &format!("blobs/{sha}-../x"),
            &format!("blobs/{sha}-a/b"),
            &format!("packs/{sha}-qwerty"),
            &format!("blobs/{}-qwerty", "cd".repeat(32)),
        ] {
            assert!(value(&sha, 1, bad).ends_with("is no name of its file"), "{bad}");
        }
        assert!(value(&sha, BLOB_BYTES_MAX + 1, &file).contains("bytes, over"));
        assert!(Blob::read(&json!("x")).is_err());
        assert!(Blob::read(&json!({"sha256": sha, "bytes": -1, "file": file})).is_err());
    }
}
