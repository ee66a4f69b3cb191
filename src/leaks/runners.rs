//! The test runners whose marks are understood. To support another one, add an entry to [`RUNNERS`].

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::origin::{Evidence, Origin};
use crate::text::readable;

/// A test runner, and the marks that it leaves in the environment of the processes that it starts.
struct Runner {
    name: &'static str,
    /// The variables that together name the test; empty if the runner only names its workers.
    test: &'static [&'static str],
    /// The variable that names the worker, if there can be several.
    worker: Option<&'static str>,
    /// Turns the values of `test` into the test and its phase.
    parse: fn(&[String]) -> (String, Option<String>),
    /// Whether a worker runs one test at a time, and the marks show how many workers there are.
    is_sequential: bool,
}

/// Runners that name the test come first. Among those, a runner comes before any runner that may run it.
const RUNNERS: &[Runner] = &[
    Runner {
        name: "pytest",
        test: &["PYTEST_CURRENT_TEST"],
        worker: Some("PYTEST_XDIST_WORKER"),
        parse: pytest_test,
        is_sequential: true,
    },
    Runner {
        name: "bats",
        test: &["BATS_TEST_FILENAME", "BATS_TEST_NAME"],
        worker: None,
        parse: bats_test,
        // It can run several tests at once (--jobs), and its marks do not show that.
        is_sequential: false,
    },
    Runner {
        name: "nextest",
        test: &["NEXTEST_BINARY_ID", "NEXTEST_TEST_NAME"],
        worker: None,
        parse: joined,
        is_sequential: false,
    },
    Runner {
        name: "playwright",
        test: &[],
        worker: Some("TEST_WORKER_INDEX"),
        parse: joined,
        is_sequential: false,
    },
    Runner { name: "vitest", test: &[], worker: Some("VITEST_POOL_ID"), parse: joined, is_sequential: false },
    Runner { name: "jest", test: &[], worker: Some("JEST_WORKER_ID"), parse: joined, is_sequential: false },
];

/// The variable in which a hook of any runner names the test. It takes precedence over the runner's own marks.
const TEST: &str = "CGRUN_TEST";

/// What runs a test that only such a hook names.
const ANY_RUNNER: &str = "other";

/// All variables in which a runner may leave a mark.
pub(crate) fn variable_names() -> Vec<&'static str> {
    let own = RUNNERS.iter().flat_map(|runner| runner.test.iter().copied().chain(runner.worker));
    own.chain([TEST]).collect()
}

/// The runner of that name, or what stands for one that is not known.
pub(super) fn known_runner(name: &str) -> &'static str {
    RUNNERS.iter().find(|runner| runner.name == name).map_or(ANY_RUNNER, |runner| runner.name)
}

/// Whether this runner's workers run one test at a time, and the marks tell how many workers there are.
pub(super) fn is_sequential(runner: &str) -> bool {
    RUNNERS.iter().any(|it| it.name == runner && it.is_sequential)
}

/// The marks that a session was started with. They belong to the test that runs cgrun, so they are ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct InheritedMarks(Vec<Vec<u8>>);

impl InheritedMarks {
    /// Those of a session that this process supervises.
    pub(crate) fn ours() -> Self {
        let mark = |name: &str| {
            std::env::var_os(name).map(|value| [name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        Self(variable_names().into_iter().filter_map(mark).collect())
    }

    /// Those in the environment of a session's supervisor, as `/proc/PID/environ` shows it.
    pub(crate) fn of_environ(environ: &[u8]) -> Self {
        Self(environ.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect())
    }

    fn include(&self, name: &str, value: &OsString) -> bool {
        value_in(&self.0, name).as_ref() == Some(value)
    }
}

fn value_in(variables: &[Vec<u8>], name: &str) -> Option<OsString> {
    let named = |entry: &Vec<u8>| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        // A hook clears its mark by an empty value.
        (!value.trim_ascii().is_empty()).then(|| OsString::from_vec(value.to_vec()))
    };
    variables.iter().find_map(named)
}

/// The mark in these `NAME=VALUE` entries, if there is one that was not inherited.
pub(crate) fn origin_in(
    variables: &[Vec<u8>],
    inherited: &InheritedMarks,
    evidence: Evidence,
) -> Option<Origin> {
    let of_runner = origin_of_runner(variables, inherited, evidence);
    let Some(test) = value_in(variables, TEST).filter(|test| !inherited.include(TEST, test)) else {
        return of_runner;
    };
    let (runner, worker) = of_runner.map_or((ANY_RUNNER, None), |it| (it.runner, it.worker));
    Some(Origin { runner, test: Some(readable(&test.to_string_lossy())), phase: None, worker, evidence })
}

fn origin_of_runner(variables: &[Vec<u8>], inherited: &InheritedMarks, evidence: Evidence) -> Option<Origin> {
    let value = |name: &str| value_in(variables, name);
    let is_ours = |name: &str, value: &OsString| inherited.include(name, value);
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
                let (test, phase) = (runner.parse)(&values.into_iter().map(text).collect::<Vec<_>>());
                (Some(test), phase)
            }
            (true, _) => {
                worker.as_ref()?;
                (None, None)
            }
        };
        // Made readable last, because a decoded name can contain anything.
        let [test, phase, worker] = [test, phase, worker].map(|text| text.map(|text| readable(&text)));
        Some(Origin { runner: runner.name, test, phase, worker, evidence })
    })
}

/// `tests/test_a.py::test_b[x y] (call)`
fn pytest_test(values: &[String]) -> (String, Option<String>) {
    let value = &values[0];
    let split = value.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    match split {
        Some((test, phase)) => (test.to_string(), Some(phase.to_string())),
        None => (value.clone(), None),
    }
}

/// `tests/a.bats: it works`
fn bats_test(values: &[String]) -> (String, Option<String>) {
    (format!("{}: {}", values[0], bats_name(&values[1])), None)
}

/// Decodes the name of a bats test. A space is encoded as `_`, and anything else that is not a letter or digit as
/// `-` and two hexadecimal digits, by byte or by character, depending on the locale. In a plain name bats encodes
/// the `-` of an encoded `_` once more.
pub(crate) fn bats_name(encoded: &str) -> String {
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

fn joined(values: &[String]) -> (String, Option<String>) {
    (values.join(" "), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of(variables: &[&str]) -> Option<Origin> {
        let variables: Vec<_> = variables.iter().map(|it| it.as_bytes().to_vec()).collect();
        origin_in(&variables, &InheritedMarks::ours(), Evidence::Environment)
    }

    #[test]
    fn the_marks_of_each_runner_are_understood() {
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
        for (variables, runner, text, worker) in cases {
            let origin = origin_of(variables).unwrap();
            assert_eq!((origin.runner, origin.to_string().as_str()), (runner, text));
            assert_eq!(origin.worker.as_deref(), worker);
        }
        let unknown: [&[&str]; 5] = [
            &["CGRUN_TEST= "],
            &[],
            &["BATS_TEST_FILENAME=/t/a.bats"],
            &["XPYTEST_CURRENT_TEST=a"],
            &["PYTEST_CURRENT_TEST"],
        ];
        for variables in unknown {
            assert_eq!(origin_of(variables), None, "{variables:?}");
        }
    }

    #[test]
    fn a_hook_names_the_test_of_any_runner() {
        let of_jest = origin_of(&["JEST_WORKER_ID=2", "CGRUN_TEST=a.test.js: cart empties"]).unwrap();
        assert_eq!((of_jest.runner, of_jest.to_string().as_str()), ("jest", "a.test.js: cart empties"));
        assert_eq!(of_jest.worker.as_deref(), Some("2"));
        let of_another = origin_of(&["CGRUN_TEST=cart"]).unwrap();
        assert_eq!((of_another.runner, of_another.test.as_deref()), (ANY_RUNNER, Some("cart")));
        let nested = origin_of(&["CGRUN_TEST=outer", "PYTEST_CURRENT_TEST=a.py::b (call)"]).unwrap();
        assert_eq!((nested.to_string().as_str(), nested.phase), ("outer", None));
    }

    #[test]
    fn a_mark_in_cgruns_own_environment_is_ignored() {
        // nextest runs this very test.
        let name = std::env::var("NEXTEST_TEST_NAME").expect("cargo nextest run");
        let id = std::env::var("NEXTEST_BINARY_ID").unwrap();
        let inherited = [format!("NEXTEST_BINARY_ID={id}"), format!("NEXTEST_TEST_NAME={name}")];
        assert_eq!(origin_of(&inherited.each_ref().map(String::as_str)), None);
        let inner = [inherited[0].as_str(), "NEXTEST_TEST_NAME=inner"];
        assert_eq!(origin_of(&inner).and_then(|origin| origin.test), Some(format!("{id} inner")));
    }
}
