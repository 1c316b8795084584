//! What the work with a storage costs: requests and bytes, as the user pays them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::sync::lock;

/// A counter of requests and bytes, shared by everybody who holds a clone.
///
/// Providers count inside themselves, because only they see the requests that a call hides: a
/// folder made on the way, a redirect, a second try with a new nonce.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Mutex<TrafficSnapshot>>);

impl Traffic {
    /// A counter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The figures so far.
    pub fn snapshot(&self) -> TrafficSnapshot {
        lock(&self.0).clone()
    }

    /// Counts one request of `method` about `what` and the `bytes` sent with it.
    pub fn request(&self, method: &'static str, what: &str, bytes: u64) {
        tracing::debug!(method, what, bytes_up = bytes, "request");
        let mut figures = lock(&self.0);
        figures.requests += 1;
        figures.bytes_up += bytes;
        *figures.by_method.entry(method).or_default() += 1;
    }

    /// Counts further bytes sent, for bodies that are streamed.
    pub fn sent(&self, bytes: u64) {
        lock(&self.0).bytes_up += bytes;
    }

    /// Counts an answer that asked for patience.
    pub fn put_off(&self, retry_after: Option<Duration>) {
        let mut figures = lock(&self.0);
        figures.put_off += 1;
        figures.longest_wait = figures.longest_wait.max(retry_after);
    }

    /// Counts bytes received.
    pub fn received(&self, bytes: u64) {
        lock(&self.0).bytes_down += bytes;
    }
}

/// The figures of a [`Traffic`] at one moment.
///
/// Over HTTP the bytes are those of bodies and of header fields in their HTTP/1.1 form; what TLS
/// and TCP add is left out. A folder and the memory have no headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficSnapshot {
    /// Requests made.
    pub requests: u64,
    /// Bytes sent.
    pub bytes_up: u64,
    /// Bytes received.
    pub bytes_down: u64,
    /// Answers that asked for patience: too many requests, or busy for now.
    pub put_off: u64,
    /// The longest that one of them asked to wait.
    pub longest_wait: Option<Duration>,
    /// Requests by method: `GET` and the like over HTTP, the name of the call elsewhere.
    pub by_method: BTreeMap<&'static str, u64>,
}

impl TrafficSnapshot {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let by_method = self
            .by_method
            .iter()
            .map(|(method, count)| {
                let before = earlier.by_method.get(method).copied().unwrap_or_default();
                (*method, count.saturating_sub(before))
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            bytes_up: self.bytes_up.saturating_sub(earlier.bytes_up),
            bytes_down: self.bytes_down.saturating_sub(earlier.bytes_down),
            put_off: self.put_off.saturating_sub(earlier.put_off),
            longest_wait: self.longest_wait,
            by_method,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together_and_differences_leave_out_what_was_before() {
        let traffic = Traffic::new();
        traffic.request("GET", "a", 100);
        let before = traffic.snapshot();
        let clone = traffic.clone();
        clone.request("PUT", "b", 10);
        clone.sent(5);
        clone.received(7);
        let spent = traffic.snapshot().since(&before);
        assert_eq!((spent.requests, spent.bytes_up, spent.bytes_down), (1, 15, 7));
        clone.put_off(Some(Duration::from_secs(3)));
        clone.put_off(None);
        let asked = traffic.snapshot().since(&before);
        assert_eq!((asked.put_off, asked.longest_wait), (2, Some(Duration::from_secs(3))));
        assert_eq!(spent.by_method, BTreeMap::from([("PUT", 1)]));
    }
}
