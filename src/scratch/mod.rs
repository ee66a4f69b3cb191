//! The session's temporary directory: made before anything runs in it, and removed when nothing does any more.

mod create;
mod directory;
mod ended;
mod keep;
mod note;
mod remove;
mod walk;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use ended::Ended;
pub(crate) use keep::{Keep, Tmp};

use crate::containment::SessionId;
use crate::sys::process::identity::Identity;

/// Programs look for it in the first. The others are replaced if they are set.
const TMPDIR: &str = "TMPDIR";
const OTHERS: [&str; 2] = ["TMP", "TEMP"];

/// How long a removal can take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The same if somebody has cancelled the session.
pub(crate) const HURRY: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    pub path: PathBuf,
    keep: Keep,
    /// Whose it is, if not ours.
    identity: Option<Identity>,
}

impl Scratch {
    /// Makes it in `parent`.
    pub(crate) fn create(
        parent: &Path,
        id: &SessionId,
        keep: Keep,
        identity: Option<&Identity>,
    ) -> Result<Self, create::NoScratch> {
        let path = create::create(parent, id, identity)?;
        Ok(Self { path, keep, identity: identity.cloned() })
    }

    /// What the session's processes find it by.
    pub(crate) fn variables(&self, is_set: impl Fn(&str) -> bool) -> Vec<(&'static str, PathBuf)> {
        let names = [TMPDIR].into_iter().chain(OTHERS.into_iter().filter(|name| is_set(name)));
        names.map(|name| (name, self.path.clone())).collect()
    }

    /// Removes it within `limit`, unless it is to be kept. Nothing of the session can be alive.
    pub(crate) fn end(&self, has_failed: bool, limit: Duration) -> Ended {
        if self.keep.keeps(has_failed) {
            return Ended::kept(&self.path);
        }
        let user = self.identity.as_ref();
        Ended::removed(&self.path, remove::remove(&self.path, user, limit))
    }

    /// Leaves it to the processes that survived.
    pub(crate) fn leave(&self) -> Ended {
        Ended::left(&self.path, "a process of the session can still use it")
    }
}
