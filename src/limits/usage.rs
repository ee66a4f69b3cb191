//! Reads a session's usage, and the limits that it hit, before its cgroups are removed.

use std::path::Path;

use serde::Serialize;

use super::applied_limits::AppliedLimits;
use super::figures::Figures;
use super::hit::{ComponentDirectory, LimitHit, SessionDirectories};
use super::kernel_log::Victim;
use super::{cpus, out_of_memory, pids};
use crate::containment::{Containment, Leaf, LeafName};

/// The usage of a session and its components.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Usage {
    pub session: Figures,
    pub components: Vec<Figures>,
    pub limits_hit: Vec<LimitHit>,
}

/// One component, to be measured.
pub(crate) struct MeasuredComponent<'a> {
    pub name: LeafName,
    pub leaf: &'a Leaf,
    /// Its first process, if a SIGKILL that was not ours killed it.
    pub killed: Option<Victim>,
}

impl MeasuredComponent<'_> {
    fn directory(&self) -> Option<ComponentDirectory> {
        let path = self.leaf.path()?.to_path_buf();
        Some(ComponentDirectory { name: self.name.title(), path, killed: self.killed.clone() })
    }
}

impl Usage {
    /// Reads the usage so far; `None` without a cgroup, because only cgroups measure it.
    pub(crate) fn read(
        containment: &Containment,
        limits: &AppliedLimits,
        components: &[MeasuredComponent<'_>],
    ) -> Option<Self> {
        let session = containment.path()?;
        let components: Vec<_> = components.iter().filter_map(MeasuredComponent::directory).collect();
        let components = if components.is_empty() { components_in(session) } else { components };
        let figures = components.iter().map(|it| Figures::read(&it.name, &it.path)).collect();
        let mut usage =
            Self { session: Figures::read("session", session), components: figures, limits_hit: Vec::new() };
        // A fork that the session's limit refuses is counted in the component for a moment.
        for component in &mut usage.components {
            component.processes_peak = component.processes_peak.min(usage.session.processes_peak);
        }
        if !limits.is_empty() {
            let directories = SessionDirectories { limits, session, components: &components };
            usage.limits_hit = out_of_memory::hits(&directories);
            usage.limits_hit.extend(pids::hits(&directories, &usage.components));
            usage.limits_hit.extend(cpus::hits(&directories));
        }
        Some(usage)
    }
}

/// The components of a session for the guardian, which knows only their directories. The command comes last.
fn components_in(session: &Path) -> Vec<ComponentDirectory> {
    let entries = std::fs::read_dir(session).into_iter().flatten().flatten();
    let mut found: Vec<(LeafName, ComponentDirectory)> = entries
        .filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()))
        .filter_map(|entry| {
            let name: LeafName = entry.file_name().to_str()?.parse().ok()?;
            let directory = ComponentDirectory { name: name.title(), path: entry.path(), killed: None };
            Some((name, directory))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.into_iter().map(|(_, directory)| directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guardian_finds_the_components_by_their_directories() {
        let directory = tempfile::tempdir().unwrap();
        for leaf in ["command", "service.web", "probe.web", "namespace", "of-the-command"] {
            std::fs::create_dir(directory.path().join(leaf)).unwrap();
        }
        let names: Vec<_> = components_in(directory.path()).into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["probe web", "service web", "command"]);
    }
}
