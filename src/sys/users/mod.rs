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

/// The user that an option names, and how it does so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedUser {
    pub user: User,
    /// Whether the group was given too, as in `UID:GID`.
    pub gives_group: bool,
}

impl NamedUser {
    /// The user that a name, a uid, or `UID:GID` stands for.
    pub(crate) fn from_text(text: &str) -> nix::Result<Option<Self>> {
        if let Some(user) = database::user_with_name(text)? {
            return Ok(Some(Self::of_entry(user)));
        }
        match text.parse() {
            Ok(uid) => Ok(database::user_with_uid(Uid::from_raw(uid))?.map(Self::of_entry)),
            Err(_) => Self::from_ids(text),
        }
    }

    fn of_entry(user: User) -> Self {
        Self { user, gives_group: false }
    }

    /// `UID:GID` needs no entry in a database. If the uid has one, this is its user.
    fn from_ids(text: &str) -> nix::Result<Option<Self>> {
        let ids = text.split_once(':').and_then(|(uid, gid)| Some((id(uid)?, id(gid)?)));
        let Some((uid, gid)) = ids else { return Ok(None) };
        let entry = database::user_with_uid(uid.into())?;
        let user = User { gid: gid.into(), ..entry.unwrap_or_else(|| without_entry(uid)) };
        Ok(Some(Self { user, gives_group: true }))
    }

    /// The groups of the user's processes. A given one is the only one.
    pub(crate) fn groups(&self) -> nix::Result<Vec<Gid>> {
        if self.gives_group { Ok(vec![self.user.gid]) } else { database::groups_of(&self.user) }
    }
}

/// A user of whom only the uid is known.
pub(crate) fn without_entry(uid: uid_t) -> User {
    User {
        name: uid.to_string(),
        passwd: c"".into(),
        uid: uid.into(),
        gid: uid.into(),
        gecos: c"".into(),
        dir: "/".into(),
        shell: "/bin/sh".into(),
    }
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
            let user = NamedUser::from_text(text).unwrap().unwrap().user;
            assert_eq!((user.name.as_str(), user.uid.as_raw()), ("root", 0), "{text}");
        }
    }

    #[test]
    fn ids_need_no_entry_in_a_database() {
        let named = NamedUser::from_text("4000000:5000000").unwrap().unwrap();
        let user = &named.user;
        assert_eq!((user.uid.as_raw(), user.gid.as_raw()), (4_000_000, 5_000_000));
        assert_eq!(named.groups().unwrap(), [Gid::from_raw(5_000_000)]);
    }

    #[test]
    fn an_entry_with_the_uid_gives_the_name_and_the_home() {
        let named = NamedUser::from_text("0:5000000").unwrap().unwrap();
        let root = NamedUser::from_text("root").unwrap().unwrap();
        assert_eq!((&named.user.name, &named.user.dir), (&root.user.name, &root.user.dir));
        assert_eq!(named.user.gid, Gid::from_raw(5_000_000));
        assert!(named.gives_group && !root.gives_group);
    }

    #[test]
    fn what_is_not_two_ids_is_not_a_user() {
        // The highest number would leave a process as root.
        for text in "4294967295:1 1:4294967295 4294967295 4294967296:1 1: :1 1:2:3 -1:1 +".split(' ') {
            assert_eq!(NamedUser::from_text(text).unwrap(), None, "{text:?}");
        }
    }
}
