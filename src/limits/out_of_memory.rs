//! Finds out whether a session ran out of memory. The kernel counts a shortage in the cgroup whose limit was
//! hit and in all above it, and a killed process in its own cgroup and in all above it.

use std::path::Path;

use super::hit::{ComponentDirectory, KilledProcesses, Level, LimitHit, SessionDirectories};
use super::kernel_log::{self, VictimCgroup};
use crate::containment::cgroup::files::read_keyed;

/// The kernel's counters for one cgroup and all below it.
#[derive(Clone, Copy, Default)]
struct MemoryEvents {
    killed: u64,
    /// Victims that the kernel counts twice, because it kills the group of a victim.
    counted_twice: u64,
    shortages: u64,
    /// Shortages in this cgroup alone.
    own_shortages: u64,
}

impl MemoryEvents {
    fn read(directory: &Path) -> Self {
        let read = |key| read_keyed(directory, "memory.events", key).unwrap_or_default();
        Self {
            killed: read("oom_kill"),
            counted_twice: read("oom_group_kill"),
            shortages: read("oom"),
            own_shortages: read_keyed(directory, "memory.events.local", "oom").unwrap_or_default(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.killed += other.killed;
        self.counted_twice += other.counted_twice;
        self.shortages += other.shortages;
    }

    /// The counts of the session, without those of its components.
    fn outside(self, components: &Self) -> Self {
        Self {
            killed: self.killed.saturating_sub(components.killed),
            counted_twice: self.counted_twice.saturating_sub(components.counted_twice),
            shortages: self.shortages.saturating_sub(components.shortages),
            ..self
        }
    }

    fn process_count(&self) -> u64 {
        self.killed.saturating_sub(self.counted_twice).max(self.killed.min(1))
    }
}

/// The victims of a session, by their cgroup.
struct Victims<'a> {
    logged: Vec<(VictimCgroup, kernel_log::Victim)>,
    components: &'a [ComponentDirectory],
}

impl Victims<'_> {
    fn of_component(&self, component: &ComponentDirectory) -> Option<kernel_log::Victim> {
        let logged = self.logged.iter().find(|(cgroup, _)| cgroup.is_in(&component.path));
        logged.map(|(_, victim)| victim.clone()).or_else(|| component.killed.clone())
    }

    /// The first victim that is in none of the components.
    fn elsewhere(&self) -> Option<kernel_log::Victim> {
        let is_in_a_component =
            |cgroup: &VictimCgroup| self.components.iter().any(|component| cgroup.is_in(&component.path));
        self.logged.iter().find(|(cgroup, _)| !is_in_a_component(cgroup)).map(|(_, victim)| victim.clone())
    }
}

/// The memory limits that were hit: those of components first, then the session's or one above.
pub(super) fn hits(directories: &SessionDirectories<'_>) -> Vec<LimitHit> {
    let session = MemoryEvents::read(directories.session);
    if session.killed == 0 {
        return Vec::new();
    }
    let victims =
        Victims { logged: kernel_log::victims(directories.session), components: directories.components };
    let mut hits = Vec::new();
    let mut in_components = MemoryEvents::default();
    // Processes that were killed, but not because of a limit in their own component.
    let mut unexplained = Vec::new();
    for component in directories.components {
        let events = MemoryEvents::read(&component.path);
        in_components.add(&events);
        if events.killed == 0 {
            continue;
        }
        if events.own_shortages == 0 && events.shortages == 0 {
            unexplained.push((component, events.process_count()));
            continue;
        }
        hits.push(component_hit(directories, component, &events, &victims));
    }
    // Processes in other cgroups, which something in the session created beside ours.
    let outside = session.outside(&in_components);
    if !unexplained.is_empty() || outside.killed > 0 {
        hits.push(session_hit(directories, &unexplained, &outside, &victims));
    }
    hits
}

/// A component hit its own limit, or one that was set inside it.
fn component_hit(
    directories: &SessionDirectories<'_>,
    component: &ComponentDirectory,
    events: &MemoryEvents,
    victims: &Victims<'_>,
) -> LimitHit {
    let limit = directories.bounds(component).and_then(|bounds| bounds.memory);
    let own = events.own_shortages > 0;
    // If the limit is ours, so was memory.oom.group: all of the component was killed.
    let process_count = (!own || limit.is_none()).then_some(events.process_count());
    LimitHit::Memory {
        level: if own { Level::Own } else { Level::Descendant },
        component: Some(component.name.clone()),
        limit_bytes: limit.filter(|_| own),
        killed: vec![KilledProcesses { component: component.name.clone(), process_count }],
        victim: victims.of_component(component),
    }
}

/// The session hit its own limit, one inside it but in no component, or one above it.
fn session_hit(
    directories: &SessionDirectories<'_>,
    unexplained: &[(&ComponentDirectory, u64)],
    outside: &MemoryEvents,
    victims: &Victims<'_>,
) -> LimitHit {
    let level = match outside.own_shortages > 0 {
        true => Level::Own,
        false if outside.shortages > 0 => Level::Descendant,
        false => Level::Ancestor,
    };
    let limit = directories.limits.session.memory;
    let all_killed = level != Level::Descendant && limit.is_some();
    let in_components = unexplained.iter().map(|(component, count)| {
        let limited = directories.bounds(component).is_some_and(|bounds| bounds.memory.is_some());
        let all = all_killed || level != Level::Descendant && limited;
        KilledProcesses { component: component.name.clone(), process_count: (!all).then_some(*count) }
    });
    let in_session = |process_count| KilledProcesses { component: "session".into(), process_count };
    let killed = match outside.killed > 0 {
        true if all_killed => vec![in_session(None)],
        true => in_components.chain([in_session(Some(outside.process_count()))]).collect(),
        false => in_components.collect(),
    };
    let in_component = unexplained.iter().find_map(|(component, _)| victims.of_component(component));
    LimitHit::Memory {
        level,
        component: (level != Level::Ancestor).then(|| "session".to_string()),
        limit_bytes: limit.filter(|_| level == Level::Own),
        killed,
        victim: in_component.or_else(|| victims.elsewhere()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bounds::Bounds;
    use crate::limits::hit::fake_session::FakeSession;

    fn limit(memory: Option<u64>) -> Bounds {
        Bounds { memory, ..Bounds::default() }
    }

    /// Writes how many processes were killed, and how often memory was short, in total and in this cgroup.
    fn events(session: &FakeSession, leaf: &str, killed: u64, wanted: u64, here: u64) {
        let text = format!("oom {wanted}\noom_kill {killed}\noom_group_kill 0\n");
        session.write(leaf, "memory.events", &text).write(
            leaf,
            "memory.events.local",
            &format!("oom {here}\n"),
        );
    }

    fn killed(component: &str, process_count: Option<u64>) -> KilledProcesses {
        KilledProcesses { component: component.into(), process_count }
    }

    /// The level, the owner of the limit, its bytes, and the killed processes.
    type Expected = (Level, Option<&'static str>, Option<u64>, Vec<KilledProcesses>);

    #[track_caller]
    fn assert_found(session: &FakeSession, expected: &[Expected]) {
        let found = hits(&session.directories()).into_iter().map(|hit| match hit {
            LimitHit::Memory { level, component, limit_bytes, killed, .. } => {
                (level, component, limit_bytes, killed)
            }
            other => panic!("{other:?}"),
        });
        let expected = expected
            .iter()
            .cloned()
            .map(|(level, component, bytes, killed)| (level, component.map(str::to_string), bytes, killed));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_session_and_a_component_hit_their_own_limits() {
        let session = FakeSession::new(limit(Some(100)), limit(Some(50)));
        events(&session, "", 5, 3, 1);
        events(&session, "service.web", 2, 2, 2);
        events(&session, "command", 3, 0, 0);
        assert_found(
            &session,
            &[
                (Level::Own, Some("service web"), Some(50), vec![killed("service web", None)]),
                (Level::Own, Some("session"), Some(100), vec![killed("command", None)]),
            ],
        );
    }

    #[test]
    fn a_limit_inside_a_component_is_distinguished_from_one_above_the_session() {
        let session = FakeSession::new(limit(None), limit(None));
        events(&session, "", 2, 1, 0);
        events(&session, "command", 2, 1, 0);
        assert_found(
            &session,
            &[(Level::Descendant, Some("command"), None, vec![killed("command", Some(2))])],
        );
        events(&session, "", 2, 0, 0);
        events(&session, "command", 2, 0, 0);
        assert_found(&session, &[(Level::Ancestor, None, None, vec![killed("command", Some(2))])]);
    }

    #[test]
    fn a_whole_component_is_reported_only_if_we_set_its_group() {
        let session = FakeSession::new(limit(None), limit(Some(50)));
        events(&session, "", 3, 0, 0);
        events(&session, "service.web", 1, 0, 0);
        events(&session, "command", 2, 0, 0);
        // As on a kernel that does not count group kills.
        for leaf in ["", "service.web", "command"] {
            let path = session.directory.path().join(leaf).join("memory.events");
            let text = std::fs::read_to_string(&path).unwrap().replace("oom_group_kill 0\n", "");
            std::fs::write(path, text).unwrap();
        }
        assert_found(
            &session,
            &[(Level::Ancestor, None, None, vec![killed("service web", None), killed("command", Some(2))])],
        );
    }

    #[test]
    fn processes_in_other_cgroups_of_the_session_are_counted() {
        let session = FakeSession::new(limit(Some(100)), limit(None));
        events(&session, "", 3, 1, 1);
        assert_found(&session, &[(Level::Own, Some("session"), Some(100), vec![killed("session", None)])]);
        events(&session, "", 3, 1, 0);
        assert_found(
            &session,
            &[(Level::Descendant, Some("session"), None, vec![killed("session", Some(3))])],
        );
        // The first victim is the command's and is counted twice there, but must not hide any other.
        events(&session, "", 4, 1, 1);
        events(&session, "command", 3, 0, 0);
        session.write("", "memory.events", "oom 1\noom_kill 4\noom_group_kill 1\n");
        assert_found(&session, &[(Level::Own, Some("session"), Some(100), vec![killed("session", None)])]);
    }

    #[test]
    fn a_victim_killed_with_its_group_counts_once() {
        let session = FakeSession::new(limit(None), limit(None));
        events(&session, "", 3, 1, 0);
        events(&session, "command", 3, 1, 0);
        for leaf in ["", "command"] {
            session.write(leaf, "memory.events", "oom 1\noom_kill 3\noom_group_kill 1\n");
        }
        assert_found(
            &session,
            &[(Level::Descendant, Some("command"), None, vec![killed("command", Some(2))])],
        );
    }
}
