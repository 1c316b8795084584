//! Names of things: devices, entities, remotes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::ID_BYTES_MAX;

/// An id that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what} ({rule})")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text` and takes it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text.into_boxed_str()))
                } else {
                    Err(InvalidId { what: $what, rule: $rule, text })
                }
            }

            /// Takes a text that was checked before.
            #[allow(dead_code, reason = "of the three ids, the books hold one")]
            pub(super) fn checked(text: &str) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One life of one replica: 4 to 16 characters of `[a-z0-9]`, drawn at random.
    DeviceId,
    "device id",
    "4 to 16 of a-z and 0-9",
    |text| (4..=16).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
);

id!(
    /// One record, for ever.
    EntityId,
    "id",
    "1 to 64 of A-Z, a-z, 0-9, '_' and '-'",
    |text| (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
);

id!(
    /// One remote, for ever, wherever its folder lies.
    RemoteId,
    "remote id",
    "8 to 64 of a-z, 0-9 and '-'",
    |text| (8..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

impl DeviceId {
    /// Draws a device id from `random`.
    pub fn random(random: &mut fastrand::Rng) -> Self {
        let letters: String = (0..6).map(|_| random.char('a'..='z')).collect();
        Self(letters.into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
