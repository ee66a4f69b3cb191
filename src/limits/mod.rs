//! What a session may use, and what it used. One file a resource: `memory`, `pids`, `cpus`, `cpuset`, `io_weight`.

mod applied;
mod apply;
mod bounds;
mod configured;
mod controllers;
mod cpus;
mod cpuset;
mod figures;
mod hit;
mod host;
mod io_weight;
mod limit;
mod limit_file;
mod memory;
mod number;
mod occupancy;
mod oom_log;
mod out_of_memory;
mod pids;
mod refused;
mod supervisor_leaf;
mod usage;

pub use applied::AppliedLimits;
pub use apply::ConfiguredLimits;
pub use configured::{Limits, SessionLimits};
pub use controllers::why_unavailable;
pub use cpus::Cpus;
pub use figures::Figures;
pub use hit::{KilledProcesses, Level, LimitHit};
pub use limit::Controller;
pub use memory::Memory;
pub use oom_log::Victim;
pub use pids::Pids;
pub use supervisor_leaf::clear_supervisor_leaves;
pub use usage::{MeasuredComponent, Usage};
