//! The host's users and groups, from its own databases (getpwuid(3), getgrouplist(3)).

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, User, getgrouplist};

/// The user's name, or `uid 1000` if it has none.
pub(crate) fn user_name(uid: u32) -> String {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// The groups of a user.
pub(crate) fn groups_of(user: &User) -> nix::Result<Vec<Gid>> {
    let name = CString::new(user.name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    getgrouplist(&name, user.gid)
}
