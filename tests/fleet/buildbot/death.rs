//! The ways to die that are drawn from.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Death {
    Exits,
    BuildStopped,
    RequestCancelled,
    Silent,
    TooLong,
    CgrunKilled,
    CgrunAndGuardianKilled,
    WorkerKilled,
    MasterKilled,
    MasterRestarted,
    /// The master was restarted while the build made ready.
    NeverRan,
}

use Death::{
    BuildStopped, CgrunAndGuardianKilled, CgrunKilled, Exits, MasterKilled, MasterRestarted, NeverRan,
    RequestCancelled, Silent, TooLong, WorkerKilled,
};

/// A restart of the master cancels all builds for good, so it is drawn now and then.
pub(super) const RARE: u32 = 25;

/// Those without a test of their own come first.
pub(super) const ALL: [Death; 9] = [
    RequestCancelled,
    CgrunKilled,
    Exits,
    BuildStopped,
    WorkerKilled,
    MasterKilled,
    Silent,
    TooLong,
    CgrunAndGuardianKilled,
];

impl Death {
    /// What the report of such a session says, if there is one.
    pub(super) fn cause(self) -> Option<&'static str> {
        match self {
            Exits => Some("command_ended"),
            BuildStopped | RequestCancelled | Silent | TooLong | MasterRestarted => Some("signal"),
            CgrunKilled => Some("supervisor_died"),
            CgrunAndGuardianKilled | NeverRan => None,
            WorkerKilled | MasterKilled => Some("command_ended"),
        }
    }
}
