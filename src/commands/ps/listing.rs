//! Describes the processes of a session: what each is, which test started it, and whether it is allowed to outlive the
//! command.

use std::collections::BTreeMap;

use anyhow::Result;
use rustix::process::Pid;

use super::members::{Members, members};
use super::session::Session;
use crate::containment::{LeafName, MARKER};
use crate::leaks::allow::{self, ALLOWED, Pattern};
use crate::leaks::{Detail, How, InheritedMarks, Leak, describe_all, infer_origins};
use crate::sys::procfs::environ::{environ, variable};

/// The described processes of a session.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub processes: Vec<Listed>,
    /// How many others are alive.
    pub undescribed: usize,
}

#[derive(Debug)]
pub(super) struct Listed {
    pub process: Leak,
    pub component: Option<LeafName>,
    pub is_allowed: bool,
}

impl Listed {
    pub(super) fn is_of_command(&self) -> bool {
        matches!(self.component, None | Some(LeafName::Command))
    }
}

/// What is known of the session beside its processes.
pub(super) struct Surroundings {
    pub inherited: InheritedMarks,
    allowed: Vec<Pattern>,
}

impl Surroundings {
    pub(super) fn of(session: &Session) -> Result<Self> {
        let environ = session.root.and_then(|root| environ(root.process()).ok()).unwrap_or_default();
        let is_ours = std::env::var(MARKER).is_ok_and(|id| id == session.id.to_string());
        let allowed = if is_ours {
            std::env::var_os(ALLOWED)
        } else {
            let id = Some(session.id.to_string().into());
            let of_session = |pid: &Pid| variable(*pid, MARKER) == id;
            members(session)?.found.into_keys().find(of_session).and_then(|pid| variable(pid, ALLOWED))
        };
        let allowed = allowed.map(|text| allow::from_variable(&text.to_string_lossy()));
        Ok(Self { inherited: InheritedMarks::of_environ(&environ), allowed: allowed.unwrap_or_default() })
    }
}

/// All processes of the session but this one.
pub(super) fn list(session: &Session, surroundings: &Surroundings) -> Result<Listing> {
    let Members { found, hidden } = members(session)?;
    let mut by_component: BTreeMap<Option<LeafName>, Vec<Pid>> = BTreeMap::new();
    for (pid, component) in found.into_iter().filter(|(pid, _)| *pid != rustix::process::getpid()) {
        by_component.entry(component).or_default().push(pid);
    }
    let mut described = Vec::new();
    let mut components = Vec::new();
    let mut undescribed = hidden;
    for (component, mut pids) in by_component {
        pids.sort_by_key(|pid| pid.as_raw_nonzero());
        let how = match &component {
            Some(LeafName::Service(name)) => How::OutlivedService(name.clone()),
            Some(LeafName::Probe(name)) => How::OutlivedProbe(name.clone()),
            Some(LeafName::Command) | None => How::OutlivedCommand,
        };
        let snapshot = describe_all(pids, &how, &Detail::Listing(surroundings.inherited.clone()));
        undescribed += snapshot.undescribed.len();
        components.extend(snapshot.described.iter().map(|_| component.clone()));
        described.extend(snapshot.described);
    }
    infer_origins(&mut described);
    let listed = |(process, component): (Leak, Option<LeafName>)| {
        let is_allowed = surroundings.allowed.iter().any(|pattern| pattern.allows(&process));
        Listed { process, component, is_allowed }
    };
    Ok(Listing { processes: described.into_iter().zip(components).map(listed).collect(), undescribed })
}
