//! Merges of texts.

use larder::merge::text::{TextMerge, merge2, merge3};

use crate::pieces::Pieces;

/// Any three texts merge, to no more than they hold together, and alike from both sides.
pub(crate) fn merge(data: &[u8]) {
    let mut pieces = Pieces::of(data);
    let (base, first, second) = (pieces.text(), pieces.text(), pieces.text());
    let merged = merge3(base, first, second);
    is_bounded(&merged, &[base, first, second]);
    let turned = merge3(base, second, first);
    assert_eq!(lines(&merged.text), lines(&turned.text));
    assert_eq!(merged.overlaps.len(), turned.overlaps.len());
    assert_eq!(merge3(base, first, base).text, first);
    assert_eq!(merge3(base, base, second).text, second);
    assert_eq!(merge3(base, first, first).text, first);
    assert_eq!(merge3(base, first, second), merged);

    let beside = merge2(first, second);
    is_bounded(&beside, &[first, second]);
    assert_eq!(merge2(first, first).text, first);
    assert_eq!(merge2(first, "").text, first);
    let beside = lines(&beside.text);
    for line in lines(first).into_iter().chain(lines(second)) {
        assert!(beside.binary_search(&line).is_ok(), "the line {line:?} is gone");
    }
}

/// Nothing is written twice but line ends.
fn is_bounded(merged: &TextMerge, texts: &[&str]) {
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    let ends: usize = texts.iter().map(|text| text.lines().count()).sum();
    assert!(merged.text.len() <= bytes + 2 * ends + 2, "{} of {bytes}", merged.text.len());
    assert!(merged.overlaps.len() <= bytes);
}

fn lines(text: &str) -> Vec<&str> {
    // A line feed may come behind a last line that ends with a carriage return.
    let mut lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    lines.sort_unstable();
    lines
}
