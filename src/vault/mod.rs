//! The user's own files: found, read into fields, and written back.

pub mod document;
