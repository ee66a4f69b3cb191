//! What happened when, for a report: remembered as it happens, in a few words each.

use std::time::{Duration, Instant, SystemTime};

use crate::runtime::clock;

#[derive(Clone, Debug)]
pub struct Timeline {
    pub begin: Instant,
    pub begin_by_calendar: SystemTime,
    /// One for each service of the plan.
    pub services: Vec<Times>,
    pub command: Times,
    /// When the session was to end.
    pub end: Option<Duration>,
}

/// All since the session's begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub started: Option<Duration>,
    pub ready: Option<Duration>,
    pub ended: Option<Duration>,
}

impl Timeline {
    pub fn begin(services: usize) -> Self {
        Self {
            begin: clock::now(),
            begin_by_calendar: SystemTime::now(),
            services: vec![Times::default(); services],
            command: Times::default(),
            end: None,
        }
    }

    pub fn now(&self) -> Duration {
        clock::since(self.begin)
    }

    pub fn at(&self, then: Instant) -> Duration {
        then.saturating_duration_since(self.begin)
    }

    pub fn service_started(&mut self, service: usize) {
        self.services[service].started = Some(self.now());
    }

    pub fn service_ready(&mut self, service: usize) {
        self.services[service].ready = Some(self.now());
    }

    pub fn service_ended(&mut self, service: usize) {
        self.services[service].ended = Some(self.now());
    }
}
