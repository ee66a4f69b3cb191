//! Describes the processes of a session: what each is, which test started it, and whether it is allowed to outlive the
//! command.

use std::collections::{BTreeMap, HashMap};

use rustix::process::Pid;

use super::reporting::ReportedTo;
use super::token::Token;
use crate::containment::{LeafName, MARKER};
use crate::leaks::allow::{self, ALLOWED, Pattern};
use crate::leaks::{Detail, How, InheritedMarks, LEAK_LOG, Leak, describe_all, infer_origins};
use crate::registry::{Members, Session};
use crate::sys::procfs::environ::{environ, variable, variables};
use crate::sys::procfs::stat::ProcStat;

/// The processes of a session, but for this one.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// All of them.
    pub members: HashMap<Pid, Member>,
    pub described: Vec<Listed>,
    /// How many others are alive.
    pub undescribed: usize,
}

#[derive(Debug)]
pub(super) struct Member {
    pub parent: Option<Pid>,
    pub component: Option<LeafName>,
}

impl Member {
    pub(super) fn is_of_command(&self) -> bool {
        is_of_command(self.component.as_ref())
    }
}

#[derive(Debug)]
pub(super) struct Listed {
    pub process: Leak,
    pub component: Option<LeafName>,
    pub is_allowed: bool,
}

impl Listed {
    pub(super) fn is_of_command(&self) -> bool {
        is_of_command(self.component.as_ref())
    }
}

fn is_of_command(component: Option<&LeafName>) -> bool {
    matches!(component, None | Some(LeafName::Command))
}

/// What is known of the session beside its processes.
pub(super) struct Surroundings {
    pub inherited: InheritedMarks,
    allowed: Vec<Pattern>,
    pub reported_to: ReportedTo,
}

impl Surroundings {
    pub(super) fn of(session: &Session, members: &Members) -> Self {
        let environ = session.root.and_then(|root| environ(root.process()).ok()).unwrap_or_default();
        let is_ours = std::env::var(MARKER).is_ok_and(|id| id == session.id.to_string());
        let id = Some(session.id.to_string().into());
        let of_session = |pid: &Pid| variable(*pid, MARKER) == id;
        let reader = match is_ours {
            true => Some(rustix::process::getpid()),
            false => members.found.keys().copied().find(of_session),
        };
        let [allowed, log] =
            reader.and_then(|it| variables(it, [ALLOWED, LEAK_LOG]).ok()).unwrap_or_default();
        let allowed = allowed.map(|text| allow::from_variable(&text.to_string_lossy()));
        Self {
            inherited: InheritedMarks::of_environ(&environ),
            allowed: allowed.unwrap_or_default(),
            reported_to: reader.map_or_else(ReportedTo::nobody, |reader| ReportedTo::said_by(reader, log)),
        }
    }
}

/// Describes those that are newer than the token, if there is one.
pub(super) fn list(members: Members, surroundings: &Surroundings, since: Option<Token>) -> Listing {
    let Members { found, hidden } = members;
    let mut listing = Listing { undescribed: hidden, ..Listing::default() };
    let mut by_component: BTreeMap<Option<LeafName>, Vec<Pid>> = BTreeMap::new();
    for (pid, component) in found.into_iter().filter(|(pid, _)| *pid != rustix::process::getpid()) {
        let stat = ProcStat::read(pid);
        // One that cannot be read may be hidden, or may have exited; whoever describes it finds out.
        if since.zip(stat.as_ref()).is_none_or(|(since, stat)| since.is_before(stat)) {
            by_component.entry(component.clone()).or_default().push(pid);
        }
        listing.members.insert(pid, Member { parent: stat.and_then(|stat| stat.parent), component });
    }
    let mut described = Vec::new();
    for (component, mut pids) in by_component {
        pids.sort_by_key(|pid| pid.as_raw_nonzero());
        let how = match component {
            Some(LeafName::Service(name)) => How::OutlivedService(name),
            Some(LeafName::Probe(name)) => How::OutlivedProbe(name),
            Some(LeafName::Command) | None => How::OutlivedCommand,
        };
        let snapshot = describe_all(pids, &how, &Detail::Listing(surroundings.inherited.clone()));
        listing.undescribed += snapshot.undescribed.len();
        described.extend(snapshot.described);
    }
    infer_origins(&mut described);
    let listed = |process: Leak| {
        let is_allowed = surroundings.allowed.iter().any(|pattern| pattern.allows(&process));
        let component = listing.members.get(&process.pid()).and_then(|it| it.component.clone());
        Listed { process, component, is_allowed }
    };
    listing.described = described.into_iter().map(listed).collect();
    listing
}
