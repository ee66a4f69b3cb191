//! The tests that leaked, for the reports.

use std::path::Path;

use serde::Serialize;

use super::by_test::LeakGroup;
use super::locate::TestLocator;
use crate::leaks::program;

/// A test during which leaked processes were started, or a worker if the runner names only that.
#[derive(Debug, Serialize)]
pub(crate) struct LeakingTest {
    pub runner: &'static str,
    pub test: Option<String>,
    pub worker: Option<String>,
    pub phases: Vec<String>,
    pub file: Option<String>,
    pub line: Option<usize>,
    pub leaked_process_count: usize,
    pub programs: Vec<LeakedProgram>,
    /// The test and its phases, or the worker, as text.
    #[serde(skip)]
    pub text: String,
}

/// What a test left running of one program.
#[derive(Debug, Serialize)]
pub(crate) struct LeakedProgram {
    pub command: String,
    /// The key by which other runs recognize what they run.
    pub program: String,
    /// Whether the baseline lists all of them.
    pub known: bool,
    /// Without their descendants.
    pub pids: Vec<i32>,
    /// With their descendants.
    pub process_count: usize,
    pub listening_on: Vec<String>,
}

/// In the order of the groups: the worst first. `here` is the session's directory.
pub(super) fn leaking_tests(
    groups: &[LeakGroup<'_>],
    here: &Path,
    locator: &mut TestLocator,
) -> Vec<LeakingTest> {
    let tests = groups.iter().filter(|group| group.is_of_runner());
    tests.filter_map(|group| leaking_test(group, here, locator)).collect()
}

fn leaking_test(group: &LeakGroup<'_>, here: &Path, locator: &mut TestLocator) -> Option<LeakingTest> {
    let origin = group.trees.first()?.leak.started_during.as_ref()?;
    let (file, line) = locator.file_and_line(origin);
    let programs = group.programs(here).into_iter().map(|it| LeakedProgram {
        program: it.trees.first().map_or_else(String::new, |tree| program(&tree.leak.process.command, here)),
        known: it.trees.iter().all(|tree| tree.leak.is_known),
        pids: it.trees.iter().map(|tree| tree.leak.pid().as_raw_nonzero().get()).collect(),
        process_count: it.size(),
        listening_on: it.trees.iter().flat_map(|tree| tree.leak.listening.clone()).collect(),
        command: it.command,
    });
    Some(LeakingTest {
        runner: origin.runner,
        test: origin.test.clone(),
        worker: origin.worker.clone(),
        phases: group.phases().into_iter().map(str::to_string).collect(),
        file,
        line,
        leaked_process_count: group.size(),
        programs: programs.collect(),
        text: group.title(),
    })
}

impl LeakedProgram {
    /// `3 x python3 mail.py`
    pub(super) fn text(&self) -> String {
        match self.pids.len() {
            1 => self.command.clone(),
            count => format!("{count} x {}", self.command),
        }
    }
}
