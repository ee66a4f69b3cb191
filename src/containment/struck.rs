//! Which of its limits a session met. Read before its cgroups are removed.

use std::path::Path;

use serde::Serialize;

use super::bounds::Bounds;
use super::kmsg::{self, Victim};
use super::limits::Limited;
use super::usage::{Figures, Measured, keyed};

/// Less than this is how any busy program looks under a limit.
const WORTH_A_LINE: u64 = 100_000;

/// A limit that was met. `of` is whose it is, named as in [`Figures`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "limit", rename_all = "lowercase")]
pub enum Struck {
    /// Processes were killed for want of memory.
    Memory {
        /// Absent where it was not the session's own limit, but all of the host's memory.
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        killed: Vec<Killed>,
        /// The one that the kernel chose, where it can be known.
        #[serde(skip_serializing_if = "Option::is_none")]
        victim: Option<Victim>,
    },
    /// Processes or threads could not be started.
    Pids {
        of: String,
        count: u64,
        refused: u64,
        /// Who had most of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        most: Option<String>,
    },
    /// It was kept from the CPUs.
    Cpus { of: String, cpus: f64, throttled_usec: u64, periods: u64, of_periods: u64 },
}

/// How many processes of a part were killed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Killed {
    pub part: String,
    /// Absent where all were: the kernel counts the first one twice then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

/// Looks at a session and its parts, whose figures are read already.
pub fn find(
    limited: &Limited,
    session: &Path,
    parts: &[(&Measured<'_>, &Path)],
    figures: &[Figures],
) -> Vec<Struck> {
    let places = Places { limited, session, parts };
    let mut struck = places.out_of_memory();
    struck.extend(places.out_of_pids(figures));
    struck.extend(places.throttled());
    struck
}

struct Places<'a> {
    limited: &'a Limited,
    session: &'a Path,
    parts: &'a [(&'a Measured<'a>, &'a Path)],
}

impl<'a> Places<'a> {
    /// The parts that have limits of their own.
    fn limited_parts(&self) -> impl Iterator<Item = (&'a str, &'a Path, &'a Bounds)> {
        let limited = self.limited;
        self.parts.iter().filter_map(move |(part, path)| {
            Some((part.name.as_str(), *path, limited.leaf(path.file_name()?.to_str()?)?))
        })
    }

    /// And the session.
    fn limited(&self) -> impl Iterator<Item = (&'a str, &'a Path, &'a Bounds)> {
        std::iter::once(("session", self.session, &self.limited.session)).chain(self.limited_parts())
    }

    /// The kernel counts the want of memory where the limit is, and the killed where they were.
    fn out_of_memory(&self) -> Vec<Struck> {
        let killed_in = |path: &Path| keyed(path, "memory.events", "oom_kill").unwrap_or_default();
        if killed_in(self.session) == 0 {
            return Vec::new();
        }
        let one_by_one = keyed(self.session, "memory.events", "oom_group_kill") == Some(0);
        let victims = kmsg::victims(self.session);
        let mut left: Vec<_> = self.parts.to_vec();
        let mut struck = Vec::new();
        let mut strike = |of: Option<&str>, bytes, among: &[(&Measured<'_>, &Path)]| {
            let killed =
                among.iter().map(|(part, path)| (part, killed_in(path))).filter(|(_, count)| *count > 0);
            let killed: Vec<_> = killed
                .map(|(part, processes)| Killed {
                    part: part.name.clone(),
                    processes: one_by_one.then_some(processes),
                })
                .collect();
            let told = victims.iter().find(|(place, _)| among.iter().any(|(_, path)| place.is_in(path)));
            let seen = || {
                let mut dead = among.iter().filter(|(_, path)| killed_in(path) > 0);
                dead.find_map(|(part, _)| part.killed.clone())
            };
            let victim = told.map(|(_, victim)| victim.clone()).or_else(seen);
            if !killed.is_empty() {
                struck.push(Struck::Memory { of: of.map(str::to_string), bytes, killed, victim });
            }
        };
        for (name, path, bounds) in self.limited_parts() {
            if keyed(path, "memory.events.local", "oom").unwrap_or_default() > 0 {
                let (mine, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, it)| *it == path);
                strike(Some(name), bounds.memory, &mine);
                left = others;
            }
        }
        let ours = keyed(self.session, "memory.events.local", "oom").unwrap_or_default() > 0;
        strike(ours.then_some("session"), self.limited.session.memory.filter(|_| ours), &left);
        struck
    }

    /// Before Linux 6.11 the refusal was counted where the fork was, not where the limit is.
    fn out_of_pids(&self, figures: &[Figures]) -> Vec<Struck> {
        let refused = |path: &Path| {
            let local = keyed(path, "pids.events.local", "max");
            local.or_else(|| keyed(path, "pids.events", "max")).unwrap_or_default()
        };
        let counts_at_the_limit = self.session.join("pids.events.local").exists();
        let mut struck = Vec::new();
        for (name, path, bounds) in self.limited() {
            let Some(count) = bounds.pids else { continue };
            let is_session = path == self.session;
            let unlimited = |path: &Path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                self.limited.leaf(name).is_none_or(|bounds| bounds.pids.is_none())
            };
            let refused = if is_session && !counts_at_the_limit {
                self.parts.iter().filter(|(_, it)| unlimited(it)).map(|(_, it)| refused(it)).sum()
            } else {
                refused(path)
            };
            if refused > 0 {
                let most = figures.iter().max_by_key(|it| it.processes_peak).map(|it| it.name.clone());
                let most = most.filter(|_| is_session);
                struck.push(Struck::Pids { of: name.to_string(), count, refused, most });
            }
        }
        struck
    }

    fn throttled(&self) -> Vec<Struck> {
        let mut struck = Vec::new();
        for (name, path, bounds) in self.limited() {
            let Some(cpus) = bounds.cpus else { continue };
            let read = |key| keyed(path, "cpu.stat", key).unwrap_or_default();
            let throttled_usec = read("throttled_usec");
            if throttled_usec >= WORTH_A_LINE {
                struck.push(Struck::Cpus {
                    of: name.to_string(),
                    cpus,
                    throttled_usec,
                    periods: read("nr_throttled"),
                    of_periods: read("nr_periods"),
                });
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_which_limit_it_was() {
        let struck = Struck::Memory {
            of: Some("service web".into()),
            bytes: Some(1 << 20),
            killed: vec![Killed { part: "service web".into(), processes: None }],
            victim: Some(Victim { pid: 7, name: None }),
        };
        assert_eq!(
            serde_json::to_string(&struck).unwrap(),
            r#"{"limit":"memory","of":"service web","bytes":1048576,"killed":[{"part":"service web"}],"victim":{"pid":7}}"#
        );
    }
}
