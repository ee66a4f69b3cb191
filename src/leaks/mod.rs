//! What leaked: the processes still there, during which test each was started, and which the user allows.

pub mod allow;
mod attribution;
mod leak;
mod origin;
mod runners;
mod snapshot;

pub use attribution::infer_origins;
pub use leak::{How, Leak};
pub use origin::{Evidence, Origin};
pub use runners::bats_name;
pub use snapshot::{Frozen, Snapshot, describe_all, describe_one};
