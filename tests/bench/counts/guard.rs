//! What instruction counts are held to.

use std::collections::BTreeMap;

/// Instructions by what was done.
pub(crate) type Counts = BTreeMap<String, u64>;

/// How many percent of the baseline a count may have. Generous, for other versions of compilers and
/// libraries count differently; what doubles is found.
const PERCENT_MAX: u64 = 130;

/// Below this the baseline is too old to guard anything.
const PERCENT_MIN: u64 = 60;

/// Reads the count out of what callgrind says at its end.
pub(crate) fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

/// Finds what has become more expensive, is not in the baseline, or is in it and was not counted;
/// and what has become so cheap that the baseline has to be lowered.
pub(crate) fn breaches(baseline: &Counts, counted: &Counts) -> Vec<String> {
    let mut out = Vec::new();
    for (name, &count) in counted {
        let Some(&before) = baseline.get(name) else {
            out.push(format!("{name}: not in the baseline"));
            continue;
        };
        let percent = count.saturating_mul(100) / before.max(1);
        if !(PERCENT_MIN..=PERCENT_MAX).contains(&percent) {
            out.push(format!(
                "{name}: {count} instructions are {percent} % of the baseline's {before}; \
                 {PERCENT_MIN} to {PERCENT_MAX} are fine"
            ));
        }
    }
    let lost = baseline.keys().filter(|name| !counted.contains_key(*name));
    out.extend(lost.map(|name| format!("{name}: in the baseline, and not counted")));
    out
}
