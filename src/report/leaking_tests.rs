//! The tests that leaked, for the reports.

use std::path::Path;

use serde::Serialize;

use super::by_test::{LeakGroup, title};
use super::container_text::{known, new};
use super::locate::TestLocator;
use crate::containers::Container;
use crate::leaks::{Origin, Owner, program};
use crate::leftovers::Leftover;

/// A test during which leaked processes were started, or containers created, or a worker if the runner names only that.
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
    pub leaked_container_count: usize,
    pub containers: Vec<LeakedContainer>,
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

/// What a test left running in a container engine. The leftovers say more.
#[derive(Debug, Serialize)]
pub(crate) struct LeakedContainer {
    pub engine: &'static str,
    pub name: String,
    pub image: String,
    /// The key by which other runs recognize what it runs.
    pub program: String,
    /// Whether the baseline lists it.
    pub known: bool,
    pub ports: Vec<u16>,
}

/// In the order of the groups, the worst first, and those that leaked only containers after them. `here` is the session's
/// directory.
pub(super) fn leaking_tests(
    groups: &[LeakGroup<'_>],
    leftovers: &[Leftover],
    here: &Path,
    locator: &mut TestLocator,
) -> Vec<LeakingTest> {
    let of_runner = groups.iter().filter(|group| group.is_of_runner());
    let mut tests: Vec<_> = of_runner
        .filter_map(|group| Some((group.owner.clone(), leaking_test(group, here, locator)?)))
        .collect();
    for leaked in [new(leftovers), known(leftovers)].concat() {
        let (Some(origin), Some(container)) = (&leaked.origin, &leaked.container) else { continue };
        let owner = Owner::of_origin(Some(origin));
        let at = tests.iter().position(|(it, _)| *it == owner).unwrap_or_else(|| {
            tests.push((owner, LeakingTest::new(origin, locator)));
            tests.len() - 1
        });
        tests[at].1.add(origin, LeakedContainer::new(container, leaked.known));
    }
    let mut tests: Vec<_> = tests.into_iter().map(|(_, test)| test).collect();
    tests.sort_by_key(LeakingTest::is_known);
    tests
}

fn leaking_test(group: &LeakGroup<'_>, here: &Path, locator: &mut TestLocator) -> Option<LeakingTest> {
    let origin = group.trees.first()?.leak.started_during.as_ref()?;
    let programs = group.programs(here).into_iter().map(|it| LeakedProgram {
        program: it.trees.first().map_or_else(String::new, |tree| program(&tree.leak.process.command, here)),
        known: it.trees.iter().all(|tree| tree.leak.is_known),
        pids: it.trees.iter().map(|tree| tree.leak.pid().as_raw_nonzero().get()).collect(),
        process_count: it.size(),
        listening_on: it.trees.iter().flat_map(|tree| tree.leak.listening.clone()).collect(),
        command: it.command,
    });
    Some(LeakingTest {
        phases: group.phases().into_iter().map(str::to_string).collect(),
        leaked_process_count: group.size(),
        programs: programs.collect(),
        text: group.title(),
        ..LeakingTest::new(origin, locator)
    })
}

impl LeakingTest {
    /// Without what it has leaked.
    fn new(origin: &Origin, locator: &mut TestLocator) -> Self {
        let (file, line) = locator.file_and_line(origin);
        Self {
            runner: origin.runner,
            test: origin.test.clone(),
            worker: origin.worker.clone(),
            phases: Vec::new(),
            file,
            line,
            leaked_process_count: 0,
            programs: Vec::new(),
            leaked_container_count: 0,
            containers: Vec::new(),
            text: String::new(),
        }
    }

    fn add(&mut self, origin: &Origin, container: LeakedContainer) {
        if let Some(phase) = origin.phase.as_ref().filter(|it| !self.phases.contains(it)) {
            self.phases.push(phase.clone());
        }
        self.text = title(&Owner::of_origin(Some(origin)), &mut self.phases);
        self.leaked_container_count += 1;
        self.containers.push(container);
    }

    pub(super) fn is_of(&self, origin: &Origin) -> bool {
        self.runner == origin.runner && self.test.is_some() && self.test == origin.test
    }

    fn is_known(&self) -> bool {
        self.programs.iter().all(|it| it.known) && self.containers.iter().all(|it| it.known)
    }
}

impl LeakedContainer {
    fn new(container: &Container, known: bool) -> Self {
        let Container { engine, name, image, program, ports, .. } = container.clone();
        Self { engine, name, image, program, known, ports }
    }
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
