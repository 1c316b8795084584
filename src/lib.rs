//! larder keeps a folder of records in step on all of a person's devices through storage they
//! already have.

pub mod model;
