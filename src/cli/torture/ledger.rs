//! What was acknowledged to the user of one device, and what of it is not there in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// One edit, by what has to be true after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// A word stands in some file, or among the values that wait for a decision.
    Word(String),
    /// A field of a file that nobody else sets has this value, or a later one.
    Field { file: String, field: String, value: u64 },
    /// A file that nobody else touches is there, with this digest.
    File { file: String, sha256: String },
    /// A file that nobody else touches is gone.
    Gone { file: String },
}

/// An acknowledged edit that is not there.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Loss {
    /// The device that lacks it.
    pub(super) device: String,
    /// What was edited.
    pub(super) what: String,
}

/// What stands on one device.
#[derive(Debug, Default)]
pub(super) struct Everything {
    /// The digests of all files.
    pub(super) files: BTreeMap<String, String>,
    /// The words in all files and in all conflicts.
    pub(super) words: BTreeSet<String>,
    /// The fields of all files, by file and name.
    pub(super) fields: BTreeMap<(String, String), u64>,
}

/// The edits of one device.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: Vec<Edit>,
    acknowledged: Vec<Edit>,
}

impl Ledger {
    /// An edit was made, and nobody was told yet that it is safe.
    pub(super) fn note(&mut self, edit: Edit) {
        self.waiting.push(edit);
    }

    /// A turn that began after all edits so far came to its end.
    pub(super) fn acknowledge(&mut self) {
        self.acknowledged.append(&mut self.waiting);
    }

    /// How many edits were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// What of it a device lacks.
    pub(super) fn losses<'a>(
        &'a self,
        there: &'a Everything,
        device: &'a str,
    ) -> impl Iterator<Item = Loss> + 'a {
        let mut last: BTreeMap<&str, &Edit> = BTreeMap::new();
        for edit in &self.acknowledged {
            if let Edit::File { file, .. } | Edit::Gone { file } = edit {
                last.insert(file, edit);
            }
        }
        let is_lost = move |edit: &&Edit| match edit {
            Edit::Word(word) => !there.words.contains(word),
            Edit::Field { file, field, value } => {
                let now = there.fields.get(&(file.clone(), field.clone()));
                now.is_none_or(|now| now < value)
            }
            // What this device did to the same file later counts.
            Edit::File { file, .. } | Edit::Gone { file } if last.get(&**file) != Some(edit) => {
                false
            }
            Edit::File { file, sha256 } => there.files.get(file) != Some(sha256),
            Edit::Gone { file } => there.files.contains_key(file),
        };
        let lost = self.acknowledged.iter().filter(is_lost);
        lost.map(move |edit| Loss { device: device.to_owned(), what: edit.to_string() })
    }
}

impl Everything {
    /// Takes the words of a text.
    pub(super) fn read_words(&mut self, text: &str) {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        self.words.extend(words.filter(|word| word.starts_with('w')).map(str::to_owned));
    }

    /// Takes the fields of a file that are numbers.
    pub(super) fn read_fields(&mut self, file: &str, text: &str) {
        for line in text.lines() {
            if let Some((name, value)) = line.split_once(": ")
                && let Ok(value) = value.trim().parse()
            {
                self.fields.insert((file.to_owned(), name.to_owned()), value);
            }
        }
    }

    /// The first file that is not the same in both.
    pub(super) fn differs_in(&self, other: &Self) -> Option<String> {
        let names: BTreeSet<&String> = self.files.keys().chain(other.files.keys()).collect();
        let differs = |name: &&&String| self.files.get(**name) != other.files.get(**name);
        names.iter().find(differs).map(|name| (**name).clone())
    }
}

impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => write!(f, "the word {word}"),
            Self::Field { file, field, value } => write!(f, "{field}: {value} in {file}"),
            Self::File { file, .. } => write!(f, "the file {file}"),
            Self::Gone { file } => write!(f, "the deletion of {file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told() {
        let mut ledger = Ledger::default();
        let file = "own/0.bin".to_owned();
        for edit in [
            Edit::Word("w0x1".to_owned()),
            Edit::Field { file: "a.md".to_owned(), field: "d0".to_owned(), value: 3 },
            Edit::File { file: file.clone(), sha256: "aa".to_owned() },
            Edit::Gone { file: file.clone() },
        ] {
            ledger.note(edit);
        }
        ledger.acknowledge();
        ledger.note(Edit::Word("w0x2".to_owned()));
        let mut there = Everything::default();
        there.read_words("- w0x1, and\nw0x9");
        there.read_fields("a.md", "---\nd0: 3\n---\n");
        let told = |there: &Everything| {
            ledger.losses(there, "phone").map(|loss| loss.what).collect::<Vec<_>>()
        };
        assert_eq!(told(&there), [""; 0]);
        there.fields.insert(("a.md".to_owned(), "d0".to_owned()), 2);
        there.files.insert(file, "aa".to_owned());
        assert_eq!(told(&there), ["d0: 3 in a.md", "the deletion of own/0.bin"]);
        there.words.clear();
        assert_eq!(told(&there)[0], "the word w0x1");
    }
}
