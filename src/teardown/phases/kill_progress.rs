//! Tells whether killed processes are still exiting or stuck in the kernel.

use std::time::Duration;

use crate::runtime::clock;
use crate::sys::time::Instant;

/// After this time, progress no longer extends the deadline.
const BUSY: Duration = Duration::from_secs(30);

/// While the number of processes decreases, the kernel is busy and not stuck.
pub(super) struct KillProgress {
    wait: Duration,
    began: Instant,
    deadline: Instant,
    fewest: usize,
}

impl KillProgress {
    /// The processes count as stuck if none of them exits for `wait`.
    pub(super) fn new(wait: Duration) -> Self {
        let began = clock::now();
        Self { wait, began, deadline: began + wait, fewest: usize::MAX }
    }

    /// The time at which they count as stuck, unless one exits before then.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether they are stuck, given how many are left now.
    pub(super) fn is_stuck(&mut self, left: usize) -> bool {
        let now = clock::now();
        if left < self.fewest && now < self.began + BUSY {
            self.fewest = left;
            self.deadline = now + self.wait;
        }
        now >= self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::time;

    #[test]
    fn killed_processes_are_stuck_only_if_their_number_does_not_decrease() {
        let wait = Duration::from_millis(100);
        let mut progress = KillProgress::new(wait);
        assert!(!progress.is_stuck(9));
        for left in [8, 7] {
            time::sleep(wait);
            assert!(!progress.is_stuck(left), "{left} are left");
        }
        time::sleep(wait);
        assert!(progress.is_stuck(7));
        // A count that could not be read.
        assert!(KillProgress::new(Duration::ZERO).is_stuck(usize::MAX));
    }
}
