//! Locks that outlive a panic of somebody else.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`; what it guards here is whole at every moment, so poison means nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
