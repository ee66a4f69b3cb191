//! What became of the directory.

use std::path::{Path, PathBuf};

use super::remove::Removed;
use crate::text::counted;

#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub path: PathBuf,
    /// It is there because the user wanted that.
    pub kept: bool,
    pub files: u64,
    pub bytes: u64,
    /// Why it is there although it was to be removed.
    pub problem: Option<String>,
}

impl Ended {
    pub(super) fn kept(path: &Path) -> Self {
        Self { path: path.into(), kept: true, files: 0, bytes: 0, problem: None }
    }

    pub(super) fn left(path: &Path, why: &str) -> Self {
        Self { kept: false, problem: Some(why.into()), ..Self::kept(path) }
    }

    pub(super) fn removed(path: &Path, removed: Removed) -> Self {
        let Removed { files, bytes, .. } = removed;
        Self { kept: false, files, bytes, problem: removed.problem(), ..Self::kept(path) }
    }

    /// What is worth saying.
    pub(crate) fn news(&self) -> Option<String> {
        let path = self.path.display();
        match &self.problem {
            _ if self.kept => Some(format!("kept the session's temporary directory {path}")),
            Some(why) => Some(format!("cannot remove the session's temporary directory {path}: {why}")),
            None => None,
        }
    }

    /// `removed the temporary directory /tmp/cgrun-1, with 3 files`
    pub(crate) fn summary(&self) -> String {
        let path = self.path.display();
        format!("removed the temporary directory {path}, with {}", counted(self.files, "file"))
    }
}
