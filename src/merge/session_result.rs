//! What is kept of the report of one session.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::seconds::Seconds;
use crate::containers::CONTAINER;
use crate::leaks::Owner;
use crate::text::{counted, processes};

pub(super) const UNKNOWN_HOST: &str = "unknown host";

/// The same leak in every session and on every host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LeakKey {
    pub owner: Owner,
    pub program: String,
}

impl LeakKey {
    /// How much of it there is: `3 processes`, `1 container`.
    pub(super) fn counted(&self, count: u64) -> String {
        match self.program.starts_with(CONTAINER) {
            true => counted(count, "container"),
            false => processes(usize::try_from(count).unwrap_or(usize::MAX)),
        }
    }
}

/// One session. If a session is read twice with different contents, the greater one counts, so that the order of the
/// reports does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SessionResult {
    pub started_at_unix_seconds: Seconds,
    pub id: String,
    /// `None` in reports of versions that did not say it.
    pub host: Option<String>,
    pub command: String,
    pub duration_seconds: Seconds,
    /// `None` if a signal ended cgrun.
    pub exit_code: Option<u8>,
    pub signal: Option<String>,
    /// Why the session ended, as a sentence.
    pub reason: String,
    pub verified_empty: bool,
    /// Whether cgrun looked for leaks. The guardian of a dead supervisor does not.
    pub leaks_known: bool,
    pub leaked_process_count: u64,
    /// Leaked processes of which nothing is known but their number.
    pub undescribed_process_count: u64,
    /// Containers that the session had created and that were still running.
    #[serde(default)]
    pub leaked_container_count: u64,
    pub survivors: Vec<String>,
    pub unverified: Vec<String>,
    /// What it left besides processes: shared memory, semaphores, queues, files.
    #[serde(default)]
    pub leftover_count: u64,
    #[serde(default)]
    pub leftover_bytes: u64,
    /// `None` if the session had no cgroup to measure.
    pub cpu_seconds: Option<Seconds>,
    pub memory_peak_bytes: Option<u64>,
    pub processes_peak: Option<u64>,
    /// Sorted.
    #[serde(skip)]
    pub leaks: Vec<SessionLeak>,
    /// The file that it was read from.
    pub report: String,
}

/// What a session leaked of one program of one owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionLeak {
    pub key: Rc<LeakKey>,
    /// How many processes, or containers.
    pub count: u64,
    /// How many of them no other of them has started.
    pub trees: u64,
    /// Whether the session's baseline lists all of them.
    pub known: bool,
}

/// A report that could not be merged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub report: String,
    pub reason: String,
}

impl SessionResult {
    /// What tells sessions apart. An id alone is not unique among all sessions that ever were.
    pub(super) fn key(&self) -> (Seconds, String) {
        (self.started_at_unix_seconds, self.id.clone())
    }

    /// Whether it is proven that nothing of the session was left.
    pub(crate) fn is_verified(&self) -> bool {
        self.verified_empty && self.survivors.is_empty() && self.unverified.is_empty()
    }

    /// How many processes and containers leaked.
    pub(crate) fn leaked(&self) -> u64 {
        self.leaked_process_count.saturating_add(self.leaked_container_count)
    }

    pub(crate) fn failed(&self) -> bool {
        self.exit_code != Some(0)
    }

    /// `0`, `SIGTERM`
    pub(crate) fn exit(&self) -> String {
        match (self.exit_code, &self.signal) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => signal.clone(),
            (None, None) => "killed".into(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(UNKNOWN_HOST)
    }
}
