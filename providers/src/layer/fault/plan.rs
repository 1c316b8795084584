//! Which faults come, and how often.

use std::time::Duration;

/// How likely each fault is, from 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaultPlan {
    /// Where the randomness starts.
    pub seed: u64,
    /// A call fails without any effect.
    pub fail_before: f64,
    /// A call takes effect, and its answer is lost.
    pub fail_after: f64,
    /// A call takes its time.
    pub slow: f64,
    /// How much.
    pub slow_for: Duration,
    /// A read or a list answers with what was there before the last change, for two days at most.
    pub stale: f64,
    /// A read is cut, told or not; an unconditional write leaves half the file and fails.
    pub torn: f64,
    /// The account is refused for once, without any effect (401).
    pub refused: f64,
    /// The file is locked, without any effect (423).
    pub busy: f64,
    /// The server asks for patience, and for how long (429, 503).
    pub throttled: f64,
    /// The storage is full (507), and stays so for a few writes.
    pub full: f64,
    /// A conditional write or a move takes effect and is answered as lost, as by a proxy that
    /// sent it a second time (412).
    pub denied_after: f64,
    /// A conditional write or a move is answered as done and never was.
    pub lying: f64,
    /// A write lies there empty or by half for a while, for everybody to read, before it is whole.
    pub in_place: f64,
    /// After a move the next lists have both names, or neither.
    pub both_names: f64,
}
