//! The creations that were passed on and not answered yet.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sys::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    count: usize,
    is_closed: bool,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Creating<'a>(&'a Pending);

impl Pending {
    /// `None` if the session is ending.
    pub(super) fn begin(&self) -> Option<Creating<'_>> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        state.count += 1;
        Some(Creating(self))
    }

    /// Lets no further one begin, and waits until none is left. Returns whether that is so.
    pub(super) fn close(&self, limit: Duration) -> bool {
        let began = Instant::now();
        let mut state = self.lock();
        state.is_closed = true;
        while state.count > 0 {
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.0.lock().count -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_what_has_begun_and_lets_nothing_else_begin() {
        let pending = Pending::default();
        let creating = pending.begin().unwrap();
        assert!(!pending.close(Duration::from_millis(10)));
        assert!(pending.begin().is_none());
        std::thread::scope(|scope| {
            scope.spawn(|| drop(creating));
            assert!(pending.close(Duration::from_secs(60)));
        });
    }
}
