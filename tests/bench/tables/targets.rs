//! What the design promises beside what was reached, without delay.

use super::figure::{self, Figure, kilobytes, seconds, settings};
use crate::{
    peers::{FIND, LARDER, LIMIT},
    sample::{Results, Work},
};

/// A promise and what became of it.
struct Line {
    work: &'static str,
    target: &'static str,
    reached: String,
    holds: bool,
    /// Whether it does not depend on how fast the machine is.
    is_certain: bool,
}

/// The table; what was not run is not in it.
pub(super) fn table(results: &Results) -> String {
    let mut text =
        "\n### Targets\n\n| work | target | reached | holds |\n|---|---|---|---|\n".to_owned();
    for Line { work, target, reached, holds, .. } in lines(results) {
        let holds = if holds { "yes" } else { "**no**" };
        text += &format!("| {work} | {target} | {reached} | {holds} |\n");
    }
    text
}

/// The promises that were broken, of those that a fast machine and a slow one keep alike.
pub(crate) fn broken(results: &Results) -> Vec<String> {
    let broken = lines(results).into_iter().filter(|line| line.is_certain && !line.holds);
    broken
        .map(|Line { work, target, reached, .. }| format!("{work}: {target}: {reached}"))
        .collect()
}

fn lines(results: &Results) -> Vec<Line> {
    let lines = [
        all_at_once(results, Work::Upload),
        all_at_once(results, Work::Bootstrap),
        at_any_size(results, Work::Idle, "1 request, ≤ 1 kB", 1, 1_000),
        at_any_size(results, Work::SendOne, "≤ 5 requests, ≤ 16 kB", 5, 16_000),
        at_any_size(results, Work::ReceiveOne, "≤ 3 requests, ≤ 16 kB", 3, 16_000),
        at_any_size(results, Work::SendMany, "≤ 5 requests, ≤ 60 kB", 5, 60_000),
        memory(results, Work::Upload, "≤ 150 MiB at first upload", 150.0),
        memory(results, Work::Bootstrap, "≤ 150 MiB at bootstrap", 150.0),
        memory(results, Work::Daemon, "≤ 80 MiB in an idle daemon", 80.0),
        scan(results),
    ];
    lines.into_iter().flatten().collect()
}

fn of(results: &Results, peer: &str, notes: usize, work: Work) -> Option<Figure> {
    Figure::of(results, peer, notes, 0, work)
}

/// First upload and bootstrap of 10,000 notes.
fn all_at_once(results: &Results, work: Work) -> Option<Line> {
    const NOTES: usize = 10_000;
    let own = of(results, LARDER, NOTES, work)?;
    let limit = of(results, LIMIT, NOTES, work)?;
    // Before the first upload larder has to read what it sends, as tar does, but also to look for it.
    let (title, target, scan) = match work {
        Work::Upload => (
            "first upload, 10,000",
            "≤ 8 requests, ≤ 4.2 MB, ≤ 2 × tar + zstd + one PUT plus the scan",
            of(results, LARDER, NOTES, Work::Scan)?.seconds[0],
        ),
        _ => ("bootstrap, 10,000", "≤ 8 requests, ≤ 4.2 MB, ≤ 2 × unpacking the same files", 0.0),
    };
    let most = 2.0 * limit.seconds[0] + scan;
    let requests = own.requests?;
    Some(Line {
        work: title,
        target,
        reached: format!(
            "{}, {} kB, {} s where the target is {} s",
            figure::requests(requests),
            kilobytes(own.bytes()),
            seconds(own.seconds[0]),
            seconds(most)
        ),
        holds: requests <= 8 && own.bytes() <= 4_200_000 && own.seconds[0] <= most,
        is_certain: false,
    })
}

/// Work whose cost must not depend on the number of notes: the worst of all.
fn at_any_size(
    results: &Results,
    work: Work,
    target: &'static str,
    requests_max: u64,
    bytes_max: u64,
) -> Option<Line> {
    let sizes = settings(results, LARDER).into_iter().filter(|(_, delay_ms)| *delay_ms == 0);
    let figures: Vec<Figure> =
        sizes.filter_map(|(notes, _)| of(results, LARDER, notes, work)).collect();
    let requests = figures.iter().filter_map(|figure| figure.requests).max()?;
    let bytes = figures.iter().map(Figure::bytes).max()?;
    Some(Line {
        work: work.title(),
        target,
        reached: format!("{}, {} kB at most", figure::requests(requests), kilobytes(bytes)),
        holds: requests <= requests_max && bytes <= bytes_max,
        // How long an answer to nothing new is depends on the server's headers.
        is_certain: work != Work::Idle,
    })
}

fn memory(results: &Results, work: Work, target: &'static str, most: f64) -> Option<Line> {
    let peak = of(results, LARDER, 100_000, work)?.peak_kib as f64 / 1024.0;
    let reached = format!("{peak:.1} MiB");
    // How much of what it freed a daemon still holds is up to the allocator.
    let is_certain = work != Work::Daemon;
    Some(Line { work: "memory, 100,000", target, reached, holds: peak <= most, is_certain })
}

fn scan(results: &Results) -> Option<Line> {
    let own = of(results, LARDER, 100_000, Work::Scan)?.seconds[0];
    let find = of(results, FIND, 100_000, Work::Scan)?.seconds[0];
    Some(Line {
        work: "scan with nothing changed, 100,000",
        target: "≤ 1.5 × `find -newer`",
        reached: format!("{} s, {:.2} × `find`", seconds(own), own / find),
        holds: own <= 1.5 * find,
        is_certain: false,
    })
}
