//! Names and paths: what may stand on a remote, what may stand in a vault, and how edits, times and
//! contents are called.

use std::{
    fmt::{Debug, Display},
    path::{Component, Path},
    str::FromStr,
};

use larder::{
    model::{
        Blob, DeviceId, Dot, EntityId, RemoteId, Stamp, VaultPath, blob,
        path::{MAX_PART_BYTES, MAX_PATH_BYTES},
    },
    remote::layout,
};
use larder_providers::{NAME_BYTES_MAX, RemotePath};

use crate::pieces::text;

/// Whatever is taken for a name leads nowhere else, and is written as it was read.
pub(crate) fn names(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(path) = VaultPath::new(text) {
        vault_path(&path);
    }
    if let Ok(path) = RemotePath::new(text) {
        remote_path(&path);
    }
    round_trip::<DeviceId>(text);
    round_trip::<EntityId>(text);
    round_trip::<RemoteId>(text);
    round_trip::<Dot>(text);
    if let Ok(stamp) = Stamp::parse(text) {
        assert_eq!(Stamp::parse(&stamp.to_string()), Ok(stamp));
        assert_eq!(Stamp::from_millis(stamp.millis()), stamp);
        assert!(Stamp::next(stamp, stamp) >= stamp);
    }
    if let Some(digest) = blob::digest_of(text) {
        assert!(digest.len() == 64 && text.split('/').count() >= 2);
    }
    if let Ok(value) = serde_json::from_str(text)
        && let Ok(blob) = Blob::read(&value)
    {
        assert_eq!(Blob::read(&blob.to_value()).as_ref(), Ok(&blob));
        let path = RemotePath::new(blob.file.as_str()).expect("its name can stand on a remote");
        assert_eq!(path.parent().expect("it lies in a folder").as_str(), blob::FOLDER);
    }
}

fn round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        let again = name.to_string();
        assert_eq!(again.parse::<T>().ok().as_ref(), Some(&name));
        assert!(!again.contains(['/', '\\', '.']), "{again:?}");
    }
}

fn vault_path(path: &VaultPath) {
    is_inside(path);
    let key = path.key();
    if let Ok(of_key) = VaultPath::new(&key) {
        assert_eq!(of_key.key(), key);
    }
    for twin in [path.as_str().to_lowercase(), path.as_str().to_uppercase()] {
        if let Ok(twin) = VaultPath::new(&twin) {
            assert_eq!(twin.key(), key, "{path} and {twin} are one file on some disks");
        }
    }
    for beside in [path.with_number(2), path.with_label("laptop"), path.with_label(path.as_str())] {
        let Ok(beside) = beside else { continue };
        is_inside(&beside);
        assert_eq!(beside.parent(), path.parent());
    }
    if let Some(plain) = path.without_number() {
        is_inside(&plain);
    }
}

/// Holds a path to the rules, not with the code that took it.
fn is_inside(path: &VaultPath) {
    let text = path.as_str();
    assert!((1..=MAX_PATH_BYTES).contains(&text.len()));
    let root = Path::new("/vault");
    let inside = path.under(root);
    let inside = inside.strip_prefix(root).expect("it lies in the vault");
    assert!(inside.components().all(|part| matches!(part, Component::Normal(_))), "{text:?}");
    assert_eq!(inside.components().count(), text.split('/').count());
    for part in text.split('/') {
        assert!((1..=MAX_PART_BYTES).contains(&part.len()), "{part:?}");
        assert!(!part.contains(['\\', '\0', '\n']) && !part.ends_with(['.', ' ']), "{part:?}");
        // NTFS keeps streams behind a colon, and HFS+ does not see these characters.
        let name = part.split(':').next().unwrap_or_default();
        let unseen = ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{206a}'..='\u{206f}'];
        let is_seen = |c: &char| *c != '\u{feff}' && !unseen.iter().any(|range| range.contains(c));
        let name: String = name.chars().filter(is_seen).collect();
        let name = name.trim_end_matches(['.', ' ']).to_lowercase();
        assert!(![".larder", ".git", "larder~1", "git~1"].contains(&name.as_str()), "{part:?}");
    }
}

fn remote_path(path: &RemotePath) {
    for part in path.as_str().split('/').filter(|_| !path.is_root()) {
        assert!((1..=NAME_BYTES_MAX).contains(&part.len()) && !part.starts_with('.'), "{part:?}");
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        assert!(part.bytes().all(is_plain), "{part:?}");
    }
    if let Some(generation) = layout::data_generation(path.as_str()) {
        let mut random = fastrand::Rng::with_seed(7);
        if let Ok(other) = layout::never_used(path, &mut random) {
            assert_eq!(layout::data_generation(other.as_str()), Some(generation));
            assert_ne!(other, *path);
        }
    }
}
