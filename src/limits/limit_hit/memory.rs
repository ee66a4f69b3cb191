//! Out of memory. The kernel counts the want of it where the limit is, and above; the killed where they
//! were, and above.

use std::path::Path;

use super::{At, Killed, Place, Places, Struck};
use crate::limits::oom_log;
use crate::limits::usage::keyed;

/// What the kernel counted in one cgroup and all below.
#[derive(Default)]
struct Events {
    killed: u64,
    /// The one whose group is killed with it is counted twice.
    twice: u64,
    wanted: u64,
    /// In this cgroup alone.
    wanted_here: u64,
}

impl Events {
    fn of(directory: &Path) -> Self {
        let read = |key| keyed(directory, "memory.events", key).unwrap_or_default();
        let wanted_here = keyed(directory, "memory.events.local", "oom").unwrap_or_default();
        Self { killed: read("oom_kill"), twice: read("oom_group_kill"), wanted: read("oom"), wanted_here }
    }

    /// Who was killed in it, but not in `parts` of it.
    fn besides(self, parts: &Self) -> Self {
        Self {
            killed: self.killed.saturating_sub(parts.killed),
            twice: self.twice.saturating_sub(parts.twice),
            wanted: self.wanted.saturating_sub(parts.wanted),
            ..self
        }
    }

    fn processes(&self) -> u64 {
        self.killed.saturating_sub(self.twice).max(self.killed.min(1))
    }
}

pub(super) fn find(places: &Places<'_>) -> Vec<Struck> {
    let whole = Events::of(places.session);
    if whole.killed == 0 {
        return Vec::new();
    }
    let victims = oom_log::victims(places.session);
    let victim = |part: &Place| {
        let told = victims.iter().find(|(place, _)| place.is_in(&part.path));
        told.map(|(_, victim)| victim.clone()).or_else(|| part.killed.clone())
    };
    let mut struck = Vec::new();
    let mut rest = Vec::new();
    let mut parts = Events::default();
    for part in places.parts {
        let events = Events::of(&part.path);
        parts.killed += events.killed;
        parts.twice += events.twice;
        parts.wanted += events.wanted;
        if events.killed == 0 {
            continue;
        }
        let limit = places.bounds(part).and_then(|bounds| bounds.memory);
        let own = events.wanted_here > 0;
        if !own && events.wanted == 0 {
            rest.push((part, events.processes()));
            continue;
        }
        // We have its whole group killed, where the limit is ours.
        let processes = (!own || limit.is_none()).then_some(events.processes());
        struck.push(Struck::Memory {
            at: if own { At::Own } else { At::Below },
            of: Some(part.name.clone()),
            bytes: limit.filter(|_| own),
            killed: vec![Killed { part: part.name.clone(), processes }],
            victim: victim(part),
        });
    }
    // In cgroups that somebody has made in the session, beside ours.
    let strays = whole.besides(&parts);
    if rest.is_empty() && strays.killed == 0 {
        return struck;
    }
    let at = match strays.wanted_here > 0 {
        true => At::Own,
        false if strays.wanted > 0 => At::Below,
        false => At::Above,
    };
    let limit = places.limited.session.memory;
    let all = at != At::Below && limit.is_some();
    let dead = rest.iter().map(|(part, processes)| {
        let all = all || at != At::Below && places.bounds(part).is_some_and(|it| it.memory.is_some());
        Killed { part: part.name.clone(), processes: (!all).then_some(*processes) }
    });
    let of_session = |processes| Killed { part: "session".into(), processes };
    let killed = match strays.killed > 0 {
        true if all => vec![of_session(None)],
        true => dead.chain([of_session(Some(strays.processes()))]).collect(),
        false => dead.collect(),
    };
    let is_in_a_part = |place: &oom_log::Place| places.parts.iter().any(|part| place.is_in(&part.path));
    let first_stray = || victims.iter().find(|(place, _)| !is_in_a_part(place)).map(|(_, it)| it.clone());
    struck.push(Struck::Memory {
        at,
        of: (at != At::Above).then(|| "session".to_string()),
        bytes: limit.filter(|_| at == At::Own),
        killed,
        victim: rest.iter().find_map(|(part, _)| victim(part)).or_else(first_stray),
    });
    struck
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bounds::Bounds;
    use crate::limits::limit_hit::mock::Mock;

    fn limit(memory: Option<u64>) -> Bounds {
        Bounds { memory, ..Bounds::default() }
    }

    /// `memory.events` with so many killed, wanted in all, and wanted here.
    fn events(mock: &Mock, leaf: &str, killed: u64, wanted: u64, here: u64) {
        let text = format!("oom {wanted}\noom_kill {killed}\noom_group_kill 0\n");
        mock.write(leaf, "memory.events", &text).write(leaf, "memory.events.local", &format!("oom {here}\n"));
    }

    fn killed(part: &str, processes: Option<u64>) -> Killed {
        Killed { part: part.into(), processes }
    }

    /// Where, whose limit, of how many bytes, and who was killed.
    type Expected = (At, Option<&'static str>, Option<u64>, Vec<Killed>);

    #[track_caller]
    fn assert_found(mock: &Mock, expected: &[Expected]) {
        let found = find(&mock.places()).into_iter().map(|struck| match struck {
            Struck::Memory { at, of, bytes, killed, .. } => (at, of, bytes, killed),
            other => panic!("{other:?}"),
        });
        let expected = expected
            .iter()
            .cloned()
            .map(|(at, of, bytes, killed)| (at, of.map(str::to_string), bytes, killed));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn its_own_limit_and_that_of_a_part() {
        let mock = Mock::new(limit(Some(100)), limit(Some(50)));
        events(&mock, "", 5, 3, 1);
        events(&mock, "service.web", 2, 2, 2);
        events(&mock, "command", 3, 0, 0);
        assert_found(
            &mock,
            &[
                (At::Own, Some("service web"), Some(50), vec![killed("service web", None)]),
                (At::Own, Some("session"), Some(100), vec![killed("command", None)]),
            ],
        );
    }

    #[test]
    fn a_limit_below_is_not_one_above() {
        let mock = Mock::new(limit(None), limit(None));
        events(&mock, "", 2, 1, 0);
        events(&mock, "command", 2, 1, 0);
        assert_found(&mock, &[(At::Below, Some("command"), None, vec![killed("command", Some(2))])]);
        events(&mock, "", 2, 0, 0);
        events(&mock, "command", 2, 0, 0);
        assert_found(&mock, &[(At::Above, None, None, vec![killed("command", Some(2))])]);
    }

    #[test]
    fn all_of_a_part_is_claimed_only_where_we_asked_for_that() {
        let mock = Mock::new(limit(None), limit(Some(50)));
        events(&mock, "", 3, 0, 0);
        events(&mock, "service.web", 1, 0, 0);
        events(&mock, "command", 2, 0, 0);
        // As on a kernel that does not count groups.
        for leaf in ["", "service.web", "command"] {
            let path = mock.session.path().join(leaf).join("memory.events");
            let text = std::fs::read_to_string(&path).unwrap().replace("oom_group_kill 0\n", "");
            std::fs::write(path, text).unwrap();
        }
        assert_found(
            &mock,
            &[(At::Above, None, None, vec![killed("service web", None), killed("command", Some(2))])],
        );
    }

    #[test]
    fn those_in_a_cgroup_of_their_own_making_are_counted_too() {
        let mock = Mock::new(limit(Some(100)), limit(None));
        events(&mock, "", 3, 1, 1);
        assert_found(&mock, &[(At::Own, Some("session"), Some(100), vec![killed("session", None)])]);
        events(&mock, "", 3, 1, 0);
        assert_found(&mock, &[(At::Below, Some("session"), None, vec![killed("session", Some(3))])]);
        // The first victim, of the command, is counted twice there; it hides no other.
        events(&mock, "", 4, 1, 1);
        events(&mock, "command", 3, 0, 0);
        mock.write("", "memory.events", "oom 1\noom_kill 4\noom_group_kill 1\n");
        assert_found(&mock, &[(At::Own, Some("session"), Some(100), vec![killed("session", None)])]);
    }

    #[test]
    fn one_killed_with_its_group_counts_once() {
        let mock = Mock::new(limit(None), limit(None));
        events(&mock, "", 3, 1, 0);
        events(&mock, "command", 3, 1, 0);
        for leaf in ["", "command"] {
            mock.write(leaf, "memory.events", "oom 1\noom_kill 3\noom_group_kill 1\n");
        }
        assert_found(&mock, &[(At::Below, Some("command"), None, vec![killed("command", Some(2))])]);
    }
}
