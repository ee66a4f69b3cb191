//! The suite that the engines run and kill (`scripts/lib/fleet_suite.py`). Who of it is alive is asked of the kernel's
//! file locks: without cgrun, and through every namespace.

use std::path::{Path, PathBuf};

use crate::harness::until;
use crate::witness::locks;

/// Runs of the suite that share a directory.
pub(super) struct Suites(PathBuf);

impl Suites {
    pub(super) fn within(directory: &Path) -> Self {
        std::fs::create_dir_all(directory.join("registered")).unwrap();
        Self(directory.to_path_buf())
    }

    /// The words that run one of them for so many seconds.
    pub(super) fn command(&self, seed: u32, seconds: f64) -> Vec<String> {
        let script = super::root().join("scripts/lib/fleet_suite.py");
        ["python3".into(), script, self.0.clone()]
            .map(|it| it.to_str().unwrap().to_string())
            .into_iter()
            .chain([seed.to_string(), seconds.to_string()])
            .collect()
    }

    pub(super) fn has_started(&self, seed: u32) -> bool {
        self.0.join(format!("started-{seed}")).exists()
    }

    /// Whether it ran to its end, instead of being ended.
    pub(super) fn has_ended(&self, seed: u32) -> bool {
        self.0.join(format!("ended-{seed}")).exists()
    }

    /// The processes of all of them that are alive, one file each.
    pub(super) fn alive(&self) -> Vec<PathBuf> {
        locks::held(&self.0.join("registered")).unwrap()
    }

    pub(super) fn until_started(&self, seed: u32) {
        until(&format!("suite {seed} has started"), || self.has_started(seed));
    }

    pub(super) fn until_all_are_gone(&self) {
        until("no process of a suite is alive", || self.alive().is_empty());
    }
}

/// The suite leaves processes, and the locks show them.
#[test]
fn the_suite_of_the_fleet_leaks() {
    let session = crate::harness::Session::new();
    let suites = Suites::within(session.path());
    let done = session.options(["--grace", "300ms"]).command(suites.command(7, 0.0)).run();
    assert!(suites.has_ended(7));
    assert!(done.stderr().contains("leaked"), "{}", done.stderr());
    let registered = std::fs::read_dir(suites.0.join("registered")).unwrap().count();
    assert!(registered > 2, "{registered}");
    suites.until_all_are_gone();
}
