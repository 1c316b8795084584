//! Several runs as one figure, and figures as people read them.

use crate::sample::{Results, Sample, Work};

/// All runs of one peer at one piece of work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// Median, least and most.
    pub(super) seconds: [f64; 3],
    /// Medians.
    pub(super) requests: Option<u64>,
    pub(super) up: u64,
    pub(super) down: u64,
    /// The most of all runs.
    pub(super) peak_kib: u64,
}

impl Figure {
    /// The figure of these runs; none if there were none.
    pub(super) fn of(
        results: &Results,
        peer: &str,
        notes: usize,
        delay_ms: u64,
        work: Work,
    ) -> Option<Self> {
        let wanted = |s: &&Sample| {
            s.peer == peer && s.notes == notes && s.delay_ms == delay_ms && s.work == work
        };
        let runs: Vec<&Sample> = results.samples.iter().filter(wanted).collect();
        let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let middle = |number: fn(&Sample) -> Option<u64>| {
            let mut all: Vec<u64> = runs.iter().filter_map(|run| number(run)).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied()
        };
        Some(Self {
            seconds: [*seconds.get(seconds.len() / 2)?, *seconds.first()?, *seconds.last()?],
            requests: middle(|run| run.requests),
            up: middle(|run| Some(run.up))?,
            down: middle(|run| Some(run.down))?,
            peak_kib: runs.iter().map(|run| run.peak_kib).max()?,
        })
    }

    /// Both ways.
    pub(super) fn bytes(&self) -> u64 {
        self.up + self.down
    }
}

/// Seconds with as many digits as mean something.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        0.0..0.01 => format!("{seconds:.4}"),
        0.01..10.0 => format!("{seconds:.3}"),
        _ => format!("{seconds:.1}"),
    }
}

/// Bytes in kB of 1,000.
pub(super) fn kilobytes(bytes: u64) -> String {
    let kilobytes = bytes as f64 / 1000.0;
    if kilobytes < 100.0 { format!("{kilobytes:.1}") } else { grouped(kilobytes.round() as u64) }
}

/// A number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of requests in words.
pub(super) fn requests(number: u64) -> String {
    if number == 1 { "1 request".to_owned() } else { format!("{} requests", grouped(number)) }
}

/// The sizes and delays that there are figures of, in order.
pub(super) fn settings(results: &Results, peer: &str) -> Vec<(usize, u64)> {
    let own = results.samples.iter().filter(|sample| sample.peer == peer);
    let mut all: Vec<_> = own.map(|sample| (sample.notes, sample.delay_ms)).collect();
    all.sort_unstable();
    all.dedup();
    all
}
