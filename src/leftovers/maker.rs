//! The processes that are known to be of the session.

use std::collections::BTreeSet;
use std::time::SystemTime;

use rustix::process::Pid;

use crate::leaks::Leak;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::system_v::Object;
use crate::sys::time::since_1970;

/// A process of the session, and for how long its pid was its own.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    pub pid: Pid,
    pub text: String,
    pub test: Option<String>,
    /// In seconds since 1970.
    since: u64,
    /// `None` if another process can have had its pid soon after `since`.
    until: Option<u64>,
    /// The segments that were seen attached to it.
    attached: BTreeSet<i32>,
}

impl Maker {
    /// The first process of a component, which is our child: nobody else has its pid before it is reaped.
    pub(crate) fn leader(pid: Pid, what: &str, since: SystemTime, until: Option<SystemTime>) -> Self {
        Self {
            pid,
            text: format!("pid {pid} ({what})"),
            test: None,
            since: seconds(since),
            until: until.map(seconds),
            attached: BTreeSet::new(),
        }
    }

    /// A leak was alive when the teardown began, unless a hook has ended it before.
    pub(crate) fn leak(leak: &Leak, teardown_began: SystemTime) -> Self {
        Self {
            pid: leak.pid(),
            text: format!("pid {} ({})", leak.pid(), leak.process.command_for_people(100)),
            test: leak.started_during.as_ref().map(ToString::to_string),
            since: seconds(leak.stat.started_at()),
            until: leak.ended_by().is_none().then(|| seconds(teardown_began)),
            attached: leak.held.segments.clone(),
        }
    }

    /// Whether an object that is new has the pid of this process, from a time when it can have been its own.
    pub(super) fn may_have_made(&self, object: &Object) -> bool {
        object.creator == Some(self.pid) && self.since <= object.changed
    }

    /// Whether the pid was its own, at that time, for certain.
    pub(super) fn has_made(&self, object: &Object) -> bool {
        let was_its_own =
            self.until.is_some_and(|it| object.changed <= it) || self.attached.contains(&object.id);
        self.may_have_made(object) && was_its_own
    }
}

/// Whether the process with this pid is so old, or may be.
pub(super) fn is_alive_since(pid: Pid, time: u64) -> bool {
    match ProcStat::read(pid) {
        Some(stat) => seconds(stat.started_at()) <= time,
        // /proc can hide it (hidepid).
        None => Process::exists(pid),
    }
}

fn seconds(time: SystemTime) -> u64 {
    since_1970(time).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::system_v::ObjectKind;

    fn object(changed: u64) -> Object {
        Object {
            kind: ObjectKind::SharedMemory,
            id: 7,
            key: 0,
            uid: 0,
            bytes: None,
            creator: Pid::from_raw(100),
            users: Vec::new(),
            attached: 0,
            changed,
        }
    }

    fn maker(pid: i32, since: u64, until: Option<u64>, attached: &[i32]) -> Maker {
        let attached = attached.iter().copied().collect();
        Maker { pid: Pid::from_raw(pid).unwrap(), text: String::new(), test: None, since, until, attached }
    }

    #[test]
    fn only_while_the_pid_was_its_own_it_has_made_it() {
        assert!(maker(100, 5, Some(9), &[]).has_made(&object(5)));
        assert!(maker(100, 5, Some(9), &[]).has_made(&object(9)));
        assert!(!maker(100, 5, Some(9), &[]).has_made(&object(4)));
        assert!(!maker(100, 5, Some(9), &[]).has_made(&object(10)));
        assert!(!maker(101, 5, Some(9), &[]).has_made(&object(7)));
        assert!(maker(100, 5, Some(9), &[7]).has_made(&object(10)));
        assert!(!maker(100, 5, Some(9), &[7]).has_made(&object(4)));
    }

    #[test]
    fn without_an_end_another_process_can_have_the_pid_now() {
        let ended = maker(100, 5, None, &[]);
        assert!(ended.may_have_made(&object(7)) && !ended.has_made(&object(7)));
    }
}
