//! What a benchmark stands on, and what could be wrong without anybody noticing: therefore it is
//! also compiled into the tests, see `tests/bench_parts.rs`.

#![allow(
    clippy::cast_possible_truncation,
    reason = "the generator is defined by numbers that wrap, and all others here are small"
)]

pub(crate) mod mersenne;
pub(crate) mod notes;
pub(crate) mod proxy;
