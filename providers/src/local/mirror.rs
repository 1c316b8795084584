//! Whether a folder is one that another program keeps the same on several devices.

use std::path::Path;

/// What programs leave in the folders that they mirror, at the top of them: a name, or how it begins.
const MARKERS: [(&str, &str); 14] = [
    (".stfolder", "Syncthing"),
    (".dropbox", "Dropbox"),
    (".dropbox.cache", "Dropbox"),
    // OneDrive marks its folders by a file named after its class.
    (".849C9593-D756-4E56-8D6E-42412F2A707B", "OneDrive"),
    (".tmp.drivedownload", "Google Drive"),
    (".tmp.driveupload", "Google Drive"),
    (".nextcloudsync.log", "Nextcloud"),
    (".owncloudsync.log", "ownCloud"),
    (".sync_*", "Nextcloud"),
    ("._sync_*", "Nextcloud"),
    (".SynologyWorkingDirectory", "Synology Drive"),
    (".megaignore", "MEGA"),
    (".pcloud", "pCloud"),
    (".seafile-data", "Seafile"),
];

/// Folders that are mirrored by where they lie.
const PLACES: [(&[&str], &str); 2] = [
    (&["Library", "Mobile Documents"], "iCloud Drive"),
    (&["Library", "CloudStorage"], "a cloud drive"),
];

/// The program that mirrors `folder`, or a folder that it lies in.
pub(super) fn mirrored_by(folder: &Path) -> Option<&'static str> {
    let real = std::fs::canonicalize(folder);
    let folder = real.as_deref().unwrap_or(folder);
    let parts: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
    let by_place = PLACES.iter().find(|(place, _)| parts.windows(place.len()).any(|w| w == *place));
    by_place.map(|(_, name)| *name).or_else(|| folder.ancestors().find_map(marked))
}

fn marked(folder: &Path) -> Option<&'static str> {
    let plain = MARKERS.iter().filter(|(marker, _)| !marker.ends_with('*'));
    let found = plain.clone().find(|(marker, _)| folder.join(marker).symlink_metadata().is_ok());
    found.map(|(_, name)| *name).or_else(|| begins(folder))
}

/// Only where a marker's name is not known to its end: a folder that is read for it may be large.
fn begins(folder: &Path) -> Option<&'static str> {
    let names =
        std::fs::read_dir(folder).ok()?.flatten().filter_map(|e| e.file_name().into_string().ok());
    let hidden: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
    let starts =
        |marker: &str| hidden.iter().any(|name| name.starts_with(marker) && name.ends_with(".db"));
    let open = MARKERS.iter().filter_map(|(marker, name)| Some((marker.strip_suffix('*')?, *name)));
    open.into_iter().find(|(marker, _)| starts(marker)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirrored_folder_is_known_by_what_lies_above() {
        for (marker, name) in [
            (".stfolder", "Syncthing"),
            (".dropbox", "Dropbox"),
            (".sync_1a2b.db", "Nextcloud"),
            (".tmp.driveupload", "Google Drive"),
        ] {
            let top = tempfile::tempdir().unwrap();
            let remote = top.path().join("a/remote");
            std::fs::create_dir_all(&remote).unwrap();
            assert_eq!(mirrored_by(&remote), None);
            std::fs::create_dir(top.path().join(marker)).unwrap();
            assert_eq!(mirrored_by(&remote), Some(name));
            // Also of a folder that is still to be made.
            assert_eq!(mirrored_by(&remote.join("new")), Some(name));
        }
    }

    #[test]
    fn apple_keeps_its_clouds_in_known_places() {
        let folder = Path::new("/Users/ann/Library/Mobile Documents/com~apple~CloudDocs/notes");
        assert_eq!(mirrored_by(folder), Some("iCloud Drive"));
    }
}
