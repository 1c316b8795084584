//! Pure merging: the join of two states, the view of one, the plan of a turn. No I/O, no clock, no
//! store.
//!
//! Everything here is a function of its arguments alone, on every device and in every version of
//! the program: no random state, no deadline, no order of a hash map. Where work has to be bounded
//! it is counted in steps and never measured in time.

mod anew;
mod conflict;
mod join;
pub mod object;
mod place;
mod plan;
mod resolve;
pub mod set;
mod sides;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod text;
mod view;

pub use anew::set_anew;
pub use conflict::{conflicts, settled};
pub use join::join;
pub use place::{PathClaims, Wish};
pub use plan::{Counts, FileAction, IncomingBrake, Plan, plan};
pub(crate) use resolve::each_once;
pub use resolve::{Beside, Resolved, resolve};
pub use snapshot::{LocalEdit, News, Pen, Snapshot, VaultForms};
pub(crate) use view::is_marker;
pub use view::{is_deleted, type_name, view};
