//! Plain data: ids, clocks, entities, rules. No I/O, no clock, no store.

mod content;
mod dot;
pub mod entity;
mod ids;
pub mod json;
pub mod limits;
pub mod rules;
mod stamp;

pub use content::Content;
pub use dot::{Dot, InvalidDot, VersionVector};
pub use entity::{Alternative, Change, Changes, Clock, Entity, LastEdit, Sibling};
pub use ids::{DeviceId, EntityId, InvalidId, RemoteId};
pub use rules::{DeleteRule, Rule, Rules, Strategy};
pub use stamp::{InvalidStamp, Stamp};
