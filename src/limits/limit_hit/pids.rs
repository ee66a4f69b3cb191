//! No process more. Since Linux 6.11 the kernel counts that at the limit (`pids.events.local`); before,
//! in the cgroup in which the fork was, whichever limit above it was met.

use std::path::Path;

use super::{Place, Places, Struck};
use crate::limits::usage::{Figures, keyed, number};

pub(super) fn find(places: &Places<'_>, figures: &[Figures]) -> Vec<Struck> {
    let counted_at_the_limit = places.session.join("pids.events.local").exists();
    let refused = if counted_at_the_limit { at_limits(places) } else { at_forks(places) };
    let struck = refused.into_iter().filter(|it| it.refused > 0).map(|it| Struck::Pids {
        most: most(figures).filter(|_| it.of.is_none_or(|of| of == "session")),
        of: it.of.map(str::to_string),
        count: it.count,
        refused: it.refused,
    });
    struck.collect()
}

struct Refused<'a> {
    /// Nobody of the session where it lies above.
    of: Option<&'a str>,
    count: Option<u64>,
    refused: u64,
}

fn at_limits<'a>(places: &Places<'a>) -> Vec<Refused<'a>> {
    let limited = places.limited().filter(|(_, _, bounds)| bounds.pids.is_some());
    let refused = |path| keyed(path, "pids.events.local", "max").unwrap_or_default();
    limited
        .map(|(name, path, bounds)| Refused { of: Some(name), count: bounds.pids, refused: refused(path) })
        .collect()
}

fn at_forks<'a>(places: &Places<'a>) -> Vec<Refused<'a>> {
    let mut found: Vec<Refused<'a>> = Vec::new();
    for part in places.parts {
        let refused = keyed(&part.path, "pids.events", "max").unwrap_or_default();
        let (of, count) = met(places, part);
        match found.iter_mut().find(|it| it.of == of) {
            Some(it) => it.refused += refused,
            None => found.push(Refused { of, count, refused }),
        }
    }
    found
}

/// The limit that a fork in this part met, the nearest first.
fn met<'a>(places: &Places<'a>, part: &'a Place) -> (Option<&'a str>, Option<u64>) {
    let own = places.bounds(part).and_then(|bounds| bounds.pids).filter(|_| was_reached(&part.path));
    let session = places.limited.session.pids.filter(|_| was_reached(places.session));
    match (own, session) {
        (Some(own), _) => (Some(&part.name), Some(own)),
        (None, Some(session)) => (Some("session"), Some(session)),
        (None, None) => (None, None),
    }
}

/// Before Linux 6.1 that cannot be told, and our own limit is the likeliest.
fn was_reached(directory: &Path) -> bool {
    let peak = number(directory, "pids.peak");
    peak.is_none_or(|peak| number(directory, "pids.max").is_some_and(|most| peak >= most))
}

/// Who had most, where one had.
fn most(figures: &[Figures]) -> Option<String> {
    let peaks = figures.iter().filter_map(|it| Some((it.processes_peak?, &it.name)));
    let (peak, name) = peaks.clone().max()?;
    (peaks.filter(|it| it.0 == peak).count() == 1).then(|| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bounds::Bounds;
    use crate::limits::limit_hit::mock::Mock;

    fn limit(pids: Option<u64>) -> Bounds {
        Bounds { pids, ..Bounds::default() }
    }

    #[track_caller]
    fn assert_found(mock: &Mock, expected: &[(Option<&str>, Option<u64>, u64)]) {
        let found = find(&mock.places(), &[]);
        let expected = expected.iter().map(|&(of, count, refused)| {
            let of = of.map(str::to_string);
            Struck::Pids { of, count, refused, most: None }
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn counted_at_the_limit() {
        let mock = Mock::new(limit(Some(9)), limit(Some(5)));
        mock.write("", "pids.events.local", "max 2\n").write("service.web", "pids.events.local", "max 1\n");
        assert_found(&mock, &[(Some("session"), Some(9), 2), (Some("service web"), Some(5), 1)]);
    }

    #[test]
    fn counted_at_the_fork() {
        let mock = Mock::new(limit(Some(9)), limit(Some(5)));
        mock.write("", "pids.max", "9\n").write("service.web", "pids.max", "5\n");
        mock.write("service.web", "pids.events", "max 3\n").write("command", "pids.events", "max 4\n");
        let peaks = |session: &str, service: &str| {
            mock.write("", "pids.peak", session).write("service.web", "pids.peak", service);
        };
        peaks("9\n", "4\n");
        assert_found(&mock, &[(Some("session"), Some(9), 7)]);
        peaks("9\n", "5\n");
        assert_found(&mock, &[(Some("service web"), Some(5), 3), (Some("session"), Some(9), 4)]);
        peaks("8\n", "4\n");
        assert_found(&mock, &[(None, None, 7)]);
    }

    #[test]
    fn most_is_said_of_one_only() {
        let figures =
            |name: &str, processes_peak| Figures { name: name.into(), processes_peak, ..Figures::default() };
        assert_eq!(most(&[figures("command", None), figures("service web", None)]), None);
        assert_eq!(most(&[figures("command", Some(3)), figures("service web", Some(3))]), None);
        assert_eq!(
            most(&[figures("command", Some(4)), figures("service web", Some(3))]),
            Some("command".into())
        );
    }
}
