//! Users and groups as the C library finds them, from every source that nsswitch.conf(5) names.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, getgrouplist};

pub(super) fn user_with_name(name: &str) -> nix::Result<Option<User>> {
    unless_missing(User::from_name(name))
}

pub(super) fn user_with_uid(uid: Uid) -> nix::Result<Option<User>> {
    unless_missing(User::from_uid(uid))
}

/// A host without /etc/passwd gives an error that means no more than that there is no such user (getpwnam(3)).
fn unless_missing(found: nix::Result<Option<User>>) -> nix::Result<Option<User>> {
    match found {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        found => found,
    }
}

pub(super) fn groups_of(user: &User) -> nix::Result<Vec<Gid>> {
    let name = CString::new(user.name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    getgrouplist(&name, user.gid)
}
