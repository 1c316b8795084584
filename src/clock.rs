//! The one place where the time comes in.

use std::{fmt, sync::Arc};

use crate::model::Stamp;

/// A wall clock: the device's own, or one that a test sets.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Stamp + Send + Sync>);

impl Clock {
    /// The device's own clock.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is where the time comes in")]
    pub fn system() -> Self {
        Self(Arc::new(|| {
            let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
            Stamp::from_millis(now.timestamp_millis())
        }))
    }

    /// A clock that tells what `tell` says.
    pub fn custom(tell: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// What the clock says now.
    #[must_use]
    pub fn now(&self) -> Stamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
