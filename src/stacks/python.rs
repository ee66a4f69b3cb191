//! Python: py-spy reads the memory of the process, and need not stop it.

use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::collect::Target;
use super::lookup::beside;
use super::stack::{Section, folded};
use super::tool::{Intrusion, Tool, Way};
use crate::sys::procfs::environ::variable;
use crate::sys::search_path::on_path;

const NAME: &str = "py-spy";
/// What runs the tests, by how py-spy shortens the names of its files.
const RUNNER: [&str; 4] = ["_pytest/", "pluggy/", "xdist/", "execnet/"];

pub(super) fn way(target: &Target, intrusion: Intrusion) -> Way {
    let pid = target.pid.to_string();
    let found = on_path(NAME).or_else(|| beside(target, &environment_directories(target), NAME));
    let Some(path) = found else { return Way::No("install py-spy".into()) };
    let mut tools = vec![Tool::new(path.clone(), ["dump", "--nonblocking", "--pid", &pid], threads)];
    // What it reads of a process that runs may be inconsistent.
    if intrusion == Intrusion::Brief {
        tools.push(Tool::new(path, ["dump", "--pid", &pid], threads));
    }
    Way::Tools(tools)
}

/// The `bin` of its virtual environment, and of the interpreter itself.
fn environment_directories(target: &Target) -> Vec<PathBuf> {
    let named = target.command.first().and_then(|it| Path::new(it).parent()).map(Path::to_path_buf);
    let activated = virtual_environment(target.pid).map(|it| it.join("bin"));
    named.into_iter().chain(activated).chain(target.directory()).collect()
}

fn virtual_environment(pid: Pid) -> Option<PathBuf> {
    variable(pid, "VIRTUAL_ENV").map(PathBuf::from)
}

/// The first thread comes first, and then those that run.
fn threads(output: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in output.lines() {
        match line.strip_prefix("    ") {
            Some(frame) => sections.last_mut().into_iter().for_each(|it| it.lines.push(frame.into())),
            None if line.starts_with("Thread ") => sections.push(Section::new(line)),
            None => {}
        }
    }
    sections.retain(|it| !it.lines.is_empty());
    sections.sort_by_key(|it| (!it.title.contains("\"MainThread\""), !it.title.contains("(active")));
    sections.iter_mut().for_each(|it| it.lines = folded(&it.lines, of_runner));
    sections
}

/// `pytest_pyfunc_call (_pytest/python.py:187)`
fn of_runner(frame: &str) -> Option<String> {
    let file = frame.rsplit_once(" (").map_or("", |(_, file)| file);
    RUNNER.iter().any(|it| file.starts_with(it)).then(|| "frames of pytest".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_pytest_are_counted_and_the_first_thread_comes_first() {
        let output = "Process 7: python3 -m pytest\nPython v3.11.7 (/usr/bin/python3.11)\n\n\
            Thread 9 (idle): \"Thread-1\"\n    accept (socket.py:294)\n\
            Thread 8 (active+gil): \"Thread-2\"\n    spin (test_x.py:9)\n\
            Thread 7 (idle): \"MainThread\"\n    helper (test_x.py:3)\n    test_checkout (test_x.py:6)\n    \
            pytest_pyfunc_call (_pytest/python.py:187)\n    _multicall (pluggy/_execution.py:147)\n    \
            <module> (pytest:8)\n";
        let sections = threads(output);
        let titles: Vec<_> = sections.iter().map(|it| it.title.as_str()).collect();
        let main = "Thread 7 (idle): \"MainThread\"";
        assert_eq!(titles, [main, "Thread 8 (active+gil): \"Thread-2\"", "Thread 9 (idle): \"Thread-1\""]);
        let lines = [
            "helper (test_x.py:3)",
            "test_checkout (test_x.py:6)",
            "… 2 frames of pytest",
            "<module> (pytest:8)",
        ];
        assert_eq!(sections[0].lines, lines);
    }

    #[test]
    fn an_error_is_no_stack() {
        assert!(
            threads("Error: Failed to get process executable name.\n\nStack backtrace:\n   0: x\n")
                .is_empty()
        );
    }
}
