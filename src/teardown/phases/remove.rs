//! Phase 6: the kernel refuses to remove a cgroup that holds a process, so removing it proves that it is empty.

use crate::runtime::clock;
use crate::teardown::running_teardown::Teardown;

impl Teardown<'_> {
    pub(in crate::teardown) fn remove(&mut self) {
        let deadline = clock::now() + self.context.kill_wait;
        loop {
            self.context.components.iter().for_each(|component| component.leaf.remove_if_empty());
            match self.context.containment.remove(self.context.kill_wait) {
                Ok(()) => return,
                // A process that a dead supervisor had just created has only now joined the cgroup.
                Err(error) if error.is_busy() && clock::now() < deadline => self.kill(),
                Err(error) => return self.verdict.unknown(error),
            }
        }
    }
}
