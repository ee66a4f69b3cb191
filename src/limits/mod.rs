//! The limits of a session, and its usage. Each resource has its own file: `memory`, `pids`, `cpus`,
//! `cpuset`, `io_weight`.

mod applied_limits;
mod apply;
mod bounds;
mod controllers;
mod cpus;
mod cpuset;
mod divided;
mod figures;
mod hit;
mod host;
mod io_weight;
mod kernel_log;
mod limit;
mod limit_file;
mod limits_config;
mod memory;
mod number;
mod occupancy;
mod out_of_memory;
mod pids;
mod profile_limits;
mod refused;
mod supervisor_leaf;
mod usage;

pub(crate) use applied_limits::AppliedLimits;
pub(crate) use apply::ConfiguredLimits;
pub(crate) use controllers::why_unavailable;
pub(crate) use cpus::Cpus;
pub(crate) use cpuset::CpuSet;
pub(crate) use figures::Figures;
pub(crate) use hit::{KilledProcesses, Level, LimitHit};
pub(crate) use io_weight::IoWeight;
pub(crate) use kernel_log::Victim;
pub(crate) use limit::{Controller, Limit};
pub(crate) use limits_config::{Limits, SessionLimits};
pub(crate) use memory::{Memory, Swap};
pub(crate) use pids::Pids;
pub(crate) use profile_limits::ProfileLimits;
pub(crate) use supervisor_leaf::clear_supervisor_leaves;
pub(crate) use usage::{MeasuredComponent, Usage};
