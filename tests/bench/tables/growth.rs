//! How the cost of one changed note grows with the number of notes that did not change.

use super::figure::{Figure, grouped, kilobytes, seconds, settings};
use crate::{
    peers::LARDER,
    sample::{Results, Work},
};

/// The table; nothing if there was one number of notes only.
pub(super) fn table(results: &Results) -> String {
    let sizes: Vec<usize> = settings(results, LARDER)
        .into_iter()
        .filter(|(_, delay_ms)| *delay_ms == 0)
        .map(|(notes, _)| notes)
        .collect();
    if sizes.len() < 2 {
        return String::new();
    }
    let mut text = "\n### Growth: one changed note\n\n\
        Seconds are without the scan, which is measured by itself; in brackets the ratio to the first row.\n\n\
        | notes | requests | kB | s, sender | s, receiver | scan, s |\n|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let rows: Vec<Row> = sizes.iter().filter_map(|notes| Row::of(results, *notes)).collect();
    for row in &rows {
        let first = &rows[0];
        text += &format!(
            "| {} | {} | {} ({:.2}) | {} ({:.2}) | {} ({:.2}) | {} |\n",
            grouped(row.notes as u64),
            row.requests,
            kilobytes(row.bytes),
            row.bytes as f64 / first.bytes as f64,
            seconds(row.sender),
            row.sender / first.sender,
            seconds(row.receiver),
            row.receiver / first.receiver,
            seconds(row.scan),
        );
    }
    text
}

struct Row {
    notes: usize,
    /// Of both devices together, as are the bytes.
    requests: u64,
    bytes: u64,
    sender: f64,
    receiver: f64,
    scan: f64,
}

impl Row {
    fn of(results: &Results, notes: usize) -> Option<Self> {
        let figure = |work| Figure::of(results, LARDER, notes, 0, work);
        let (sent, received) = (figure(Work::SendOne)?, figure(Work::ReceiveOne)?);
        let scan = figure(Work::Scan)?.seconds[0];
        // What is too quick to be told apart from the scan is not free all the same.
        let rest = |figure: &Figure| (figure.seconds[0] - scan).max(0.001);
        Some(Self {
            notes,
            requests: sent.requests? + received.requests?,
            bytes: sent.bytes() + received.bytes(),
            sender: rest(&sent),
            receiver: rest(&received),
            scan,
        })
    }
}
