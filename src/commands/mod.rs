//! All commands of cgrun except for running a session, one file each.

pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod sessions;
pub(crate) mod stop;
pub(crate) mod sweep;
