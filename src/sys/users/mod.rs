//! The users and groups of this host.

// The C library finds the users of other sources than /etc/passwd (nsswitch.conf(5)) through shared libraries that must
// be of exactly its own version. A static program brings its own C library, so it must not load them.
#[cfg(any(test, target_feature = "crt-static"))]
mod account_files;
#[cfg(not(target_feature = "crt-static"))]
mod name_service;

use libc::uid_t;
use nix::unistd::{Gid, Uid, User};

#[cfg(target_feature = "crt-static")]
use account_files as database;
#[cfg(not(target_feature = "crt-static"))]
use name_service as database;

/// Whether users are known that are not in /etc/passwd.
pub(crate) const ASKS_NAME_SERVICE: bool = cfg!(not(target_feature = "crt-static"));

/// The user's name, or `uid 1000` if it has none.
pub(crate) fn user_name(uid: u32) -> String {
    match database::user_with_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// The user that a name, a uid, or `UID:GID` stands for.
pub(crate) fn user_from_text(text: &str) -> nix::Result<Option<User>> {
    if let Some(user) = database::user_with_name(text)? {
        return Ok(Some(user));
    }
    match text.parse() {
        Ok(uid) => database::user_with_uid(Uid::from_raw(uid)),
        Err(_) => Ok(user_from_ids(text)),
    }
}

/// The groups of a user.
pub(crate) fn groups_of(user: &User) -> nix::Result<Vec<Gid>> {
    database::groups_of(user)
}

/// `UID:GID` needs no entry in a database, and means exactly these: no other group, and no home.
fn user_from_ids(text: &str) -> Option<User> {
    let (uid, gid) = text.split_once(':')?;
    let (uid, gid) = (id(uid)?, id(gid)?);
    Some(User {
        name: uid.to_string(),
        passwd: c"".into(),
        uid: uid.into(),
        gid: gid.into(),
        gecos: c"".into(),
        dir: "/".into(),
        shell: "/bin/sh".into(),
    })
}

/// The highest number is not an id: to setresuid(2), it means "do not change it".
fn id(text: &str) -> Option<uid_t> {
    text.parse().ok().filter(|&it| it != uid_t::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_a_uid() {
        for text in ["root", "0"] {
            let user = user_from_text(text).unwrap().unwrap();
            assert_eq!((user.name.as_str(), user.uid.as_raw()), ("root", 0), "{text}");
        }
    }

    #[test]
    fn ids_need_no_entry_in_a_database() {
        let user = user_from_text("4000000:5000000").unwrap().unwrap();
        assert_eq!((user.uid.as_raw(), user.gid.as_raw()), (4_000_000, 5_000_000));
        assert_eq!(groups_of(&user).unwrap(), [Gid::from_raw(5_000_000)]);
    }

    #[test]
    fn what_is_not_two_ids_is_not_a_user() {
        // The highest number would leave a process as root.
        for text in "4294967295:1 1:4294967295 4294967295 4294967296:1 1: :1 1:2:3 -1:1 +".split(' ') {
            assert_eq!(user_from_text(text).unwrap(), None, "{text:?}");
        }
    }
}
