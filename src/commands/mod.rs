//! All commands of cgrun except for running a session, one file each.

pub mod check;
pub mod doctor;
pub mod init;
pub mod sessions;
pub mod stop;
pub mod sweep;
