//! Seeds that once found something, with what they found. They run before all others.

/// Seed, and what it found.
pub(crate) const SEEDS: &[(u64, &str)] =
    &[(95, "news that had not seen what was agreed were merged as if they had removed it")];
