//! Which of its limits a session met. Read before its cgroups are removed.

mod cpus;
mod memory;
mod pids;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::apply::Limited;
use super::bounds::Bounds;
use super::oom_log::Victim;
use super::usage::Figures;

/// A limit that was met. `of` is whose it is, named as in [`Figures`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "resource", rename_all = "lowercase")]
pub enum Struck {
    /// Processes were killed for want of memory.
    Memory {
        #[serde(rename = "level")]
        at: At,
        /// Absent where the limit lies above the session.
        #[serde(rename = "component", skip_serializing_if = "Option::is_none")]
        of: Option<String>,
        #[serde(rename = "limit_bytes", skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        killed: Vec<Killed>,
        /// The one that the kernel chose, where it can be known.
        #[serde(skip_serializing_if = "Option::is_none")]
        victim: Option<Victim>,
    },
    /// Processes or threads could not be started.
    Pids {
        /// Absent where the limit lies above the session.
        #[serde(rename = "component", skip_serializing_if = "Option::is_none")]
        of: Option<String>,
        #[serde(rename = "limit_processes", skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        #[serde(rename = "failed_forks")]
        refused: u64,
        /// Who had most of them.
        #[serde(rename = "largest_component", skip_serializing_if = "Option::is_none")]
        most: Option<String>,
    },
    /// It was kept from the CPUs.
    Cpus {
        #[serde(rename = "component")]
        of: String,
        #[serde(rename = "limit_cpus")]
        cpus: f64,
        throttled_usec: u64,
        #[serde(rename = "throttled_periods")]
        periods: u64,
        #[serde(rename = "total_periods")]
        of_periods: u64,
    },
}

/// Where the limit lies that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// It is the one of `of` itself.
    Own,
    /// It is that of a cgroup which was made in `of`, as a session in a session is.
    #[serde(rename = "descendant")]
    Below,
    /// It is that of a cgroup above the session, or all that the host has.
    #[serde(rename = "ancestor")]
    Above,
}

/// How many processes of a part were killed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Killed {
    #[serde(rename = "component")]
    pub part: String,
    /// Absent where all were.
    #[serde(rename = "process_count", skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

/// A part of a session, by its directory.
#[derive(Clone, Debug)]
pub struct Place {
    /// As in [`Figures`].
    pub name: String,
    pub path: PathBuf,
    /// Its first process, where a SIGKILL that was not ours has ended it.
    pub killed: Option<Victim>,
}

/// Looks at a session and its parts, whose figures are read already.
pub fn find(limited: &Limited, session: &Path, parts: &[Place], figures: &[Figures]) -> Vec<Struck> {
    let places = Places { limited, session, parts };
    let mut struck = memory::find(&places);
    struck.extend(pids::find(&places, figures));
    struck.extend(cpus::find(&places));
    struck
}

struct Places<'a> {
    limited: &'a Limited,
    session: &'a Path,
    parts: &'a [Place],
}

impl<'a> Places<'a> {
    /// The limits that a part has for itself.
    fn bounds(&self, part: &Place) -> Option<&'a Bounds> {
        self.limited.leaf(part.path.file_name()?.to_str()?)
    }

    /// The session, and the parts that have limits for themselves.
    fn limited(&self) -> impl Iterator<Item = (&'a str, &'a Path, &'a Bounds)> {
        let parts =
            self.parts.iter().filter_map(|part| Some((part.name.as_str(), &*part.path, self.bounds(part)?)));
        std::iter::once(("session", self.session, &self.limited.session)).chain(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_which_limit_it_was() {
        let struck = Struck::Memory {
            at: At::Own,
            of: Some("service web".into()),
            bytes: Some(1 << 20),
            killed: vec![Killed { part: "service web".into(), processes: None }],
            victim: Some(Victim { pid: 7, name: None }),
        };
        assert_eq!(
            serde_json::to_string(&struck).unwrap(),
            r#"{"resource":"memory","level":"own","component":"service web","limit_bytes":1048576,"killed":[{"component":"service web"}],"victim":{"pid":7}}"#
        );
    }
}

/// A session of plain files, as its cgroups would have them.
#[cfg(test)]
mod mock {
    use super::*;

    pub struct Mock {
        pub session: tempfile::TempDir,
        pub limited: Limited,
        pub parts: Vec<Place>,
    }

    impl Mock {
        /// With a command and a service, the latter within `service`.
        pub fn new(session: Bounds, service: Bounds) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let part = |name: &str, leaf: &str| {
                let path = directory.path().join(leaf);
                std::fs::create_dir(&path).unwrap();
                Place { name: name.into(), path, killed: None }
            };
            let parts = vec![part("service web", "service.web"), part("command", "command")];
            Self { limited: Limited::of(session, "service.web", service), parts, session: directory }
        }

        /// Writes a file of the session (``), or of a leaf.
        pub fn write(&self, leaf: &str, file: &str, text: &str) -> &Self {
            std::fs::write(self.session.path().join(leaf).join(file), text).unwrap();
            self
        }

        pub fn places(&self) -> Places<'_> {
            Places { limited: &self.limited, session: self.session.path(), parts: &self.parts }
        }
    }
}
