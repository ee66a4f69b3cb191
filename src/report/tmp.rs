//! What became of the session's temporary directory.

use serde::Serialize;

use super::terminal::Reporter;
use crate::scratch::Ended;

#[derive(Debug, Serialize)]
pub(crate) struct TmpSummary {
    path: String,
    kept: bool,
    removed_files: u64,
    removed_bytes: u64,
    problem: Option<String>,
}

impl TmpSummary {
    pub(super) fn new(ended: &Ended) -> Self {
        Self {
            path: ended.path.to_string_lossy().into_owned(),
            kept: ended.kept,
            removed_files: ended.files,
            removed_bytes: ended.bytes,
            problem: ended.problem.clone(),
        }
    }
}

impl Reporter {
    /// Where it is, if it is still there.
    pub(crate) fn tmp(&self, ended: &Ended) {
        match ended.news() {
            Some(news) if ended.kept => self.say(&news),
            Some(news) => self.error(&news),
            None if self.is_verbose() => self.say(&ended.summary()),
            None => {}
        }
    }
}
