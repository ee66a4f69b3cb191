//! What leaked: who is still there, in which test each was started, and which the user allows.

pub mod allow;
mod attribution;
mod snapshot;

pub use attribution::{Evidence, Origin, bats_name, infer};
pub use snapshot::{Frozen, How, Leak, Snapshot, Undescribed, describe};
