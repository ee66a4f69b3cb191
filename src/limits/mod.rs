//! What a session may use, and what it used.

mod apply;
mod bounds;
mod controllers;
mod disks;
mod limit;
mod limit_hit;
mod oom_log;
mod set;
pub mod size;
mod usage;

pub use apply::{Limited, Wanted, limit, limit_leaf};
pub use controllers::{clear_seats, why_not};
pub use limit::Controller;
pub use limit_hit::Killed;
pub use limit_hit::{At, Struck};
pub use oom_log::Victim;
pub use usage::{Figures, Measured, Usage};
pub use usage::{is_full, keyed};
