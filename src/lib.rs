//! larder keeps a folder of records in step on all of a person's devices through storage they
//! already have.

pub mod cli;
pub mod clock;
pub mod daemon;
pub mod digest;
pub mod engine;
pub mod merge;
pub mod model;
#[doc(hidden)]
pub mod mutant;
pub mod remote;
pub mod seal;
pub mod store;
pub mod vault;
