//! Names that are nobody's records: what systems and editors leave lying about.

/// Folders and files that systems and sync programs make for themselves.
const NAMES: [&str; 24] = [
    ".ds_store",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    ".appledouble",
    ".lsoverride",
    ".spotlight-v100",
    ".trashes",
    ".fseventsd",
    ".temporaryitems",
    ".documentrevisions-v100",
    ".volumeicon.icns",
    ".apdisk",
    "$recycle.bin",
    "system volume information",
    ".directory",
    ".stfolder",
    ".stversions",
    ".dropbox",
    ".dropbox.cache",
    ".dropbox.attr",
    ".nextcloudsync.log",
    "4913",
];

/// Tells whether a name is one that scans pass over without a word.
///
/// `*.tmp` is not among them: somebody may keep a record under such a name, and a file that is
/// silently not in step is worse than one that shows up for a moment. Hidden ones (`.note.tmp`) and
/// those of Syncthing are.
pub(super) fn is_litter(name: &str) -> bool {
    // Almost every name ends here.
    if !name
        .starts_with(['.', '~', '$', '#', 'T', 't', 'D', 'd', 'E', 'e', 'I', 'i', 'S', 's', '4'])
        && !name.ends_with(['~', 'p', 'o', 'x', 'P', 'O', 'X'])
    {
        return false;
    }
    let lower = name.to_ascii_lowercase();
    NAMES.contains(&lower.as_str())
        // macOS keeps what other disks cannot hold in `._name`, and trash in `.Trash-1000`.
        || ["._", ".trash-", ".#", "~$", ".~lock.", ".goutputstream-", "~syncthing~", ".syncthing."]
            .iter()
            .any(|start| lower.starts_with(start))
        || [".swp", ".swo", ".swx"].iter().any(|end| lower.ends_with(end))
        || lower.ends_with('~')
        || (lower.starts_with('#') && lower.ends_with('#') && lower.len() > 1)
        || (lower.starts_with('.') && lower.ends_with(".tmp"))
}

#[cfg(test)]
mod tests {
    use super::is_litter;

    #[test]
    fn litter_is_known_and_records_are_not() {
        for name in [
            ".DS_Store",
            "Thumbs.db",
            "Desktop.ini",
            "._note.md",
            ".Trash-1000",
            ".note.md.swp",
            "note.swo",
            "note.md~",
            ".#note.md",
            "#note.md#",
            "4913",
            "~$report.docx",
            ".~lock.a.odt#",
            ".goutputstream-X1",
            "~syncthing~a.tmp",
            ".a.tmp",
        ] {
            assert!(is_litter(name), "{name}");
        }
        for name in [
            "note.md",
            ".hidden",
            ".gitignore",
            "a.tmp",
            "#",
            "#tag.md",
            "tags.md",
            "4914",
            "swp",
            "~",
            ".larderignore",
            "desktop.md",
            "Trash",
            "stop",
            "x",
            "info",
        ] {
            assert_eq!(is_litter(name), name == "~", "{name}");
        }
    }
}
