//! The origin of a process: during which test it was started, and how that is known.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::runners::known_runner;

/// What is between a runner and the number of its worker.
pub(super) const WORKER: &str = " worker ";

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

impl Origin {
    /// From the name of its runner and its text. Of a test, the worker is not in the text.
    pub(crate) fn of_text(runner: &str, text: &str) -> Self {
        let evidence = Evidence::Parent;
        let runner = known_runner(runner);
        let worker = text.strip_prefix(runner).and_then(|rest| rest.strip_prefix(WORKER));
        if worker.is_some() || text == runner {
            return Self { runner, test: None, phase: None, worker: worker.map(str::to_owned), evidence };
        }
        let (test, phase) = split_phase(text);
        Self { runner, test: Some(test.to_owned()), phase: phase.map(str::to_owned), worker: None, evidence }
    }
}

/// `tests/test_a.py::test_b` and `call`
pub(super) fn split_phase(text: &str) -> (&str, Option<&'static str>) {
    let of_phase = |phase| text.strip_suffix(&format!(" ({phase})")).map(|test| (test, Some(phase)));
    ["setup", "call", "teardown"].into_iter().find_map(of_phase).unwrap_or((text, None))
}

/// `vitest worker 3`, or the runner alone if it does not name its workers.
pub(crate) fn worker_text(runner: &str, worker: Option<&str>) -> String {
    worker.map_or(runner.to_string(), |worker| format!("{runner}{WORKER}{worker}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_comes_back_from_its_text() {
        let origin = |runner, test: Option<&str>, phase: Option<&str>, worker: Option<&str>| {
            let [test, phase, worker] = [test, phase, worker].map(|it| it.map(str::to_owned));
            Origin { runner, test, phase, worker, evidence: Evidence::Parent }
        };
        for origin in [
            origin("pytest", Some("tests/a.py::b[x (y)]"), Some("call"), None),
            origin("bats", Some("a.bats: the worker 3"), None, None),
            origin("vitest", None, None, Some("3")),
            origin("jest", None, None, None),
            origin("other", Some("it works"), None, None),
        ] {
            assert_eq!(Origin::of_text(origin.runner, &origin.to_string()), origin);
        }
        assert_eq!(Origin::of_text("unheard of", "x"), origin("other", Some("x"), None, None));
    }
}
