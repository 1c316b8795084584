//! All integration tests but the simulation, in one binary: linking it once is most of what a test
//! run costs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "clippy spares test functions but not their helpers, which also fail by panicking"
)]

mod bench_parts;
mod cli;
mod common;
mod faults;
mod golden;
mod servers;
mod tidy;
