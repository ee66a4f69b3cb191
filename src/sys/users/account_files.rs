//! Users and groups from /etc/passwd and /etc/group (passwd(5), group(5)), without the C library.

use std::ffi::{CString, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

pub(super) fn user_with_name(name: &str) -> nix::Result<Option<User>> {
    Ok(users(&content(USERS)?).find(|it| it.name == name))
}

pub(super) fn user_with_uid(uid: Uid) -> nix::Result<Option<User>> {
    Ok(users(&content(USERS)?).find(|it| it.uid == uid))
}

pub(super) fn groups_of(user: &User) -> nix::Result<Vec<Gid>> {
    Ok(groups_in(&content(GROUPS)?, user))
}

/// A file that does not exist has no entries.
fn content(path: &str) -> nix::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

/// Lines that are not entries are skipped, as the C library does.
fn users(content: &[u8]) -> impl Iterator<Item = User> {
    content.split(|&byte| byte == b'\n').filter_map(user)
}

/// `name:password:uid:gid:comment:directory:shell`
fn user(line: &[u8]) -> Option<User> {
    let fields: Vec<_> = line.split(|&byte| byte == b':').collect();
    let [name, password, uid, gid, comment, directory, shell] = fields.as_slice() else { return None };
    // Lines that begin with a sign refer to NIS.
    if name.is_empty() || b"+-#".contains(&name[0]) {
        return None;
    }
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    Some(User {
        name: String::from_utf8_lossy(name).into_owned(),
        passwd: CString::new(*password).ok()?,
        uid: number(uid)?.into(),
        gid: number(gid)?.into(),
        gecos: CString::new(*comment).ok()?,
        dir: path(directory),
        shell: path(shell),
    })
}

/// Begins with the user's own group. An entry is `name:password:gid:member,member`.
fn groups_in(content: &[u8], user: &User) -> Vec<Gid> {
    let mut groups = vec![user.gid];
    for line in content.split(|&byte| byte == b'\n') {
        let fields: Vec<_> = line.split(|&byte| byte == b':').collect();
        let [_, _, gid, members] = fields.as_slice() else { continue };
        let is_member = members.split(|&byte| byte == b',').any(|it| it == user.name.as_bytes());
        let group = number(gid).map(Gid::from_raw).filter(|gid| is_member && !groups.contains(gid));
        groups.extend(group);
    }
    groups
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|&it| it != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"# a comment\n+nis::::::\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:1\nmax:x:4294967295:1::/:\n\
        ann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\nann:x:1001:1001::/second:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nann:x:1000:\ndocker:x:99:bob,ann\nmax:x:4294967295:ann\nanna:x:98:anna\nagain:x:99:ann\n";

    #[test]
    fn the_first_entry_with_a_name_counts_and_broken_lines_do_not() {
        let names: Vec<_> = users(PASSWD).map(|it| (it.name, it.uid.as_raw())).collect();
        assert_eq!(names, [("root".into(), 0), ("ann".into(), 1000), ("ann".into(), 1001)]);
    }

    #[test]
    fn the_groups_are_the_own_one_and_those_that_list_the_user() {
        let ann = users(PASSWD).find(|it| it.name == "ann").unwrap();
        assert_eq!(groups_in(GROUP, &ann), [1000, 99].map(Gid::from_raw));
    }

    #[test]
    #[cfg(not(target_feature = "crt-static"))]
    fn it_agrees_with_the_c_library() {
        for user in users(&content(USERS).unwrap()) {
            let Some(expected) = User::from_name(&user.name).unwrap() else { continue };
            let found = user_with_name(&user.name).unwrap().unwrap();
            assert_eq!((found.uid, found.gid, &found.dir), (expected.uid, expected.gid, &expected.dir));
            assert!(user_with_uid(user.uid).unwrap().is_some());
            let mut groups = super::super::name_service::groups_of(&expected).unwrap();
            let mut ours = groups_of(&user).unwrap();
            groups.sort_by_key(|it| it.as_raw());
            ours.sort_by_key(|it| it.as_raw());
            assert_eq!(ours, groups, "{}", user.name);
        }
    }
}
