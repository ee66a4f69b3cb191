//! During which test a process was started, by the marks that test runners leave in the environment.
//!
//! "During", never "by": a fixture that lives for the whole run carries the mark of the first test that
//! used it. What no mark tells is not known.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use rustix::process::Pid;

use super::snapshot::Leak;
use crate::containment::MARKER;
use crate::sys::details::Glimpse;
use crate::sys::environ::environ;
use crate::sys::memory::Memories;
use crate::sys::proc::{pid_of, readable};

/// A test runner and its marks. To add one is to add an entry.
struct Runner {
    name: &'static str,
    /// The variables that together name the test; none where a mark names the worker only.
    test: &'static [&'static str],
    /// The variable that names the worker, where there are several.
    worker: Option<&'static str>,
    /// From the values of `test` to the test and its phase.
    read: fn(&[String]) -> (String, Option<String>),
}

/// Those that name the test come first, and of these the one that is run by another.
const RUNNERS: &[Runner] = &[
    Runner {
        name: "pytest",
        test: &["PYTEST_CURRENT_TEST"],
        worker: Some("PYTEST_XDIST_WORKER"),
        read: pytest,
    },
    Runner { name: "bats", test: &["BATS_TEST_FILENAME", "BATS_TEST_NAME"], worker: None, read: bats },
    Runner { name: "nextest", test: &["NEXTEST_BINARY_ID", "NEXTEST_TEST_NAME"], worker: None, read: words },
    Runner { name: "playwright", test: &[], worker: Some("TEST_WORKER_INDEX"), read: words },
    Runner { name: "vitest", test: &[], worker: Some("VITEST_POOL_ID"), read: words },
    Runner { name: "jest", test: &[], worker: Some("JEST_WORKER_ID"), read: words },
];

/// `tests/test_a.py::test_b[x y] (call)`
fn pytest(values: &[String]) -> (String, Option<String>) {
    let value = &values[0];
    let split = value.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    match split {
        Some((test, phase)) => (test.to_string(), Some(phase.to_string())),
        None => (value.clone(), None),
    }
}

/// In the words of [`bats_name`].
fn bats(values: &[String]) -> (String, Option<String>) {
    (format!("{}: {}", values[0], bats_name(&values[1])), None)
}

/// Its names have `_` for a space, and `-` and two digits for all else that is no letter or digit: bytes,
/// or characters, as its locale is. In a plain name it encodes the `-` of an encoded `_` once more.
pub fn bats_name(encoded: &str) -> String {
    let mut name = Vec::new();
    let encoded = encoded.replace("-2d5f", "-5f");
    let mut rest = encoded.strip_prefix("test_").unwrap_or(&encoded);
    while let Some(c) = rest.chars().next() {
        let code = rest.strip_prefix('-').and_then(|rest| rest.get(..2));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                name.push(byte);
                rest = &rest[3..];
            }
            None => {
                let c = if c == '_' { ' ' } else { c };
                name.extend(c.encode_utf8(&mut [0; 4]).bytes());
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    String::from_utf8(name).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

fn words(values: &[String]) -> (String, Option<String>) {
    (values.join(" "), None)
}

/// How it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The mark is in the environment that the process was executed with.
    Environment,
    /// It was forked from the runner, and has the mark in its memory.
    Memory,
    /// A process that it descends from has the mark.
    Parent,
    /// What was started right before it and right after it has the mark, and there is one worker.
    StartTime,
}

/// What a process was started during.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub runner: &'static str,
    /// As the runner calls it. `None` where the runner names workers only.
    pub test: Option<String>,
    /// `setup`, `call` or `teardown`.
    pub phase: Option<String>,
    pub worker: Option<String>,
    pub evidence: Evidence,
}

/// `tests/test_a.py::test_b (call)`, `vitest worker 3`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.test, &self.worker) {
            (Some(test), _) => f.write_str(test)?,
            (None, Some(worker)) => write!(f, "{} worker {worker}", self.runner)?,
            (None, None) => f.write_str(self.runner)?,
        }
        match &self.phase {
            Some(phase) => write!(f, " ({phase})"),
            None => Ok(()),
        }
    }
}

/// Reads marks of processes, one after the other.
pub struct OriginReader {
    names: Vec<&'static str>,
    memories: Memories,
}

impl OriginReader {
    /// A mark that we carry ourselves is of what runs us, and says nothing.
    pub fn new() -> Self {
        let names = RUNNERS.iter().flat_map(|runner| runner.test.iter().copied().chain(runner.worker));
        Self { names: names.collect(), memories: Memories::default() }
    }

    pub fn ask(&mut self, glimpse: &Glimpse) -> Account {
        let environ = environ(glimpse.pid);
        let is_cleared = environ.as_ref().is_ok_and(|text| !has(text, MARKER));
        let executed = environ.unwrap_or_default();
        // Forked from what runs the tests: its memory tells what that had come to.
        let forked =
            glimpse.is_forked.then(|| self.memories.environment(glimpse, &executed, &self.names)).flatten();
        let variables = || executed.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let origin = forked
            .and_then(|variables| origin(&variables, Evidence::Memory))
            .or_else(|| origin(&variables(), Evidence::Environment));
        Account { origin, is_cleared }
    }
}

/// What a process says of itself.
#[derive(Debug, Default)]
pub struct Account {
    pub origin: Option<Origin>,
    /// It was executed without what the whole session has in its environment.
    pub is_cleared: bool,
}

fn has(environ: &[u8], name: &str) -> bool {
    let is_it = |entry: &[u8]| entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    environ.split(|&byte| byte == 0).any(is_it)
}

fn origin(variables: &[Vec<u8>], evidence: Evidence) -> Option<Origin> {
    let value = |name: &str| {
        let named = |entry: &Vec<u8>| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(OsString::from_vec(value.to_vec()))
        };
        variables.iter().find_map(named)
    };
    let is_ours = |name: &str, value: &OsString| std::env::var_os(name).as_ref() == Some(value);
    let text = |value: OsString| value.to_string_lossy().into_owned();
    RUNNERS.iter().find_map(|runner| {
        let values: Option<Vec<_>> = runner.test.iter().map(|name| value(name)).collect();
        let values = values?;
        let all_ours = runner.test.iter().zip(&values).all(|(name, value)| is_ours(name, value));
        let worker = runner.worker.and_then(|name| value(name).filter(|value| !is_ours(name, value)));
        let worker = worker.map(text);
        let (test, phase) = match (values.is_empty(), all_ours) {
            (false, true) => return None,
            (false, false) => {
                let (test, phase) = (runner.read)(&values.into_iter().map(text).collect::<Vec<_>>());
                (Some(test), phase)
            }
            (true, _) => {
                worker.as_ref()?;
                (None, None)
            }
        };
        // Only now: what a runner has encoded may be anything.
        let [test, phase, worker] = [test, phase, worker].map(|text| text.map(|text| readable(&text)));
        Some(Origin { runner: runner.name, test, phase, worker, evidence })
    })
}

/// Says of those that do not know themselves what is known from the others.
pub fn infer(leaks: &mut [Leak]) {
    by_inheritance(leaks);
    if leaks.iter().all(|leak| leak.started_during.is_some() == leaks[0].started_during.is_some()) {
        return;
    }
    by_descent(leaks);
    by_time(leaks);
}

/// What another leak started has its mark from that one, and may have been started at any time since.
fn by_inheritance(leaks: &mut [Leak]) {
    let said: HashMap<Pid, String> = leaks
        .iter()
        .filter_map(|leak| Some((leak.pid(), leak.started_during.as_ref()?.to_string())))
        .collect();
    for leak in leaks {
        let parents = leak.glimpse.parent.and_then(|parent| said.get(&parent));
        if let (Some(origin), Some(parents)) = (&mut leak.started_during, parents)
            && origin.to_string() == *parents
        {
            origin.evidence = Evidence::Parent;
        }
    }
}

/// The parent, where it lives; and the leader of the process's session, from which all in it descend.
fn by_descent(leaks: &mut [Leak]) {
    let place: HashMap<Pid, usize> = leaks.iter().enumerate().map(|(at, leak)| (leak.pid(), at)).collect();
    for at in 0..leaks.len() {
        // Bounded: what we read of a moving crowd may go round in a circle.
        let mut ancestor = at;
        for _ in 0..leaks.len() {
            if leaks[ancestor].started_during.is_some() {
                break;
            }
            let glimpse = &leaks[ancestor].glimpse;
            let up = glimpse.parent.and_then(|pid| place.get(&pid));
            let leader = pid_of(glimpse.session).and_then(|pid| place.get(&pid));
            match up.or(leader) {
                Some(&next) if next != ancestor => ancestor = next,
                _ => break,
            }
        }
        if ancestor != at {
            let known = leaks[ancestor].started_during.clone();
            leaks[at].started_during = known.map(|origin| Origin { evidence: Evidence::Parent, ..origin });
        }
    }
}

/// Between two that a test started, nothing was started during another test: where one worker runs one
/// test at a time. Not asked are those that another leak started, which may do so at any time; and asked
/// for are only those that have cleared their environment: all others would have a test's mark.
fn by_time(leaks: &mut [Leak]) {
    let pids: HashSet<Pid> = leaks.iter().map(Leak::pid).collect();
    let started_by = |leak: &Leak| leak.glimpse.parent.filter(|parent| pids.contains(parent));
    let known: Vec<Option<Origin>> =
        leaks.iter().map(|leak| leak.started_during.clone().filter(|_| started_by(leak).is_none())).collect();
    // bats may run several with --jobs, and does not tell.
    let is_parallel = |origin: &Origin| origin.runner != "pytest";
    let mut workers: Vec<_> = leaks
        .iter()
        .filter_map(|leak| leak.started_during.as_ref())
        .map(|it| (it.runner, &it.worker))
        .collect();
    workers.sort();
    workers.dedup();
    if workers.len() != 1 || known.iter().flatten().any(is_parallel) {
        return;
    }
    let mut order: Vec<usize> = (0..leaks.len()).collect();
    order.sort_by_key(|&at| (leaks[at].glimpse.started, leaks[at].pid().as_raw_nonzero()));
    let mut before: Option<&Origin> = None;
    let mut between = Vec::new();
    let mut found = Vec::new();
    for at in order {
        match &known[at] {
            None if leaks[at].started_during.is_none() && leaks[at].is_cleared => between.push(at),
            None => {}
            Some(origin) => {
                let same = before.filter(|before| before.test == origin.test);
                found.extend(between.drain(..).filter_map(|at| Some((at, same?.clone()))));
                before = Some(origin);
            }
        }
    }
    for (at, origin) in found {
        leaks[at].started_during = Some(Origin { evidence: Evidence::StartTime, phase: None, ..origin });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[&str]) -> Option<Origin> {
        let variables: Vec<_> = variables.iter().map(|it| it.as_bytes().to_vec()).collect();
        origin(&variables, Evidence::Environment)
    }

    #[test]
    fn each_runner_is_read_as_it_writes() {
        let cases: [(&[&str], &str, &str, Option<&str>); 7] = [
            (&["PYTEST_CURRENT_TEST=t/a.py::b[(x)] (call)"], "pytest", "t/a.py::b[(x)] (call)", None),
            (
                &["PYTEST_CURRENT_TEST=a.py::b (setup)", "PYTEST_XDIST_WORKER=gw3"],
                "pytest",
                "a.py::b (setup)",
                Some("gw3"),
            ),
            (
                &["BATS_TEST_FILENAME=/t/a.bats", "BATS_TEST_NAME=test_it_leaks-3a_a-5fb"],
                "bats",
                "/t/a.bats: it leaks: a_b",
                None,
            ),
            (
                &["NEXTEST_BINARY_ID=c::t", "NEXTEST_TEST_NAME=m::n", "PATH=/bin"],
                "nextest",
                "c::t m::n",
                None,
            ),
            (&["VITEST_POOL_ID=2", "JEST_WORKER_ID=2"], "vitest", "vitest worker 2", Some("2")),
            (&["JEST_WORKER_ID=1"], "jest", "jest worker 1", Some("1")),
            (&["TEST_WORKER_INDEX=0"], "playwright", "playwright worker 0", Some("0")),
        ];
        for (variables, runner, said, worker) in cases {
            let origin = of(variables).unwrap();
            assert_eq!((origin.runner, origin.to_string().as_str()), (runner, said));
            assert_eq!(origin.worker.as_deref(), worker);
        }
        let unknown: [&[&str]; 4] =
            [&[], &["BATS_TEST_FILENAME=/t/a.bats"], &["XPYTEST_CURRENT_TEST=a"], &["PYTEST_CURRENT_TEST"]];
        for variables in unknown {
            assert_eq!(of(variables), None, "{variables:?}");
        }
    }

    #[test]
    fn a_mark_that_we_carry_too_says_nothing() {
        // nextest runs this very test.
        let name = std::env::var("NEXTEST_TEST_NAME").expect("cargo nextest run");
        let id = std::env::var("NEXTEST_BINARY_ID").unwrap();
        let inherited = [format!("NEXTEST_BINARY_ID={id}"), format!("NEXTEST_TEST_NAME={name}")];
        assert_eq!(of(&inherited.each_ref().map(String::as_str)), None);
        let inner = [inherited[0].as_str(), "NEXTEST_TEST_NAME=inner"];
        assert_eq!(of(&inner).and_then(|origin| origin.test), Some(format!("{id} inner")));
    }
}
