//! One table for each number of notes and each delay.

use std::collections::BTreeSet;

use super::figure::{Figure, grouped, kilobytes, seconds, settings};
use crate::{
    alone::NAME as ALONE,
    peers::{FIND, LARDER, LIMIT},
    sample::{Results, Work},
};

const HEAD: &str = "\n| work | program | requests | kB up | kB down | s | least – most | peak MiB | to the best peer | to the limit |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";

/// All of them, in order of the sizes; larder alone comes last.
pub(super) fn tables(results: &Results) -> String {
    let mut peers: Vec<&str> = Vec::new();
    for sample in &results.samples {
        if !peers.contains(&sample.peer.as_str()) {
            peers.push(&sample.peer);
        }
    }
    let all: BTreeSet<(usize, u64)> =
        peers.iter().flat_map(|peer| settings(results, peer)).collect();
    let (alone, others): (Vec<&str>, Vec<&str>) = peers.iter().partition(|peer| **peer == ALONE);
    let mut text = String::new();
    for (notes, delay_ms) in &all {
        let rows = rows(results, &others, *notes, *delay_ms);
        if !rows.is_empty() {
            let notes_text = grouped(*notes as u64);
            text += &format!("\n### {notes_text} notes, {delay_ms} ms per request\n{HEAD}{rows}");
            text += &omitted(results, *notes, *delay_ms);
        }
    }
    for (records, _) in settings(results, ALONE) {
        let rows = rows(results, &alone, records, 0);
        let records = grouped(records as u64);
        text += &format!("\n### {records} records, larder alone, in memory\n{HEAD}{rows}");
    }
    text
}

fn rows(results: &Results, peers: &[&str], notes: usize, delay_ms: u64) -> String {
    let works: BTreeSet<Work> = results.samples.iter().map(|sample| sample.work).collect();
    let mut text = String::new();
    for work in works {
        let figures: Vec<(&str, Figure)> = peers
            .iter()
            .filter_map(|peer| Some((*peer, Figure::of(results, peer, notes, delay_ms, work)?)))
            .collect();
        for (at, (peer, figure)) in figures.iter().enumerate() {
            let title = if at == 0 { work.title() } else { "" };
            let [median, least, most] = figure.seconds;
            let requests = figure.requests.map_or("–".to_owned(), grouped);
            let (best, limit) = match *peer {
                LARDER => (to_best(figure, &figures), to_limit(figure, &figures)),
                _ => Default::default(),
            };
            text += &format!(
                "| {title} | {peer} | {requests} | {} | {} | {} | {} – {} | {:.1} | {best} | {limit} |\n",
                kilobytes(figure.up),
                kilobytes(figure.down),
                seconds(median),
                seconds(least),
                seconds(most),
                figure.peak_kib as f64 / 1024.0,
            );
        }
    }
    text
}

/// larder's time and bytes by the best of any peer's, each by itself.
fn to_best(own: &Figure, all: &[(&str, Figure)]) -> String {
    let peers = || all.iter().filter(|(peer, _)| ![LARDER, LIMIT, FIND].contains(peer));
    let time = peers().map(|(_, figure)| figure.seconds[0]).reduce(f64::min);
    // What is not sent over a network has no bytes to compare.
    let bytes = peers().map(|(_, figure)| figure.bytes()).filter(|bytes| *bytes > 0).min();
    ratios(own, time, bytes)
}

fn to_limit(own: &Figure, all: &[(&str, Figure)]) -> String {
    let limit = all.iter().find(|(peer, _)| [LIMIT, FIND].contains(peer));
    let limit = limit.map(|(_, figure)| figure);
    let bytes = limit.map(Figure::bytes).filter(|bytes| *bytes > 0);
    ratios(own, limit.map(|limit| limit.seconds[0]), bytes)
}

fn ratios(own: &Figure, time: Option<f64>, bytes: Option<u64>) -> String {
    let time = time.map(|time| format!("{:.2} × s", own.seconds[0] / time));
    let bytes = bytes.map(|bytes| format!("{:.2} × kB", own.bytes() as f64 / bytes as f64));
    time.into_iter().chain(bytes).collect::<Vec<_>>().join(", ")
}

fn omitted(results: &Results, notes: usize, delay_ms: u64) -> String {
    let own = results.omitted.iter().filter(|o| o.notes == notes && o.delay_ms == delay_ms);
    let lines: String = own.map(|o| format!("- {}: {}\n", o.peer, o.reason)).collect();
    if lines.is_empty() { lines } else { format!("\nLeft out:\n\n{lines}") }
}
