//! Names of things: devices, entities, remotes.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{limits::ID_BYTES_MAX, wire::read_text};

/// An id that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what} ({rule})")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($kept:ty), $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($kept);

        impl $name {
            /// Checks `text` and takes it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if Self::is_one(&text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { what: $what, rule: $rule, text })
                }
            }

            /// Takes a text that was checked before.
            #[allow(dead_code, reason = "of the three ids, the books hold one")]
            pub(super) fn checked(text: &str) -> Self {
                Self(text.into())
            }

            /// Whether a text is such an id.
            pub fn is_one(text: &str) -> bool {
                let check: fn(&str) -> bool = $check;
                check(text)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if Self::is_one(text) { Ok(Self(text.into())) } else { Self::new(text) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read_text(deserializer, str::parse)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

id!(
    /// One life of one replica: 4 to 16 characters of `[a-z0-9]`, drawn at random.
    DeviceId(Short),
    "device id",
    "4 to 16 of a-z and 0-9",
    |text| (4..=16).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
);

id!(
    /// One record, for ever.
    EntityId(Box<str>),
    "id",
    "1 to 64 of A-Z, a-z, 0-9, '_' and '-'",
    // To the end whatever is found: without a branch for each character it is several times quicker,
    // and ids are checked whenever something is read.
    |text| (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().fold(true, |all, b| {
            all & (b.is_ascii_alphanumeric() | (b == b'_') | (b == b'-'))
        })
);

id!(
    /// One remote, for ever, wherever its folder lies.
    RemoteId(Box<str>),
    "remote id",
    "8 to 64 of a-z, 0-9 and '-'",
    |text| (8..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

/// A text of up to 16 bytes without NUL, kept in place and padded with NUL, which sorts like the
/// text: a device is named with each value of each field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Short([u8; 16]);

impl From<String> for Short {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&str> for Short {
    fn from(text: &str) -> Self {
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(text.bytes()) {
            *byte = from;
        }
        Self(bytes)
    }
}

impl Deref for Short {
    type Target = str;

    fn deref(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        self.0.get(..length).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl DeviceId {
    /// Draws a device id from `random`.
    pub fn random(random: &mut fastrand::Rng) -> Self {
        let letters: String = (0..6).map(|_| random.char('a'..='z')).collect();
        Self(letters.into())
    }
}

/// What a storage found to belong to another remote than was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it belongs to another remote ({found})")]
pub struct ForeignRemote {
    /// The one that was asked for.
    pub expected: RemoteId,
    /// The one that is there.
    pub found: RemoteId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_sort_like_their_texts() {
        let mut texts = ["zzzz", "ab00", "abcdefghijklmnop", "ab0", "0000", "ab00a", "aaaa1"]
            .map(|text| format!("{text:0<4}"));
        let mut ids = texts.clone().map(|text| DeviceId::new(text).unwrap());
        texts.sort();
        ids.sort();
        assert_eq!(ids.map(|id| id.to_string()), texts);
    }

    #[test]
    fn says_what_is_wrong_with_an_id() {
        let error = EntityId::new("../x").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""../x" is not a valid id (1 to 64 of A-Z, a-z, 0-9, '_' and '-')"#
        );
        assert!(EntityId::new("a".repeat(65)).is_err());
        assert!(DeviceId::new("K3V9X2").is_err());
        assert!(serde_json::from_str::<DeviceId>(r#""k3v9x2""#).is_ok());
        assert!(serde_json::from_str::<DeviceId>(r#""k3 v9""#).is_err());
    }
}
