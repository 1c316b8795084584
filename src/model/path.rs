//! Paths of vault files, checked before anything is done with them.

use std::borrow::Borrow;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::mutant::{self, Mutant};

/// The folder of larder's own files in a vault.
pub const CONTROL_DIR: &str = ".larder";
/// What the names of larder's temporary files start with.
pub(crate) const TEMP_PREFIX: &str = ".larder-tmp-";
/// The most bytes of one part of a path.
pub const MAX_PART_BYTES: usize = 255;
/// The most bytes of a path.
pub const MAX_PATH_BYTES: usize = 1024;

/// The path of a file in a vault: relative, with `/` between its parts, in NFC, and nothing but that file
/// on any system, wherever it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VaultPath(String);

/// Why a text is not the path of a vault file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadPath {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// It starts at a root.
    #[error("it is not relative to the vault")]
    Absolute,
    /// It starts at a drive of Windows, such as `a:`.
    #[error("its second character is a colon, before which Windows has the letter of a drive")]
    Drive,
    /// `a//b`, or a slash at the end.
    #[error("a part of it is empty")]
    EmptyPart,
    /// `.` or `..`.
    #[error("a part of it is `.` or `..`")]
    Dots,
    /// NUL, a line break and the like.
    #[error("it holds a control character")]
    Control,
    /// A slash in what is to be one part.
    #[error("a part of it holds a slash")]
    Slash,
    /// A backslash separates folders on Windows.
    #[error("it holds a backslash")]
    Backslash,
    /// `CON`, `nul.txt` and the like.
    #[error("a part of it is the name of a device on Windows")]
    Device,
    /// Windows drops it.
    #[error("a part of it ends with a dot or a space")]
    TrailingDotOrSpace,
    /// Two spellings of one name must not be two files.
    #[error("it is not in Unicode's composed form (NFC)")]
    NotComposed,
    /// A part over 255 bytes.
    #[error("a part of it is longer than {MAX_PART_BYTES} bytes")]
    PartTooLong,
    /// Over 1,024 bytes.
    #[error("it is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// Inside of `.larder` or `.git`.
    #[error("it lies in a folder that larder does not touch (`.larder` or `.git`)")]
    Reserved,
    /// One of larder's temporary files.
    #[error("it is the name of one of larder's temporary files")]
    Temporary,
    /// On disk only: a name that is no UTF-8.
    #[error("its name is not UTF-8")]
    NotUtf8,
}

impl VaultPath {
    /// Checks a path.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(path: &str) -> Result<Self, BadPath> {
        Self::check(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Checks a path without taking it.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(path: &str) -> Result<(), BadPath> {
        if mutant::is(Mutant::AnyPath) {
            return Ok(());
        }
        if path.is_empty() {
            return Err(BadPath::Empty);
        }
        let has_drive = path.as_bytes().get(1) == Some(&b':')
            && path.starts_with(|first: char| first.is_ascii_alphabetic());
        if path.starts_with('/') {
            return Err(BadPath::Absolute);
        }
        if has_drive {
            return Err(BadPath::Drive);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(BadPath::TooLong);
        }
        path.split('/').try_for_each(check_part)
    }

    /// Takes a path that was checked before.
    pub(super) fn checked(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// Gives the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Gives the folder, or `None` for a file in the vault's root.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// Gives the place of the file under a root.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }

    /// Gives a text that is equal for paths which some file system takes for one: they differ in
    /// case only, or in how letters are composed. It may be equal for a few more (`ı` and `i`).
    pub fn key(&self) -> String {
        if self.0.is_ascii() {
            return self.0.to_ascii_lowercase();
        }
        let upper = self.0.nfd().flat_map(char::to_uppercase);
        upper.flat_map(char::to_lowercase).nfc().collect()
    }

    /// Gives `name (2).ext` for `name.ext`, with the name cut if it became too long.
    ///
    /// # Errors
    /// [`BadPath::TooLong`] if the folder alone leaves no room.
    pub fn with_number(&self, number: u32) -> Result<Self, BadPath> {
        self.with_suffix(&format!(" ({number})"))
    }

    /// Gives `name (label).ext` for `name.ext`, with the name cut if it became too long.
    ///
    /// # Errors
    /// A label that no path can have in it, or a folder that leaves no room.
    pub fn with_label(&self, label: &str) -> Result<Self, BadPath> {
        if label.contains('/') {
            return Err(BadPath::Slash);
        }
        self.with_suffix(&format!(" ({label})"))
    }

    /// The file's name in two; the extension begins with its dot.
    fn stem_and_extension(&self) -> (&str, &str) {
        let name = self.file_name();
        name.rfind('.').filter(|at| *at > 0).map_or((name, ""), |at| name.split_at(at))
    }

    fn with_suffix(&self, suffix: &str) -> Result<Self, BadPath> {
        let (stem, extension) = self.stem_and_extension();
        let suffix = format!("{suffix}{extension}");
        let parent = self.parent().map_or(String::new(), |parent| format!("{parent}/"));
        let room = MAX_PART_BYTES.min(MAX_PATH_BYTES.saturating_sub(parent.len()));
        let room = room.checked_sub(suffix.len()).ok_or(BadPath::TooLong)?;
        let end = (0..=room.min(stem.len())).rev().find(|at| stem.is_char_boundary(*at));
        let cut = end.and_then(|end| stem.get(..end)).filter(|cut| !cut.is_empty());
        let stem = cut.ok_or(BadPath::TooLong)?;
        Self::new(&format!("{parent}{stem}{suffix}"))
    }

    /// Gives `name.ext` for `name (2).ext`; nothing for a name without a number.
    pub fn without_number(&self) -> Option<Self> {
        let (stem, extension) = self.stem_and_extension();
        let (plain, number) = stem.strip_suffix(')')?.rsplit_once(" (")?;
        number.parse::<u32>().ok()?;
        let parent = self.parent().map_or(String::new(), |parent| format!("{parent}/"));
        Self::new(&format!("{parent}{plain}{extension}")).ok()
    }
}

/// Checks one part of a path.
fn check_part(part: &str) -> Result<(), BadPath> {
    if part.is_empty() {
        return Err(BadPath::EmptyPart);
    }
    if part == "." || part == ".." {
        return Err(BadPath::Dots);
    }
    // Of what is no ASCII, U+0080 to U+009F are control characters too.
    let is_control = if part.is_ascii() {
        part.bytes().fold(false, |any, byte| any | byte.is_ascii_control())
    } else {
        part.chars().any(char::is_control)
    };
    if is_control {
        return Err(BadPath::Control);
    }
    if part.contains('\\') {
        return Err(BadPath::Backslash);
    }
    if part.ends_with(['.', ' ']) {
        return Err(BadPath::TrailingDotOrSpace);
    }
    if part.len() > MAX_PART_BYTES {
        return Err(BadPath::PartTooLong);
    }
    if is_reserved(part) {
        return Err(BadPath::Reserved);
    }
    if part.get(..TEMP_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(TEMP_PREFIX)) {
        return Err(BadPath::Temporary);
    }
    if is_device(part) {
        return Err(BadPath::Device);
    }
    if !part.is_ascii() && !is_nfc(part) {
        return Err(BadPath::NotComposed);
    }
    Ok(())
}

/// Tells whether a file system may take a name for `.larder` or `.git`: whatever its case, with
/// characters in it that HFS+ ignores, in the short form of NTFS, or as a stream of NTFS: the folder
/// `.git` is also called `.git::$INDEX_ALLOCATION`.
pub(crate) fn is_reserved(part: &str) -> bool {
    let part = name_of_stream(part);
    let ignored = |c: &char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let names = [CONTROL_DIR, ".git", "git~1", "larder~1"];
    if part.is_ascii() {
        return names.iter().any(|name| part.eq_ignore_ascii_case(name));
    }
    let plain: String = part.chars().filter(|c| !ignored(c)).flat_map(char::to_lowercase).collect();
    names.contains(&plain.trim_end_matches(['.', ' ']))
}

/// The name before a colon, behind which NTFS keeps the streams of a file; without what Windows drops
/// at its end.
fn name_of_stream(part: &str) -> &str {
    part.split_once(':').map_or(part, |(name, _)| name.trim_end_matches(['.', ' ']))
}

fn is_device(part: &str) -> bool {
    let stem = name_of_stream(part).split('.').next().unwrap_or(part).trim_end_matches(' ');
    if stem.len() > "conout$".len() {
        return false;
    }
    let stem = stem.to_ascii_lowercase();
    if matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$") {
        return true;
    }
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let mut digits = port.unwrap_or_default().chars();
    matches!((digits.next(), digits.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
}

impl fmt::Display for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for VaultPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Text and path are equal, ordered and hashed alike, so maps can be asked with a text.
impl Borrow<str> for VaultPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VaultPath {
    type Error = BadPath;

    fn try_from(path: String) -> Result<Self, BadPath> {
        Self::new(&path)
    }
}

impl From<VaultPath> for String {
    fn from(path: VaultPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPath, VaultPath};

    #[test]
    fn hostile_paths_are_refused() {
        let long = "x".repeat(256);
        let longer = "abc/".repeat(300);
        for (path, reason) in [
            ("", BadPath::Empty),
            ("/etc/passwd", BadPath::Absolute),
            ("C:/x", BadPath::Drive),
            ("c:x", BadPath::Drive),
            ("a//b", BadPath::EmptyPart),
            ("a/", BadPath::EmptyPart),
            ("..", BadPath::Dots),
            ("a/../../b", BadPath::Dots),
            ("./a", BadPath::Dots),
            ("a\0", BadPath::Control),
            ("a\nb", BadPath::Control),
            ("a\u{7f}", BadPath::Control),
            ("a\u{85}", BadPath::Control),
            ("..\\x", BadPath::Backslash),
            ("a./b", BadPath::TrailingDotOrSpace),
            ("a /b", BadPath::TrailingDotOrSpace),
            ("...", BadPath::TrailingDotOrSpace),
            ("con", BadPath::Device),
            ("x/NUL.tar.gz", BadPath::Device),
            ("Com1.md", BadPath::Device),
            ("lpt¹", BadPath::Device),
            ("aux .md", BadPath::Device),
            ("e\u{301}.md", BadPath::NotComposed),
            (long.as_str(), BadPath::PartTooLong),
            (longer.as_str(), BadPath::TooLong),
            (".larder/config.toml", BadPath::Reserved),
            (".LARDER/x", BadPath::Reserved),
            ("a/.Git/hooks/post-checkout", BadPath::Reserved),
            (".g\u{200c}it/config", BadPath::Reserved),
            (".git.\u{202e}/config", BadPath::Reserved),
            ("GIT~1/config", BadPath::Reserved),
            (".git::$INDEX_ALLOCATION/config", BadPath::Reserved),
            (".LARDER :x", BadPath::Reserved),
            ("a/nul:x.md", BadPath::Device),
            ("a/.larder-tmp-x", BadPath::Temporary),
        ] {
            assert_eq!(VaultPath::new(path), Err(reason), "{path:?}");
            assert!(serde_json::from_value::<VaultPath>(path.into()).is_err());
        }
        for path in [
            "a.md",
            "a/b c/d.md",
            ".hidden",
            "é.md",
            "com10",
            "console.md",
            "common/x",
            "a..b",
            ".gitignore",
            ".larderignore",
            "what?.md",
            "ab:c.md",
            "😀",
            "..a",
            " a",
        ] {
            assert!(VaultPath::new(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn the_key_does_not_see_case_or_composition() {
        let key = |path: &str| VaultPath::new(path).unwrap().key();
        assert_eq!(key("Notes/É.md"), key("notes/é.MD"));
        assert_eq!(key("straße"), key("STRASSE"));
        assert_eq!(key("ΟΔΟΣ"), key("οδος"));
        assert_ne!(key("a.md"), key("b.md"));
    }

    #[test]
    fn a_number_goes_before_the_extension() {
        let with = |path: &str| VaultPath::new(path).unwrap().with_number(2).unwrap().to_string();
        assert_eq!(with("a/b.md"), "a/b (2).md");
        assert_eq!(with("b"), "b (2)");
        assert_eq!(with(".hidden"), ".hidden (2)");
        assert_eq!(with("x.tar.gz"), "x.tar (2).gz");
        let without = |path: &str| VaultPath::new(path).unwrap().without_number();
        for path in ["a/b.md", "b", ".hidden", "x.tar.gz"] {
            assert_eq!(without(&with(path)).unwrap().as_str(), path);
            assert_eq!(without(path), None);
        }
        assert_eq!(without("a (x).md"), None);
        let labelled = VaultPath::new("a/b.md").unwrap();
        assert_eq!(labelled.with_label("laptop").unwrap().as_str(), "a/b (laptop).md");
        assert_eq!(labelled.with_label("x/../../y"), Err(BadPath::Slash));
        let long = format!("{}.md", "é".repeat(126));
        assert_eq!(with(&long), format!("{} (2).md", "é".repeat(124)));
        let deep = format!("{}{}", "abcd/".repeat(204), "abcd");
        assert_eq!(VaultPath::new(&deep).unwrap().with_number(2).unwrap_err(), BadPath::TooLong);
    }
}
