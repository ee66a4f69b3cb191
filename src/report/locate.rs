//! Finds the file and line of a test by its name.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::leaks::{Origin, bats_name};
use crate::sys::regular_file::open_regular;
use crate::text::readable;

/// A test file longer than this is not searched.
const SEARCHED: u64 = 1 << 20;
/// How many words of the command are tried as paths.
const ROOTS: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestLocation {
    pub file: PathBuf,
    /// The line number, starting at 1.
    pub line: Option<usize>,
}

/// Looks up each test only once.
#[derive(Debug)]
pub(crate) struct TestLocator {
    /// Test files may be relative to any of these: paths in the command, the working directory, and their
    /// ancestors.
    directories: Vec<PathBuf>,
    /// The cached locations, by runner and test.
    places: HashMap<(&'static str, String), Option<TestLocation>>,
    texts: HashMap<PathBuf, Option<Rc<str>>>,
}

impl TestLocator {
    pub(crate) fn new(directory: &Path, command: &[String]) -> Self {
        let named = command.iter().skip(1).map(|word| word.split("::").next().unwrap_or_default());
        let named = named.filter(|word| !word.is_empty()).map(|word| directory.join(word));
        let roots = named.take(ROOTS).filter(|path| path.exists()).chain([directory.to_path_buf()]);
        let mut directories: Vec<PathBuf> = Vec::new();
        for above in roots.flat_map(|root| root.ancestors().map(Path::to_path_buf).collect::<Vec<_>>()) {
            if above.is_dir() && !directories.contains(&above) {
                directories.push(above);
            }
        }
        Self { directories, places: HashMap::new(), texts: HashMap::new() }
    }

    /// The file as text, and the line, of what [`Self::locate`] finds.
    pub(super) fn file_and_line(&mut self, origin: &Origin) -> (Option<String>, Option<usize>) {
        match self.locate(origin) {
            Some(TestLocation { file, line }) => (Some(file.to_string_lossy().into_owned()), line),
            None => (None, None),
        }
    }

    pub(crate) fn locate(&mut self, origin: &Origin) -> Option<TestLocation> {
        let test = origin.test.as_ref()?;
        let key = (origin.runner, test.clone());
        if let Some(place) = self.places.get(&key) {
            return place.clone();
        }
        let place = match origin.runner {
            "pytest" => {
                let (file, names) = test.split_once("::").unwrap_or((test, ""));
                self.find_in_file(file, |text| python_line(text, names.split("::")))
            }
            "bats" => test
                .split_once(": ")
                .and_then(|(file, name)| self.find_in_file(file, |text| bats_line(text, name))),
            _ => None,
        };
        self.places.insert(key, place.clone());
        place
    }

    /// The file in which `line` finds a line, or else the only file of that name.
    fn find_in_file(&mut self, name: &str, line: impl Fn(&str) -> Option<usize>) -> Option<TestLocation> {
        let candidates: Vec<_> = self.directories.iter().map(|directory| directory.join(name)).collect();
        let mut without_line = Vec::new();
        for file in candidates {
            if without_line.contains(&file) {
                continue;
            }
            let Some(text) = self.texts.entry(file.clone()).or_insert_with(|| read(&file)) else { continue };
            match line(text) {
                Some(line) => return Some(TestLocation { file, line: Some(line) }),
                None => without_line.push(file),
            }
        }
        match without_line.as_slice() {
            [file] => Some(TestLocation { file: file.clone(), line: None }),
            _ => None,
        }
    }
}

/// Reads only regular files, because others could block.
fn read(path: &Path) -> Option<Rc<str>> {
    // Opening a device can have side effects.
    std::fs::metadata(path).is_ok_and(|it| it.is_file()).then_some(())?;
    let file = open_regular(path, 0).ok()??;
    // Files in /proc have no length.
    (file.metadata().ok()?.len() > 0).then_some(())?;
    let mut bytes = Vec::new();
    file.take(SEARCHED).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into())
}

/// The line of `def test_b` after that of `class TestA`, for `TestA::test_b[parameters]`.
fn python_line<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<usize> {
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

/// The line of `@test "name" {`. bats encodes the name and we decode it, which may lose details, so the text
/// is treated the same way.
fn bats_line(text: &str, name: &str) -> Option<usize> {
    let is_it = |line: &str| {
        let rest = line.trim_start().strip_prefix("@test ")?.trim_end();
        let written = rest.strip_suffix('{').unwrap_or(rest).trim();
        let unquoted = |quote: char| written.strip_prefix(quote)?.strip_suffix(quote);
        let written = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(written);
        let decoded = [true, false].map(|by_character| readable(&bats_name(&encoded(written, by_character))));
        Some(decoded.iter().any(|it| it == name))
    };
    text.lines().position(|line| is_it(line).unwrap_or(false)).map(|at| at + 1)
}

/// bats encodes characters, or bytes if its locale is not UTF-8.
fn encoded(name: &str, by_character: bool) -> String {
    let of = |code: u32| match char::from_u32(code) {
        Some(' ') => "_".to_string(),
        Some(c) if c.is_ascii_alphanumeric() => c.to_string(),
        _ => format!("-{code:02x}"),
    };
    let encoded: String = match by_character {
        true => name.chars().map(u32::from).map(of).collect(),
        false => name.bytes().map(u32::from).map(of).collect(),
    };
    format!("test_{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::Evidence;

    fn origin(runner: &'static str, test: &str) -> Origin {
        let test = Some(test.to_string());
        Origin { runner, test, phase: None, worker: None, evidence: Evidence::Environment }
    }

    #[test]
    fn tests_are_found_in_their_files() {
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
            let wanted = file.map(|file| TestLocation { file: root.join(file), line });
            let mut tests = TestLocator::new(&root.join("tests/deep"), &[]);
            assert_eq!(tests.locate(&origin(runner, test)), wanted, "{test}");
            assert_eq!(tests.locate(&origin(runner, test)), wanted, "{test}, again");
        }
    }

    #[test]
    fn among_files_of_the_same_name_the_one_with_the_test_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (file, test) in [("tests/test_x.py", "a"), ("svc/tests/test_x.py", "b")] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), format!("def test_{test}(): ...\n")).unwrap();
        }
        let command = ["pytest", "svc/tests"].map(str::to_string);
        let mut tests = TestLocator::new(root, &command);
        let mut place = |test: &str| tests.locate(&origin("pytest", &format!("tests/test_x.py::{test}")));
        assert_eq!(place("test_a").unwrap().file, root.join("tests/test_x.py"));
        assert_eq!(place("test_b").unwrap().file, root.join("svc/tests/test_x.py"));
        assert_eq!(place("test_c"), None);
    }

    #[test]
    fn a_bats_test_is_found_by_its_whole_name() {
        let text = "@test \"it leaks twice\" {\n@test 'leaks' {\n@test \"é → leaks\" {\n@test a-5f_b {\n";
        assert_eq!(bats_line(text, "leaks"), Some(2));
        // As encoded in a UTF-8 locale, and in a locale without UTF-8.
        assert_eq!(bats_line(text, "é !92 leaks"), Some(3));
        assert_eq!(bats_line(text, "é → leaks"), Some(3));
        // bats encodes these two names the same way.
        assert_eq!(bats_line(text, "a__b"), Some(4));
        assert_eq!(bats_line(text, "it"), None);
    }
}
