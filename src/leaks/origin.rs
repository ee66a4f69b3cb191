//! The origin of a process: during which test it was started, and how that is known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The test or worker during which a process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The name of the test runner.
    pub runner: &'static str,
    /// The test as its runner names it; `None` if the runner only names its workers.
    pub test: Option<String>,
    /// `setup`, `call` or `teardown`.
    pub phase: Option<String>,
    pub worker: Option<String>,
    pub evidence: Evidence,
}

/// How the origin is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Evidence {
    /// The mark is in the environment with which the process was executed.
    Environment,
    /// The process was forked from the runner, and has the mark in its memory.
    Memory,
    /// A process that it descends from has the mark.
    Parent,
    /// The processes started right before and right after it have the mark, and there is only one worker.
    StartTime,
    /// The plugin of the test runner has seen the test leave it.
    Plugin,
}

/// `tests/test_a.py::test_b (call)`, `vitest worker 3`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.test, &self.worker) {
            (Some(test), _) => f.write_str(test)?,
            (None, worker) => f.write_str(&worker_text(self.runner, worker.as_deref()))?,
        }
        match &self.phase {
            Some(phase) => write!(f, " ({phase})"),
            None => Ok(()),
        }
    }
}

/// `vitest worker 3`, or the runner alone if it does not name its workers.
pub(crate) fn worker_text(runner: &str, worker: Option<&str>) -> String {
    worker.map_or(runner.to_string(), |worker| format!("{runner} worker {worker}"))
}
