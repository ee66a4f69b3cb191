//! Who has asked for something: the test and the service of the process at the other end of a connection.

use std::os::fd::AsFd;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::process::Pid;

use crate::containment::{LEAF, LeafName, MARKER};
use crate::leaks::{InheritedMarks, Origin, TestReader};
use crate::sys::procfs::environ::variables;
use crate::sys::procfs::stat::ProcStat;

/// A client that a test starts through a few shells and wrappers.
const GENERATIONS: usize = 20;

/// The session whose processes ask.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub session: String,
    pub supervisor: Pid,
    /// The marks that the supervisor itself was started with.
    pub inherited: InheritedMarks,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Creator {
    pub test: Option<Origin>,
    pub service: Option<String>,
}

impl Creator {
    /// What is known of the process that has connected, or else of its parents.
    pub(super) fn of(connection: impl AsFd, family: &Family) -> Self {
        let Some(pid) = peer(&connection) else { return Self::default() };
        let tests = TestReader::new(family.inherited.clone());
        let mut creator = Self::default();
        let parents = std::iter::successors(ProcStat::read(pid), |stat| ProcStat::read(stat.parent?));
        for stat in parents.take(GENERATIONS).take_while(|it| it.pid != family.supervisor) {
            if creator.test.is_none() {
                creator.test = tests.of(&stat).map(|it| it.origin);
            }
            if creator.service.is_none() {
                creator.service = service(stat.pid, &family.session);
            }
            if creator.test.is_some() && creator.service.is_some() {
                break;
            }
        }
        creator
    }
}

/// The kernel reports 0 for a process that we cannot see.
fn peer(connection: &impl AsFd) -> Option<Pid> {
    Pid::from_raw(getsockopt(connection, PeerCredentials).ok()?.pid())
}

fn service(pid: Pid, session: &str) -> Option<String> {
    let [marker, leaf] = variables(pid, [MARKER, LEAF]).ok()?;
    // In a session within this one, the variable names a leaf of that one.
    let leaf = leaf.filter(|_| marker.is_some_and(|it| it == session))?;
    match leaf.to_str()?.parse().ok()? {
        LeafName::Service(name) => Some(name),
        _ => None,
    }
}
