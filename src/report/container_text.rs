//! What a session had created by way of container engines, as text.

use std::cmp::Reverse;
use std::time::Duration;

use super::leftover_text::ports;
use crate::containers::Container;
use crate::leftovers::{Fate, Leftover, LeftoverKind};
use crate::text::{age, counted, processes, readable, shorten};

/// The name of a test, of an image and of a container are not shown longer than this (characters).
const LONGEST: usize = 160;

/// A headline, and the lines of the leaked containers. `has_baseline`: in contrast to those that it lists.
pub(super) fn leaked(
    leftovers: &[Leftover],
    has_baseline: bool,
    listed: usize,
) -> Option<(String, Vec<String>)> {
    let leaked = new(leftovers);
    if leaked.is_empty() {
        return None;
    }
    let noun = if has_baseline { "new container" } else { "container" };
    let headline = format!("{} leaked, stopped and removed:", counted(leaked.len() as u64, noun));
    Some((headline, self::lines(&leaked, listed)))
}

/// A line for each container with the test that created it, and with its last words below it.
pub(super) fn lines(leaked: &[&Leftover], listed: usize) -> Vec<String> {
    let some_test_is_known = leaked.iter().any(|it| it.started_during.is_some());
    let mut lines = Vec::new();
    for it in leaked.iter().take(listed) {
        let test = test(it).or(some_test_is_known.then(|| "an unknown test".into()));
        let test = test.map(|test| format!("{test}: ")).unwrap_or_default();
        lines.push(format!("  {test}{}", what(it)));
        lines.extend(last_words(it).map(|line| format!("    | {line}")));
    }
    if leaked.len() > listed {
        lines.push(format!("  and {} more", leaked.len() - listed));
    }
    lines
}

/// The leaked containers that count, by their tests.
pub(super) fn new(leftovers: &[Leftover]) -> Vec<&Leftover> {
    sorted(leftovers.iter().filter(|it| it.is_new_leak()))
}

/// Those that the baseline lists.
pub(super) fn known(leftovers: &[Leftover]) -> Vec<&Leftover> {
    sorted(leftovers.iter().filter(|it| it.leaked && it.known))
}

fn sorted<'a>(leaked: impl Iterator<Item = &'a Leftover>) -> Vec<&'a Leftover> {
    let mut leaked: Vec<_> = leaked.collect();
    leaked.sort_by_key(|it| (Reverse(it.started_during.is_some()), &it.started_during, &it.name));
    leaked
}

pub(super) fn test(leaked: &Leftover) -> Option<String> {
    leaked.started_during.as_ref().map(|it| readable(&shorten(it, LONGEST)))
}

/// `redis:7 (docker, name vigilant_noether), port 32768, up for 12 s`
pub(super) fn what(leaked: &Leftover) -> String {
    let name = readable(&shorten(&leaked.name, LONGEST));
    let Some(container) = &leaked.container else { return name };
    let Container { engine, image, age_seconds, .. } = container;
    let up = age_seconds.map(|it| format!(", up for {}", age(Duration::from_secs(it))));
    let image = readable(&shorten(image, LONGEST));
    format!("{image} ({engine}, name {name}){}{}", ports(&container.ports), up.unwrap_or_default())
}

pub(super) fn last_words(leaked: &Leftover) -> impl Iterator<Item = String> {
    leaked.container.iter().flat_map(|it| &it.log).map(|line| readable(line))
}

/// `also removed: 1 stopped container, 1 network, 2 volumes`
pub(super) fn also_removed(leftovers: &[Leftover]) -> Option<String> {
    let count = |kind: LeftoverKind| {
        let is_it = |it: &&Leftover| it.kind == kind && it.fate == Fate::Removed;
        leftovers.iter().filter(is_it).filter(|it| !it.leaked && !it.is_expected()).count() as u64
    };
    let counts = [
        (count(LeftoverKind::Container), "stopped container"),
        (count(LeftoverKind::Pod), "pod"),
        (count(LeftoverKind::Network), "network"),
        (count(LeftoverKind::Volume), "volume"),
    ];
    let counts: Vec<_> =
        counts.into_iter().filter(|it| it.0 > 0).map(|(count, noun)| counted(count, noun)).collect();
    let also = if leftovers.iter().any(Leftover::is_new_leak) { "also " } else { "" };
    (!counts.is_empty()).then(|| format!("{also}removed: {}", counts.join(", ")))
}

/// `2 processes and 1 container`
pub(crate) fn leaked_text(processes_: usize, containers: usize) -> String {
    let containers_text = counted(containers as u64, "container");
    match (processes_, containers) {
        (_, 0) => processes(processes_),
        (0, _) => containers_text,
        _ => format!("{} and {containers_text}", processes(processes_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::tests::object;

    #[test]
    fn leaked_containers_are_listed_by_their_tests() {
        let leaked = [
            object("web", true, Some("tests/b.py::y (call)"), &[]),
            object("db\u{1b}", true, Some("tests/a.py::x (setup)"), &["one", "two\u{1b}[2J"]),
            object("cache", true, None, &[]),
            object("done", false, None, &[]),
        ];
        let leftovers: Vec<_> = leaked.iter().map(Leftover::ended).collect();
        let (headline, lines) = leaked_lines(&leftovers, 20);
        assert_eq!(headline, "3 containers leaked, stopped and removed:");
        let expected = [
            "  tests/a.py::x (setup): redis:7 (docker, name db\\u{1b}), ports 80 and 81, up for 12 s",
            "    | one",
            "    | two\\u{1b}[2J",
            "  tests/b.py::y (call): redis:7 (docker, name web), ports 80 and 81, up for 12 s",
            "  an unknown test: redis:7 (docker, name cache), ports 80 and 81, up for 12 s",
        ];
        assert_eq!(lines, expected);
        assert_eq!(leaked_lines(&leftovers, 1).1.last().unwrap(), "  and 2 more");
        assert_eq!(also_removed(&leftovers).unwrap(), "also removed: 1 stopped container");
        assert_eq!(also_removed(&leftovers[3..]).unwrap(), "removed: 1 stopped container");
        assert_eq!(also_removed(&leftovers[..3]), None);
        let of_service = Leftover { process: Some("service db".into()), ..leftovers[3].clone() };
        let allowed = Leftover { leaked: false, ..leftovers[0].clone() };
        assert_eq!(also_removed(&[of_service, allowed]), None);
        let known = Leftover { known: true, ..leftovers[0].clone() };
        let some = [known, leftovers[1].clone()];
        let (headline, lines) = super::leaked(&some, true, 20).unwrap();
        assert_eq!((headline.as_str(), lines.len()), ("1 new container leaked, stopped and removed:", 3));
        assert!(super::leaked(&some[..1], true, 20).is_none());
        assert_eq!((super::known(&some).len(), also_removed(&some)), (1, None));
        assert!(leaked_lines(&leftovers[2..], 20).1[0].starts_with("  redis:7 (docker, name cache)"));
    }

    fn leaked_lines(leftovers: &[Leftover], listed: usize) -> (String, Vec<String>) {
        super::leaked(leftovers, false, listed).unwrap()
    }

    #[test]
    fn processes_and_containers_are_counted_together() {
        assert_eq!(leaked_text(1, 0), "1 process");
        assert_eq!(leaked_text(0, 2), "2 containers");
        assert_eq!(leaked_text(3, 1), "3 processes and 1 container");
    }
}
