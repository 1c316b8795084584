//! Names of things on a remote, checked once and trusted afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of one file or folder on a remote, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// The longest name of somebody else's file that is looked into, in bytes.
const FOUND_NAME_BYTES_MAX: usize = 255;

/// A path below the remote's root: parts of `[a-z0-9._-]`, no leading dot, joined by `/`.
///
/// The narrow alphabet is what every storage keeps as it is: NAS volumes and Dropbox fold case,
/// hardened proxies refuse leading dots, and no character of it needs escaping in a URL. The empty
/// path is the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemotePath(String);

impl RemotePath {
    /// Checks `path` and takes it.
    pub fn new(path: impl Into<String>) -> Result<Self, InvalidPath> {
        let path = path.into();
        if !path.is_empty() {
            if path.len() > 4 * NAME_BYTES_MAX {
                return Err(InvalidPath(path));
            }
            for part in path.split('/') {
                if !is_name(part) {
                    return Err(InvalidPath(path));
                }
            }
        }
        Ok(Self(path))
    }

    /// The remote's root.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// This path with `name` below it.
    pub fn join(&self, name: &str) -> Result<Self, InvalidPath> {
        if self.0.is_empty() { Self::new(name) } else { Self::new(format!("{}/{name}", self.0)) }
    }

    /// What was found in `folder` under a name that larder does not give, such as the copy of a
    /// file that a program which mirrors folders makes of a conflict. Only to be read and removed.
    pub fn found(folder: &Self, name: &str) -> Result<Self, InvalidPath> {
        let is_plain = !name.is_empty()
            && name.len() <= FOUND_NAME_BYTES_MAX
            && !name.starts_with('.')
            && !name.contains(['/', '\\', '%'])
            && !name.chars().any(char::is_control);
        if !is_plain {
            return Err(InvalidPath(name.to_owned()));
        }
        let before = if folder.is_root() { String::new() } else { format!("{folder}/") };
        Ok(Self(before + name))
    }

    /// The path as text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder this path lies in; nothing for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())))
    }

    /// Whether this is the remote's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_name(part: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    !part.is_empty()
        && part.len() <= NAME_BYTES_MAX
        && !part.starts_with('.')
        && part.bytes().all(allowed)
}

/// A name that no remote path may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name that can stand on a remote")]
pub struct InvalidPath(pub String);

impl TryFrom<String> for RemotePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        Self::new(path)
    }
}

impl From<RemotePath> for String {
    fn from(path: RemotePath) -> Self {
        path.0
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_every_storage_keeps() {
        for good in ["", "meta.json", "head/12-a_b", "packs/3-ab.jsonl.zst"] {
            assert_eq!(RemotePath::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["/", "a//b", "../a", ".git", "A", "a b", "a\\b", "ä", "a/", long.as_str()] {
            assert!(RemotePath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_others_left_is_one_file_in_one_folder() {
        let folder = RemotePath::new("heads").unwrap();
        let copy = RemotePath::found(&folder, "k3v9x2 (Ann's conflicted copy).json").unwrap();
        assert_eq!(copy.parent(), Some(folder.clone()));
        assert_eq!(
            RemotePath::found(&RemotePath::root(), "Meta (1).json").unwrap().name(),
            "Meta (1).json"
        );
        for bad in ["", "..", ".stfolder", "a/b", "a\\b", "a\nb", "a%2fb"] {
            assert!(RemotePath::found(&folder, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_its_parent_and_name() {
        let path = RemotePath::new("packs/1.zst").unwrap();
        assert_eq!((path.parent().unwrap().as_str(), path.name()), ("packs", "1.zst"));
        assert!(path.parent().unwrap().parent().unwrap().is_root());
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_is_safe_everywhere(text in ".{0,40}|[a-z0-9._/-]{0,40}") {
            if let Ok(path) = RemotePath::new(text.clone()) {
                proptest::prop_assert_eq!(path.as_str(), text.as_str());
                for part in text.split('/').filter(|_| !text.is_empty()) {
                    proptest::prop_assert!(!part.is_empty() && !part.starts_with('.'));
                    proptest::prop_assert!(part.is_ascii() && part.len() <= NAME_BYTES_MAX);
                }
                let json = serde_json::to_string(&path).unwrap();
                proptest::prop_assert_eq!(serde_json::from_str::<RemotePath>(&json).unwrap(), path);
            }
        }
    }
}
