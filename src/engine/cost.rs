//! What a command cost.

use larder_providers::{Traffic, TrafficSnapshot};

use crate::{clock::Clock, model::Stamp};

/// What a command cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Requests made.
    pub requests: u64,
    /// Bytes sent.
    pub bytes_up: u64,
    /// Bytes received.
    pub bytes_down: u64,
    /// How long it took.
    pub duration_ms: i64,
}

impl Cost {
    /// Adds up what another command cost.
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
        self.duration_ms += other.duration_ms;
    }
}

/// Counts from the beginning of a command on.
pub(super) struct Meter<'a> {
    traffic: &'a Traffic,
    before: TrafficSnapshot,
    started: Stamp,
}

impl<'a> Meter<'a> {
    pub(super) fn start(traffic: &'a Traffic, clock: &Clock) -> Self {
        Self { traffic, before: traffic.snapshot(), started: clock.now() }
    }

    pub(super) fn read(&self, clock: &Clock) -> Cost {
        let used = self.traffic.snapshot().since(&self.before);
        Cost {
            requests: used.requests,
            bytes_up: used.bytes_up,
            bytes_down: used.bytes_down,
            duration_ms: clock.now().millis().saturating_sub(self.started.millis()),
        }
    }
}
