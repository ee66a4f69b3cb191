//! Where a test is written: its file and line, as far as its name tells.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::teardown::Origin;

/// A test file longer than this is not searched.
const SEARCHED: u64 = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    /// From 1.
    pub line: Option<usize>,
}

/// Runners name files from a root of their own: one of these directories, or one above.
pub fn locate(origin: &Origin, roots: &[PathBuf]) -> Option<Place> {
    let test = origin.test.as_ref()?;
    match origin.runner {
        "pytest" => {
            let mut names = test.split("::");
            let file = find(names.next()?, roots)?;
            let text = read(&file);
            let line = text.and_then(|text| python(&text, names));
            Some(Place { file, line })
        }
        "bats" => {
            let (file, name) = test.split_once(": ")?;
            let file = find(file, roots)?;
            let line = read(&file).and_then(|text| bats(&text, name));
            Some(Place { file, line })
        }
        _ => None,
    }
}

fn find(name: &str, roots: &[PathBuf]) -> Option<PathBuf> {
    let above = roots.iter().flat_map(|root| root.ancestors());
    above.map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Where a command looks for tests: where it ran, and what its arguments name.
pub fn roots(directory: &Path, command: &[String]) -> Vec<PathBuf> {
    let named = command.iter().skip(1).map(|word| word.split("::").next().unwrap_or_default());
    let named = named.filter(|word| !word.is_empty()).map(|word| directory.join(word));
    std::iter::once(directory.to_path_buf()).chain(named.filter(|path| path.exists())).collect()
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SEARCHED).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The line of `def test_b` after that of `class TestA`, for `TestA::test_b[parameters]`.
fn python<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = None;
    for name in names {
        let name = name.split('[').next().unwrap_or_default();
        let from = found.unwrap_or_default();
        let here =
            lines.iter().skip(from).position(|line| defines(line, name) && (from > 0 || !is_indented(line)));
        let anywhere = || lines.iter().skip(from).position(|line| defines(line, name));
        found = here.or_else(anywhere).map(|at| from + at + 1).or(found);
    }
    found
}

fn is_indented(line: &str) -> bool {
    line.starts_with([' ', '\t'])
}

fn defines(line: &str, name: &str) -> bool {
    let words = line.trim_start();
    let words = words.strip_prefix("async ").unwrap_or(words).trim_start();
    let rest = words.strip_prefix("def ").or_else(|| words.strip_prefix("class "));
    let rest = rest.and_then(|rest| rest.trim_start().strip_prefix(name));
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The line of `@test "name"`.
fn bats(text: &str, name: &str) -> Option<usize> {
    let mut lines = text.lines();
    lines.position(|line| line.trim_start().starts_with("@test ") && line.contains(name)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teardown::Evidence;

    fn origin(runner: &'static str, test: &str) -> Origin {
        let test = Some(test.to_string());
        Origin { runner, test, phase: None, worker: None, evidence: Evidence::Environment }
    }

    #[test]
    fn finds_tests_where_they_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("tests/deep")).unwrap();
        let python =
            "def test_ab():\n  pass\nclass TestB:\n    async def test_a(self): ...\ndef test_a(): ...\n";
        std::fs::write(root.join("tests/test_x.py"), python).unwrap();
        std::fs::write(root.join("x.bats"), "# a\n@test \"it leaks: a\" {\n}\n").unwrap();
        let cases = [
            ("pytest", "tests/test_x.py::test_a", Some("tests/test_x.py"), Some(5)),
            ("pytest", "tests/test_x.py::TestB::test_a[x::y]", Some("tests/test_x.py"), Some(4)),
            ("pytest", "tests/test_x.py::test_zz", Some("tests/test_x.py"), None),
            ("pytest", "tests/none.py::test_zz", None, None),
            ("bats", "x.bats: it leaks: a", Some("x.bats"), Some(2)),
            ("nextest", "c::t m::n", None, None),
        ];
        for (runner, test, file, line) in cases {
            let wanted = file.map(|file| Place { file: root.join(file), line });
            assert_eq!(locate(&origin(runner, test), &[root.join("tests/deep")]), wanted, "{test}");
        }
    }
}
