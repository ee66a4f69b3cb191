//! The id of a session, whose cgroup is named `cgrun-` and this id.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::process::Pid;

use crate::sys::errno::is_gone;
use crate::sys::procfs::environ::variables;

/// No vowels and no look-alikes, so that an id is never a word and cannot be misread.
const ALPHABET: &[u8; 24] = b"bcdfghjkmnpqrstvwxz24679";
const LENGTH: usize = 8;
/// The part of a session cgroup's name that precedes the id.
pub(crate) const PREFIX: &str = "cgrun-";

/// The variable that marks every process of a session. It holds the session's id.
pub(crate) const MARKER: &str = "CGRUN_SESSION";

/// The variable with the ids of the enclosing sessions, innermost first.
pub(crate) const OUTER: &str = "CGRUN_OUTER";

/// The variable that names the leaf of a process: `command`, or `service.NAME`. Without cgroups, it shows
/// which leaf an orphan came from.
pub(crate) const LEAF: &str = "CGRUN_LEAF";

/// Eight random letters and digits. Creating a cgroup fails if its name is taken, so two sessions never share
/// an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(String);

impl SessionId {
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0u8; LENGTH];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
        Ok(Self(bytes.iter().map(letter).collect()))
    }

    /// The id of the session whose cgroup directory has this name.
    pub(crate) fn of_directory(name: &str) -> Option<Self> {
        name.strip_prefix(PREFIX)?.parse().ok()
    }

    /// Whether the process was executed in this session, or in one within it. Fails like [`Self::all_of`].
    pub(crate) fn marks(&self, pid: Pid) -> io::Result<bool> {
        Ok(Self::all_of(pid)?.contains(self))
    }

    /// The sessions that the process was executed in. None for a zombie, which no longer has an environment,
    /// and none if we are not allowed to read it, because then it is not ours. An error if that is unknown.
    pub(crate) fn all_of(pid: Pid) -> io::Result<Vec<Self>> {
        let ids = match variables(pid, [MARKER, OUTER]) {
            Ok(ids) => ids,
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for ids in ids.iter().flatten() {
            all.extend(ids.to_string_lossy().split(' ').filter_map(|id| id.parse().ok()));
        }
        Ok(all)
    }

    /// The variables that mark a process of this session that we start.
    pub(crate) fn marks_of_ours(&self) -> Vec<(&'static str, String)> {
        let around: Vec<_> =
            [MARKER, OUTER].into_iter().filter_map(|name| std::env::var(name).ok()).collect();
        let outer = (!around.is_empty()).then(|| (OUTER, around.join(" ")));
        [(MARKER, self.to_string())].into_iter().chain(outer).collect()
    }

    pub(crate) fn directory(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(text.to_string()))
        } else {
            Err("not a session id")
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_are_parsed_into_ids() {
        let id = SessionId::random().unwrap();
        assert_eq!(SessionId::of_directory(&id.directory()), Some(id));
        for other in ["cgrun-", "cgrun-../../x", "cgrun-bcdfghj", "system.slice", "cgrun-bcdfghjK"] {
            assert_eq!(SessionId::of_directory(other), None, "{other}");
        }
    }
}
