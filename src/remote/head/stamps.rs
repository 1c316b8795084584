//! The mark of a state of many heads: of each file what a change of it is told by.

use std::collections::BTreeMap;

use larder_providers::Entry;

/// The end of a mark of a state that has to be looked at again although nothing changed.
pub(super) const AGAIN: &str = "again";

/// What a change of a file is told by.
pub(super) fn stamp_of(entry: &Entry) -> String {
    let version = entry.version.as_ref().map_or("", |version| version.0.as_str());
    let modified = entry.modified.map(|time| time.timestamp_micros()).unwrap_or_default();
    format!("{}.{modified}.{version}", entry.bytes.unwrap_or_default())
}

/// A line for each file: its name, and what a change of it is told by.
pub(super) fn mark_of(stamps: &BTreeMap<String, String>, is_settled: bool) -> String {
    let lines = stamps.iter().map(|(name, stamp)| format!("{name}\t{stamp}\n"));
    lines.chain((!is_settled).then(|| AGAIN.to_owned())).collect()
}

/// What is in a mark, by name.
pub(super) fn stamps_of(mark: &str) -> BTreeMap<String, String> {
    let lines = mark.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(name, stamp)| (name.to_owned(), stamp.to_owned())).collect()
}
