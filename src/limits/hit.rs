//! The limits that a session hit, and the cgroups from which they are read. Read before the session's cgroups
//! are removed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::applied_limits::AppliedLimits;
use super::bounds::Bounds;
use super::kernel_log::Victim;

/// A limit that was hit. `component` is the owner of the limit, named as in
/// [`Figures`](super::figures::Figures).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "resource", rename_all = "lowercase")]
pub(crate) enum LimitHit {
    /// Processes were killed because memory ran out.
    Memory {
        level: Level,
        /// Absent if the limit belongs to a cgroup above the session.
        #[serde(skip_serializing_if = "Option::is_none")]
        component: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit_bytes: Option<u64>,
        killed: Vec<KilledProcesses>,
        /// The process that the kernel chose, if that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        victim: Option<Victim>,
    },
    /// Processes or threads could not be started.
    Pids {
        /// Absent if the limit belongs to a cgroup above the session.
        #[serde(skip_serializing_if = "Option::is_none")]
        component: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit_processes: Option<u64>,
        failed_forks: u64,
        /// The component that had the most processes.
        #[serde(skip_serializing_if = "Option::is_none")]
        largest_component: Option<String>,
    },
    /// Processes were throttled.
    Cpus {
        component: String,
        limit_cpus: f64,
        throttled_usec: u64,
        throttled_periods: u64,
        total_periods: u64,
    },
}

/// Where the limit was set, relative to `component`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// In its own cgroup.
    Own,
    /// In a cgroup created inside it, such as a nested session.
    Descendant,
    /// In a cgroup above the session, or by the host's total.
    Ancestor,
}

/// How many processes of a component were killed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct KilledProcesses {
    pub component: String,
    /// Absent if all of its processes were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_count: Option<u64>,
}

/// The cgroup of one component.
#[derive(Clone, Debug)]
pub(super) struct ComponentDirectory {
    /// As in [`Figures`](super::figures::Figures).
    pub name: String,
    pub path: PathBuf,
    /// Its first process, if a SIGKILL that was not ours killed it.
    pub killed: Option<Victim>,
}

/// The cgroups of a limited session.
pub(super) struct SessionDirectories<'a> {
    pub limits: &'a AppliedLimits,
    pub session: &'a Path,
    pub components: &'a [ComponentDirectory],
}

impl<'a> SessionDirectories<'a> {
    /// The limits of one component.
    pub(super) fn bounds(&self, component: &ComponentDirectory) -> Option<&'a Bounds> {
        self.limits.leaf(&component.path.file_name()?.to_str()?.parse().ok()?)
    }

    /// The session, and the components that have limits of their own.
    pub(super) fn limited(&self) -> impl Iterator<Item = (&'a str, &'a Path, &'a Bounds)> {
        let components =
            self.components.iter().filter_map(|it| Some((it.name.as_str(), &*it.path, self.bounds(it)?)));
        std::iter::once(("session", self.session, &self.limits.session)).chain(components)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_names_the_limit() {
        let hit = LimitHit::Memory {
            level: Level::Own,
            component: Some("service web".into()),
            limit_bytes: Some(1 << 20),
            killed: vec![KilledProcesses { component: "service web".into(), process_count: None }],
            victim: Some(Victim { pid: 7, name: None }),
        };
        assert_eq!(
            serde_json::to_string(&hit).unwrap(),
            r#"{"resource":"memory","level":"own","component":"service web","limit_bytes":1048576,"killed":[{"component":"service web"}],"victim":{"pid":7}}"#
        );
    }
}

/// A fake session of plain files, named like the files of its cgroups.
#[cfg(test)]
pub(super) mod fake_session {
    use super::*;
    use crate::containment::LeafName;

    pub(crate) struct FakeSession {
        pub directory: tempfile::TempDir,
        limits: AppliedLimits,
        components: Vec<ComponentDirectory>,
    }

    impl FakeSession {
        /// Creates a session with a command and a service, which is limited to `service`.
        pub(crate) fn new(session: Bounds, service: Bounds) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let names = [LeafName::Service("web".into()), LeafName::Command];
            let components = names.each_ref().map(|leaf| {
                let path = directory.path().join(leaf.to_string());
                std::fs::create_dir(&path).unwrap();
                ComponentDirectory { name: leaf.title(), path, killed: None }
            });
            let limits = AppliedLimits::of(session, names[0].clone(), service);
            Self { limits, components: components.into(), directory }
        }

        /// Writes a file of a leaf, or of the session if `leaf` is empty.
        pub(crate) fn write(&self, leaf: &str, file: &str, text: &str) -> &Self {
            std::fs::write(self.directory.path().join(leaf).join(file), text).unwrap();
            self
        }

        pub(crate) fn directories(&self) -> SessionDirectories<'_> {
            SessionDirectories {
                limits: &self.limits,
                session: self.directory.path(),
                components: &self.components,
            }
        }
    }
}
