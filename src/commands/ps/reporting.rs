//! Tells the session's cgrun what was ended, so that its report lists it.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::Pid;

use super::ending::{Ending, Outcome};
use super::listing::Listed;
use crate::leaks::{EndedBy, LogEntry, LoggedProcess, append_to_log};
use crate::text::plain;

/// Where the session's leak log is.
pub(super) struct ReportedTo {
    /// `None` if the session's cgrun has no log. That of an older version names none.
    path: Option<OsString>,
    /// Whose file it has to be.
    owner: Option<u32>,
}

/// Processes that will be ended, each as it is now.
pub(super) struct ToReport(Vec<Option<LoggedProcess>>);

impl ReportedTo {
    /// What `reader` has in its environment.
    pub(super) fn said_by(reader: Pid, path: Option<OsString>) -> Self {
        let metadata = std::fs::metadata(format!("/proc/{reader}"));
        Self { path, owner: metadata.ok().map(|it| it.uid()) }
    }

    pub(super) fn nobody() -> Self {
        Self { path: None, owner: None }
    }

    /// Returns what went wrong.
    pub(super) fn report(&self, ended: ToReport, outcomes: &[Outcome]) -> Option<String> {
        let of_command = ended.0.into_iter().zip(outcomes);
        let processes: Vec<_> = of_command
            .filter_map(|(process, outcome)| {
                let mut process = process?;
                process.needed_sigkill = *outcome.as_ref().ok()? == Ending::Killed;
                Some(process)
            })
            .collect();
        let path = self.path.as_ref().filter(|_| !processes.is_empty())?;
        let entry = LogEntry::Ended { by: EndedBy::Ps, processes };
        let written = append_to_log(Path::new(path), &entry, self.owner.as_slice());
        let path = path.to_string_lossy();
        written.err().map(|error| {
            format!("what was ended will be missing in the session's report: cannot write to its leak log {path:?}: {}", plain(&error))
        })
    }
}

impl ToReport {
    pub(super) fn of(listed: &[Listed]) -> Self {
        let each =
            listed.iter().map(|it| it.is_of_command().then(|| LoggedProcess::of(&it.process)).flatten());
        Self(each.collect())
    }
}
