//! What can be wrong with a baseline.

use std::path::PathBuf;

use crate::config::{ConfigError, Distrust};

#[derive(Debug, thiserror::Error)]
pub(crate) enum BaselineError {
    #[error("cannot read the baseline {}: {reason}; name another file with --baseline, or write one with --write-baseline", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("the baseline {0} is not trusted: {reason}; to use it, pass --baseline {0}, and to run without one, pass --no-config", path.display())]
    Distrusted { path: PathBuf, reason: Distrust },
    #[error("the baseline {} has version {version}, but this cgrun reads version 1; install a newer cgrun", path.display())]
    Newer { path: PathBuf, version: i64 },
    #[error("{0}")]
    Wrong(#[from] ConfigError),
    #[error("cannot edit the baseline {}, because its list is laid out in an unusual way; write one leak on each line", path.display())]
    Layout { path: PathBuf },
}
