//! The test that a living process runs, or was started during.

use std::cell::RefCell;

use super::attribution::OriginReader;
use super::origin::Origin;
use super::runners::InheritedMarks;
use crate::sys::procfs::stat::ProcStat;

/// Reads the tests of processes, one after the other.
#[derive(Debug)]
pub(crate) struct TestReader(RefCell<OriginReader>);

#[derive(Debug)]
pub(crate) struct CurrentTest {
    pub origin: Origin,
    /// Whether the process is the runner itself, which is running this test now.
    pub is_running: bool,
}

impl TestReader {
    pub(crate) fn new(inherited: InheritedMarks) -> Self {
        Self(RefCell::new(OriginReader::new(inherited)))
    }

    /// `None` if the process has no mark of a test.
    pub(crate) fn of(&self, stat: &ProcStat) -> Option<CurrentTest> {
        let mut reader = self.0.borrow_mut();
        let started = reader.read(stat).origin;
        let now = reader.read_memory(stat);
        let has_changed = |now: &Origin| {
            !stat.is_forked && started.as_ref().is_none_or(|started| started.to_string() != now.to_string())
        };
        match now {
            Some(now) if has_changed(&now) => Some(CurrentTest { origin: now, is_running: true }),
            _ => started.map(|origin| CurrentTest { origin, is_running: false }),
        }
    }
}
