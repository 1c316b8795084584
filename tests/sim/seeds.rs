//! Seeds that once found something, with what they found. They run before all others.

/// Seed, and what it found.
pub(crate) const SEEDS: &[(u64, &str)] = &[];
