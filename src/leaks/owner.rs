//! What has to be fixed so that a process leaks no more.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::leak::{How, Leak};
use super::origin::{Origin, WORKER, split_phase};

/// What has to be fixed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub(crate) enum Owner {
    Test(String),
    /// The runner names only its workers.
    Worker(String),
    Service(String),
    /// The command, during an unknown test or none.
    Unknown,
}

/// `tests/test_a.py::test_b`, `vitest worker 3`, `service db`
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(name) | Self::Worker(name) => f.write_str(name),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Unknown => f.write_str("an unknown test"),
        }
    }
}

impl Owner {
    /// The owner as other runs see it: which worker runs a test differs from run to run.
    pub(crate) fn in_any_run(self) -> Self {
        match self {
            Self::Worker(name) => Self::Worker(match name.split_once(WORKER) {
                Some((runner, _)) => format!("{runner}{WORKER}*"),
                None => name,
            }),
            other => other,
        }
    }

    /// From an origin as text: `tests/test_a.py::test_b (call)`, `vitest worker 3`.
    pub(crate) fn of_text(text: &str) -> Self {
        let is_number = |it: &str| it.trim_start_matches("gw").bytes().all(|it| it.is_ascii_digit());
        match text.rsplit_once(WORKER) {
            Some((runner, number)) if !runner.contains(' ') && is_number(number) => {
                Self::Worker(text.to_owned())
            }
            _ => Self::Test(split_phase(text).0.to_owned()),
        }
    }

    pub(crate) fn of(leak: &Leak) -> Self {
        match (&leak.started_during, &leak.how) {
            (_, How::OutlivedService(name) | How::OutlivedProbe(name)) => Self::Service(name.clone()),
            (origin, _) => Self::of_origin(origin.as_ref()),
        }
    }

    pub(crate) fn of_origin(origin: Option<&Origin>) -> Self {
        match origin {
            Some(Origin { test: Some(test), .. }) => Self::Test(test.clone()),
            Some(worker) => Self::Worker(worker.to_string()),
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_as_text_is_a_test_or_a_worker() {
        let test = |name: &str| Owner::Test(name.into());
        for (text, owner) in [
            ("tests/a.py::b (call)", test("tests/a.py::b")),
            ("tests/a.py::b[x (y)] (setup)", test("tests/a.py::b[x (y)]")),
            ("a.bats: the worker 3", test("a.bats: the worker 3")),
            ("vitest worker 3", Owner::Worker("vitest worker 3".into())),
            ("crate::tests::it_works", test("crate::tests::it_works")),
        ] {
            assert_eq!(Owner::of_text(text), owner);
        }
    }
}
