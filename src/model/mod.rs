//! Plain data: ids, clocks, entities, rules. No I/O, no clock, no store.

pub mod blob;
mod books;
mod conflict;
mod content;
mod dot;
pub mod entity;
mod file;
mod ids;
pub mod json;
pub mod limits;
mod number;
pub mod path;
mod record;
pub mod rules;
mod stamp;
mod wire;

pub use blob::Blob;
pub use books::{BookedFile, Books, Finder};
pub use conflict::{Conflict, ConflictKind, ConflictState, ConflictValue};
pub use content::Content;
pub use dot::{Dot, InvalidDot, VersionVector};
pub use entity::{Alternative, Change, Changes, Clock, Entity, LastEdit, Sibling};
pub use file::{ContentHash, FileStat, KnownFile};
pub use ids::{DeviceId, EntityId, ForeignRemote, InvalidId, RemoteId};
pub use number::grouped;
pub use path::{BadPath, VaultPath};
pub use record::{Agreed, Record, Update, View};
pub use rules::{DeleteRule, Rule, Rules, Strategy};
pub use stamp::{InvalidStamp, Stamp};
pub use wire::RECORD_NESTING_MAX;

/// What every file of an encrypted remote begins with, but for `meta.json`.
pub const SEALED_MARK: &[u8; 8] = b"larder1\n";
