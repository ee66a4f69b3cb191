//! What is noted of the directory on the session's cgroup, for a sweep: `KEEP OWNER PATH`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Keep, Scratch};
use crate::sys::process::identity::Identity;
use crate::sys::users::NamedUser;

const US: &str = "-";
const KEEPS: [Keep; 3] = [Keep::Never, Keep::OnFailure, Keep::Always];

impl Scratch {
    pub(crate) fn note(&self) -> Vec<u8> {
        let user = self.identity.as_ref().and_then(|it| it.user.as_ref());
        let owner = user.map_or_else(|| US.into(), |(user, _)| format!("{}:{}", user.uid, user.gid));
        let words = format!("{} {owner} ", self.keep.name());
        [words.as_bytes(), self.path.as_os_str().as_bytes()].concat()
    }

    /// `None` if it is not a note of ours, or if its owner cannot be looked up.
    pub(crate) fn from_note(note: &[u8]) -> Option<Self> {
        let mut words = note.splitn(3, |&byte| byte == b' ');
        let keep = std::str::from_utf8(words.next()?).ok()?;
        let keep = KEEPS.into_iter().find(|it| it.name() == keep)?;
        let owner = std::str::from_utf8(words.next()?).ok()?;
        let path = Path::new(OsStr::from_bytes(words.next()?));
        let identity = if owner == US { None } else { Some(identity(owner)?) };
        path.is_absolute().then(|| Self { path: path.into(), keep, identity })
    }
}

fn identity(owner: &str) -> Option<Identity> {
    let named = NamedUser::from_text(owner).ok()??;
    let groups = named.groups().ok()?;
    Some(Identity { user: Some((named.user, groups)), no_new_privileges: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for text in ["never - /tmp/cgrun-x", "on_failure 4000000:5000000 /a b/c", "always - /"] {
            let scratch = Scratch::from_note(text.as_bytes()).unwrap();
            assert_eq!(scratch.note(), text.as_bytes());
        }
        for text in ["", "never", "never - ", "never - tmp", "maybe - /tmp", "never nobody-at-all /tmp"] {
            assert!(Scratch::from_note(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
