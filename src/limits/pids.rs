//! Limits how many processes and threads can run at once, and reports whether the limit was hit.
//!
//! Since Linux 6.11 the kernel counts a failed fork in the cgroup whose limit was hit (`pids.events.local`).
//! Before, it counted it in the cgroup of the forking process, whichever limit above it was hit.

use std::path::Path;
use std::str::FromStr;

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::pid::PidController;

use super::figures::Figures;
use super::hit::{ComponentDirectory, LimitHit, SessionDirectories};
use super::limit::Limit;
use super::limit_file::{LimitFile, signed};
use super::number::whole;
use super::refused::Refused;
use crate::containment::cgroup::files::{read_keyed, read_number};

/// The kernel's own maximum (`PID_MAX_LIMIT`, linux/threads.h).
const MOST_PIDS: u64 = 4 << 20;

/// How many processes and threads can run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pids(pub u64);

impl FromStr for Pids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match whole(text) {
            Some(0) => Err("a limit of 0 lets no process start; the minimum is 1".into()),
            Some(count) if count <= MOST_PIDS => Ok(Self(count)),
            Some(_) => Err(format!("the kernel allows at most {MOST_PIDS} processes; use fewer")),
            None => Err(format!(
                "invalid number of processes {text:?}; write a whole number from 1 to {MOST_PIDS}"
            )),
        }
    }
}

/// Limits the processes and threads of a cgroup.
pub(super) fn set_pids(directory: &Path, count: u64) -> Result<(), Refused> {
    let file = LimitFile::new(directory, Limit::Pids);
    let set = PidController::new(file.path(), file.path(), true).set_pid_max(MaxValue::Value(signed(count)));
    file.check("pids.max", set, |text| text == count.to_string())
}

/// The process limits that were hit.
pub(super) fn hits(directories: &SessionDirectories<'_>, figures: &[Figures]) -> Vec<LimitHit> {
    let counted_at_the_limit = directories.session.join("pids.events.local").exists();
    let failed = if counted_at_the_limit { at_limits(directories) } else { at_forks(directories) };
    let hits = failed.into_iter().filter(|it| it.forks > 0).map(|it| LimitHit::Pids {
        largest_component: largest(figures).filter(|_| it.component.is_none_or(|it| it == "session")),
        component: it.component.map(str::to_string),
        limit_processes: it.limit,
        failed_forks: it.forks,
    });
    hits.collect()
}

struct FailedForks<'a> {
    /// The owner of the limit; `None` if it is above the session.
    component: Option<&'a str>,
    limit: Option<u64>,
    forks: u64,
}

fn at_limits<'a>(directories: &SessionDirectories<'a>) -> Vec<FailedForks<'a>> {
    let limited = directories.limited().filter(|(_, _, bounds)| bounds.pids.is_some());
    let forks = |path| read_keyed(path, "pids.events.local", "max").unwrap_or_default();
    limited
        .map(|(name, path, bounds)| FailedForks {
            component: Some(name),
            limit: bounds.pids,
            forks: forks(path),
        })
        .collect()
}

fn at_forks<'a>(directories: &SessionDirectories<'a>) -> Vec<FailedForks<'a>> {
    let mut found: Vec<FailedForks<'a>> = Vec::new();
    for directory in directories.components {
        let forks = read_keyed(&directory.path, "pids.events", "max").unwrap_or_default();
        let (component, limit) = nearest_limit(directories, directory);
        match found.iter_mut().find(|it| it.component == component) {
            Some(it) => it.forks += forks,
            None => found.push(FailedForks { component, limit, forks }),
        }
    }
    found
}

/// The limit that stopped a fork in this component.
fn nearest_limit<'a>(
    directories: &SessionDirectories<'a>,
    component: &'a ComponentDirectory,
) -> (Option<&'a str>, Option<u64>) {
    let own = directories.bounds(component).and_then(|bounds| bounds.pids);
    let own = own.filter(|_| was_reached(&component.path));
    let session = directories.limits.session.pids.filter(|_| was_reached(directories.session));
    match (own, session) {
        (Some(own), _) => (Some(&component.name), Some(own)),
        (None, Some(session)) => (Some("session"), Some(session)),
        (None, None) => (None, None),
    }
}

/// Whether the limit was reached. Before Linux 6.1, which added `pids.peak`, this is unknown, and we assume
/// that it was.
fn was_reached(directory: &Path) -> bool {
    let peak = read_number(directory, "pids.peak");
    peak.is_none_or(|peak| read_number(directory, "pids.max").is_some_and(|most| peak >= most))
}

/// The component that had the most processes, unless several are tied.
fn largest(figures: &[Figures]) -> Option<String> {
    let peaks = figures.iter().filter_map(|it| Some((it.processes_peak?, &it.name)));
    let (peak, name) = peaks.clone().max()?;
    (peaks.filter(|it| it.0 == peak).count() == 1).then(|| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bounds::Bounds;
    use crate::limits::hit::fake_session::FakeSession;

    fn limit(pids: Option<u64>) -> Bounds {
        Bounds { pids, ..Bounds::default() }
    }

    #[track_caller]
    fn assert_found(session: &FakeSession, expected: &[(Option<&str>, Option<u64>, u64)]) {
        let found = hits(&session.directories(), &[]);
        let expected = expected.iter().map(|&(component, limit_processes, failed_forks)| LimitHit::Pids {
            component: component.map(str::to_string),
            limit_processes,
            failed_forks,
            largest_component: None,
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn the_kernel_may_count_at_the_limit() {
        let session = FakeSession::new(limit(Some(9)), limit(Some(5)));
        session.write("", "pids.events.local", "max 2\n").write(
            "service.web",
            "pids.events.local",
            "max 1\n",
        );
        assert_found(&session, &[(Some("session"), Some(9), 2), (Some("service web"), Some(5), 1)]);
    }

    #[test]
    fn the_kernel_may_count_at_the_fork() {
        let session = FakeSession::new(limit(Some(9)), limit(Some(5)));
        session.write("", "pids.max", "9\n").write("service.web", "pids.max", "5\n");
        session.write("service.web", "pids.events", "max 3\n").write("command", "pids.events", "max 4\n");
        let peaks = |whole: &str, service: &str| {
            session.write("", "pids.peak", whole).write("service.web", "pids.peak", service);
        };
        peaks("9\n", "4\n");
        assert_found(&session, &[(Some("session"), Some(9), 7)]);
        peaks("9\n", "5\n");
        assert_found(&session, &[(Some("service web"), Some(5), 3), (Some("session"), Some(9), 4)]);
        peaks("8\n", "4\n");
        assert_found(&session, &[(None, None, 7)]);
    }

    #[test]
    fn only_one_component_can_be_the_largest() {
        let figures =
            |name: &str, processes_peak| Figures { name: name.into(), processes_peak, ..Figures::default() };
        assert_eq!(largest(&[figures("command", None), figures("service web", None)]), None);
        assert_eq!(largest(&[figures("command", Some(3)), figures("service web", Some(3))]), None);
        assert_eq!(
            largest(&[figures("command", Some(4)), figures("service web", Some(3))]),
            Some("command".into())
        );
    }

    #[test]
    fn an_invalid_number_of_processes_is_refused() {
        for text in ["", "-1", "0", "1.5", "many", "99999999999999999999", "5000000", "+5"] {
            assert!(text.parse::<Pids>().is_err(), "{text}");
        }
    }
}
