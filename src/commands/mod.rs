//! The commands besides a run.

pub mod check;
pub mod doctor;
pub mod sessions;
pub mod stop;
