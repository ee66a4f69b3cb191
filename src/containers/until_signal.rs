//! Waiting that ends when cgrun is asked to exit: before a session has begun there is nothing to tear down.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use super::exchange::Waiting;
use crate::runtime::events::Wake;
use crate::sys::signals::Signals;
use crate::sys::time::Instant;

/// The signals must be blocked. Without a signalfd, they are noticed later.
pub(crate) struct UntilSignal(Option<Signals>);

impl UntilSignal {
    pub(crate) fn new() -> Self {
        Self(Signals::about_ending().ok())
    }

    fn wake(&self) -> Option<Wake<'_>> {
        self.0.as_ref().map(|it| Wake::readable(it.as_fd()))
    }

    /// Takes the signal that has come.
    pub(crate) fn signal(self) -> Option<Signal> {
        self.0?.next().ok().flatten().map(|(caught, _)| caught.signal)
    }
}

impl Waiting for UntilSignal {
    fn wait(&mut self, wakes: &[Wake<'_>], until: Instant) {
        let all: Vec<_> = wakes.iter().copied().chain(self.wake()).collect();
        Wake::wait_for_any(&all, until);
    }

    fn is_urgent(&self) -> bool {
        self.wake().is_some_and(|it| it.is_ready())
    }
}
