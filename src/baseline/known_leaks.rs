//! Tells the hooks of a session how to find out which leaks are known.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::Baseline;

/// The variable for the session's processes; empty if there is no baseline.
pub(crate) const KNOWN_LEAKS: &str = "CGRUN_KNOWN_LEAKS";

/// The value of [`KNOWN_LEAKS`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KnownLeaks {
    /// The program that tells, with `ps --known`.
    cgrun: PathBuf,
    pub baseline: PathBuf,
    /// The session's directory, since the keys of programs depend on it.
    pub directory: PathBuf,
}

impl Baseline {
    /// What to say in the variable. `None` if a path is not UTF-8, or ours is not known.
    pub(crate) fn to_variable(&self, directory: &Path) -> Option<String> {
        let cgrun = std::env::current_exe().ok()?;
        let baseline = std::path::absolute(&self.path).ok()?;
        serde_json::to_string(&KnownLeaks { cgrun, baseline, directory: directory.into() }).ok()
    }
}
