//! Plain data: ids, clocks, entities, rules. No I/O, no clock, no store.

mod content;

pub use content::Content;
