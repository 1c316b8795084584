//! What WebDAV servers answer when they are asked what a folder holds.

use std::collections::BTreeSet;

use larder_providers::{RemotePath, webdav::read_listing};

/// A listing holds files directly in the folder that was asked for, each once.
pub(crate) fn multistatus(data: &[u8]) {
    for folder in ["", "head"] {
        let url = format!("https://host:81/my%20dav/{folder}/");
        let folder = RemotePath::new(folder).expect("it is a name");
        let Ok(listing) = read_listing(&url, &folder, data) else { continue };
        let mut seen = BTreeSet::new();
        for entry in &listing.entries {
            assert_eq!(entry.path.parent().as_ref(), Some(&folder), "{}", entry.path);
            assert!(seen.insert(&entry.path), "{} twice", entry.path);
            assert!(RemotePath::new(entry.path.as_str()).is_ok());
        }
        assert!(listing.entries.len() + listing.foreign.len() <= data.len());
    }
}
