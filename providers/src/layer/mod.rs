//! Layers: each wraps any storage and adds one thing to it.

#[cfg(any(test, feature = "testing"))]
mod fault;
mod retry;

#[cfg(any(test, feature = "testing"))]
pub use fault::{Crash, Fault, FaultPlan, Moment, is_crash};
pub use retry::{Retry, RetryPolicy};
