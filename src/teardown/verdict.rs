//! The findings of a teardown. Nothing counts as clean until it is known to be clean.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use rustix::process::Pid;

use crate::containers::EngineObject;
use crate::leaks::allow::{self, Pattern};
use crate::leaks::{How, Leak, Logged, Snapshot, describe_one};
use crate::limits::Usage;
use crate::ports::Holding;
use crate::runtime::clock;
use crate::sys::procfs::details::pids_in_namespaces;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::ProcessKey;
use crate::sys::time::Instant;

/// How long to read the command lines of processes that are only counted, to find out whether they are allowed.
const READ: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub leaks: Vec<Leak>,
    /// The leaked processes that are not described one by one.
    pub undescribed: HashSet<Pid>,
    /// How many leaks that were ended before the teardown are not described.
    pub undescribed_before: usize,
    /// Processes that the user allows to outlive the command. They are stopped too.
    pub allowed: Vec<Leak>,
    pub allow: Vec<Pattern>,
    /// What the tests are allowed to leave running, by the leak log.
    pub allowed_by_tests: HashSet<(i32, u64)>,
    /// Those of them that were found.
    pub allowed_parents: HashSet<Pid>,
    /// Leaks that the baseline lists, which do not count; `None` if there is no baseline.
    pub in_baseline: Option<Vec<Leak>>,
    /// What the session had created by way of container engines, and is gone now.
    pub objects: Vec<EngineObject>,
    /// Processes that could not be stopped. Normally there are none.
    pub survivors: Vec<String>,
    /// Checks that could not be completed, which also means not clean.
    pub unknown: Vec<String>,
    /// Watched ports that a process outside the session holds. They are reported and left alone.
    pub strangers: Vec<Holding>,
    /// How long the teardown took.
    pub took: Duration,
    /// The phases that were run, and when each ended.
    pub phases: Vec<(&'static str, Instant)>,
    /// One span per component.
    pub spans: Vec<Span>,
    /// Whether the command was killed because it did not exit within the grace, or the user did not want to wait.
    pub command_killed: bool,
    /// The session's usage and the limits that it hit, if requested and measurable.
    pub usage: Option<Usage>,
}

/// When a component was asked to exit, and when its last process was gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub asked: Option<Instant>,
    pub gone: Option<Instant>,
}

impl Verdict {
    pub(crate) fn new(allow: &[Pattern]) -> Self {
        Self { allow: allow.to_vec(), ..Self::default() }
    }

    /// Notes that a phase of the teardown is over.
    pub(crate) fn end_phase(&mut self, phase: &'static str) {
        self.phases.push((phase, clock::now()));
    }

    /// The span of the component with this index.
    pub(crate) fn span(&mut self, component: usize) -> &mut Span {
        if self.spans.len() <= component {
            self.spans.resize(component + 1, Span::default());
        }
        &mut self.spans[component]
    }

    /// Whether it is known that nothing survived.
    pub(crate) fn is_proven(&self) -> bool {
        self.survivors.is_empty() && self.unknown.is_empty()
    }

    /// The leaks that the baseline lists.
    pub(crate) fn known_leaks(&self) -> &[Leak] {
        self.in_baseline.as_deref().unwrap_or_default()
    }

    /// Lets the leaks that are marked as known count no more.
    pub(crate) fn set_known_leaks_aside(&mut self) {
        let (known, new) = std::mem::take(&mut self.leaks).into_iter().partition(|leak| leak.is_known);
        self.leaks = new;
        self.in_baseline.get_or_insert_default().extend::<Vec<Leak>>(known);
    }

    /// How many processes leaked that are not known.
    pub(crate) fn leaked(&self) -> usize {
        self.leaks.len() + self.undescribed_count()
    }

    /// How many containers leaked that are not known.
    pub(crate) fn leaked_containers(&self) -> usize {
        self.objects.iter().filter(|it| it.leaked && !it.is_known).count()
    }

    /// The leaked containers that the baseline lists.
    pub(crate) fn known_containers(&self) -> impl Iterator<Item = &EngineObject> {
        self.objects.iter().filter(|it| it.leaked && it.is_known)
    }

    /// Whether something leaked that the baseline lists.
    pub(crate) fn has_known_leaks(&self) -> bool {
        !self.known_leaks().is_empty() || self.known_containers().next().is_some()
    }

    /// Whether anything leaked that is not known.
    pub(crate) fn has_leaks(&self) -> bool {
        self.leaked() > 0 || self.leaked_containers() > 0
    }

    /// How many leaked processes are not described.
    pub(crate) fn undescribed_count(&self) -> usize {
        self.undescribed.len() + self.undescribed_before
    }

    /// The leaks that are neither known nor were ended before the teardown.
    pub(crate) fn found(&self) -> Vec<&Leak> {
        self.leaks.iter().filter(|leak| leak.ended_by().is_none()).collect()
    }

    /// The leaks that are not known and were ended before the teardown.
    pub(crate) fn ended_before(&self) -> Vec<&Leak> {
        self.leaks.iter().filter(|leak| leak.ended_by().is_some()).collect()
    }

    /// Notes what hooks of test runners have ended. What is allowed they do not end.
    pub(crate) fn add_logged(&mut self, logged: Logged) {
        self.leaks.extend(logged.ended);
        self.undescribed_before += logged.undescribed;
    }

    /// Notes the processes of a snapshot as leaked, unless they are known or allowed.
    pub(crate) fn add_leaks(&mut self, crowd: Snapshot) {
        let deadline = clock::now() + READ;
        for it in crowd.undescribed {
            let has_time = clock::now() < deadline;
            if !allow::allows_undescribed(&self.allow, &it, has_time) {
                self.undescribed.insert(it.pid);
            }
        }
        let known: HashSet<_> = self.known().collect();
        for (pid, _) in &known {
            self.undescribed.remove(pid);
        }
        let new = crowd.described.into_iter().filter(|leak| !known.contains(&leak.key()));
        new.for_each(|leak| self.note(leak));
    }

    fn known(&self) -> impl Iterator<Item = ProcessKey> {
        self.leaks.iter().chain(&self.allowed).map(Leak::key)
    }

    /// Notes a leak, either as counted or as allowed, which may have been counted without a description.
    fn note(&mut self, leak: Leak) {
        self.undescribed.remove(&leak.pid());
        let is_allowed =
            self.allow.iter().any(|pattern| pattern.allows(&leak)) || self.is_allowed_by_test(&leak);
        if is_allowed { self.allowed.push(leak) } else { self.leaks.push(leak) }
    }

    /// What such a process has started is allowed with it. Must be called while it is alive.
    fn is_allowed_by_test(&mut self, leak: &Leak) -> bool {
        let started = leak.stat.started;
        let is_candidate = self.allowed_by_tests.iter().any(|(_, it)| *it == started);
        let pids = if is_candidate { pids_in_namespaces(leak.pid()) } else { Vec::new() };
        let is_listed = pids.into_iter().any(|pid| self.allowed_by_tests.contains(&(pid, started)));
        let is_allowed = is_listed || leak.stat.parent.is_some_and(|it| self.allowed_parents.contains(&it));
        if is_allowed {
            self.allowed_parents.insert(leak.pid());
        }
        is_allowed
    }

    /// Marks the leaks that were asked to exit and did not.
    pub(crate) fn had_to_be_killed(&mut self, was_asked_in_vain: impl Fn(ProcessKey) -> bool) {
        let all = self.leaks.iter_mut().chain(&mut self.allowed);
        all.filter(|leak| was_asked_in_vain(leak.key())).for_each(|leak| leak.had_to_be_killed = true);
    }

    /// Describes a single process and notes it as leaked, unless it is known. Must be called before it is
    /// asked to exit.
    pub(crate) fn add_leak(&mut self, how: How, process: ProcessInfo) {
        let pid = process.pid;
        match describe_one(how, process) {
            Some(leak) if self.known().any(|it| it == leak.key()) => {}
            Some(leak) => self.note(leak),
            None if self.known().any(|(it, _)| it == pid) => {}
            None => drop(self.undescribed.insert(pid)),
        }
    }

    /// The reasons why the session is not proven clean.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.survivors.iter().chain(&self.unknown).cloned().collect()
    }

    /// Notes an error as something that could not be determined.
    pub(crate) fn unknown(&mut self, error: impl fmt::Display) {
        let text = error.to_string();
        if !self.unknown.contains(&text) {
            self.unknown.push(text);
        }
    }

    /// The value, or `None` after noting the error.
    pub(crate) fn expect<T, E: fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.unknown(error)).ok()
    }
}
