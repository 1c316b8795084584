//! The one time of a story, and the clocks that tell it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::SeqCst},
};

use chrono::{DateTime, Utc};
use larder::model::Stamp;
use tokio::time::Instant;

/// 2005-01-01: long before any file of a real folder was made, however long the story, so that the
/// scan takes every file for one that was touched just now, and does not depend on the speed of
/// this machine.
const START_MS: i64 = 1_104_537_600_000;

/// What time it is: what passed between the steps, and what the runtime says has passed in them.
#[derive(Debug, Clone)]
pub(crate) struct Time {
    start: Instant,
    passed_ms: Arc<AtomicI64>,
}

impl Time {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), passed_ms: Arc::default() }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        let in_steps = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        START_MS + self.passed_ms.load(SeqCst) + in_steps
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.passed_ms.fetch_add(millis, SeqCst);
    }

    pub(crate) fn server_clock(&self) -> larder_providers::Clock {
        self.folder_clock(&Arc::default())
    }

    /// What a folder on a device says of the time, which is what the device says.
    pub(crate) fn folder_clock(&self, skew_ms: &Arc<AtomicI64>) -> larder_providers::Clock {
        let (time, skew_ms) = (self.clone(), skew_ms.clone());
        larder_providers::Clock::new(move || {
            let now_ms = time.now_ms() + skew_ms.load(SeqCst);
            DateTime::<Utc>::from_timestamp_millis(now_ms).unwrap_or_default()
        })
    }

    /// A device's clock, which is off by what `skew_ms` says.
    pub(crate) fn device_clock(&self, skew_ms: &Arc<AtomicI64>) -> larder::clock::Clock {
        let (time, skew_ms) = (self.clone(), skew_ms.clone());
        larder::clock::Clock::custom(move || {
            Stamp::from_millis(time.now_ms() + skew_ms.load(SeqCst))
        })
    }
}
