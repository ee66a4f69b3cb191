//! What a session leaves that is not a process.

use std::ffi::OsString;
use std::path::PathBuf;

use super::running_session::Session;
use crate::containers::{self, Started, Surroundings};
use crate::leftovers::{self, Leftovers, Maker, Scene};
use crate::sys::process::identity::ActingAs;
use crate::sys::procfs::descriptors::own_streams;
use crate::sys::time::time_of_day;
use crate::teardown::{Component, Role, Verdict};

impl Session<'_> {
    /// The first processes of the components, and until when their pids were their own. Must be called before the teardown,
    /// which reaps them.
    pub(super) fn leaders(&self) -> Vec<Maker> {
        let leader = |it: &Component| {
            let what = match it.role {
                Role::Command => "the command".to_string(),
                Role::Service => format!("service {}", it.name),
                Role::Probe => format!("the readiness command of service {}", it.name),
            };
            let until = if it.status.is_none() { Some(time_of_day()) } else { it.reaped };
            Maker::leader(it.leader.pid, &what, it.started, until)
        };
        self.context.components.iter().map(leader).collect()
    }

    pub(super) fn look_for_leftovers(&self, verdict: &Verdict, leaders: Vec<Maker>) -> Leftovers {
        let began = self.timeline.started_at + self.timeline.teardown.unwrap_or_default();
        let leaks: Vec<_> = verdict.leaks.iter().chain(&verdict.allowed).collect();
        let makers = leaks.iter().map(|leak| Maker::leak(leak, began)).chain(leaders).collect();
        let user =
            self.plan.identity.as_ref().and_then(|it| it.user.as_ref()).map(|(user, _)| user.uid.as_raw());
        let tmp = self.record.scratch.as_ref().map(|it| it.path.clone());
        let own = [self.plan.cwd.clone(), self.plan.state.clone()].into_iter().chain(tmp);
        // A shell can have made them just before.
        let streams = own_streams().into_iter().flatten().map(PathBuf::from);
        let reports = self.reports.iter().flat_map(|it| it.own_files());
        let scene = Scene {
            makers,
            leaks,
            uid: user.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
            meant: own.chain(self.plan.logs.clone()).chain(reports).chain(streams).collect(),
            is_proven: verdict.is_proven(),
            containers: self.started_containers(),
        };
        Leftovers { ends_containers: self.plan.containers, ..leftovers::look(&self.before, scene) }
    }

    /// Asks with the rights of the session's user, and where its processes would ask.
    fn started_containers(&self) -> Started {
        if self.context.components.is_empty() {
            return Started::default();
        }
        let usual = Surroundings::new(|name| self.env.get(name).map(OsString::from));
        let surroundings = self.engines.surroundings.as_ref().unwrap_or(&usual);
        match ActingAs::session_user(self.plan.identity.as_ref()) {
            Ok(_user) => containers::started_after(self.timeline.started_at, surroundings),
            Err(errno) => Started {
                unknown: vec![format!("cannot switch to the session's user: {errno}")],
                ..Started::default()
            },
        }
    }
}
