//! Records for the reports when everything happened.

use std::time::{Duration, SystemTime};

use crate::plan::{PerService, ServiceId};
use crate::runtime::clock;
use crate::sys::time::{self, Instant};

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub started: Instant,
    pub started_at: SystemTime,
    /// In the order of the plan's services.
    pub services: PerService<ComponentTimes>,
    pub command: ComponentTimes,
    /// When the teardown started.
    pub teardown: Option<Duration>,
}

/// Times since the session started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ComponentTimes {
    pub started: Option<Duration>,
    pub ready: Option<Duration>,
    pub ended: Option<Duration>,
}

impl Timeline {
    pub(crate) fn start<T>(services: &PerService<T>) -> Self {
        Self {
            started: clock::now(),
            started_at: time::time_of_day(),
            services: services.map(|_| ComponentTimes::default()),
            command: ComponentTimes::default(),
            teardown: None,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        clock::since(self.started)
    }

    pub(crate) fn at(&self, then: Instant) -> Duration {
        then - self.started
    }

    pub(crate) fn service_started(&mut self, service: ServiceId) {
        self.services[service].started = Some(self.now());
    }

    pub(crate) fn service_ready(&mut self, service: ServiceId) {
        self.services[service].ready = Some(self.now());
    }

    pub(crate) fn service_ended(&mut self, service: ServiceId) {
        self.services[service].ended = Some(self.now());
    }
}
