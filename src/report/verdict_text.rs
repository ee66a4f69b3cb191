//! Formats the findings of the teardown as lines for the terminal.

use std::collections::BTreeSet;
use std::time::Duration;

use super::by_test::{LeakGroup, by_owner, count_tests};
use super::container_text;
use super::group_lines::{Room, group_lines};
use super::hint::hint;
use super::paint::Paint;
use super::tree::{LeakTree, trees};
use crate::containment::Kind;
use crate::leaks::{How, Leak};
use crate::leftovers::Leftover;
use crate::teardown::{Cause, Verdict};
use crate::text::{age, processes, readable};

/// Further descendants of one leaked process are counted, not listed.
const LISTED_DESCENDANTS: usize = 5;

/// A headline, and about as many lines with the leaks as there is room for. If `each` is set or no test is known, each
/// process has its own line.
pub(super) fn leaks(
    verdict: &Verdict,
    room: Room,
    each: bool,
    paint: Paint,
) -> Option<(String, Vec<String>)> {
    let found = verdict.found();
    let total = found.len() + verdict.undescribed.len();
    if total == 0 {
        return None;
    }
    let groups = by_owner(found.iter().copied());
    let ending = if verdict.is_proven() { "found and stopped" } else { "found" };
    let leaked = if verdict.in_baseline.is_some() { new_processes(total) } else { processes(total) };
    let headline = match count_tests(&groups) {
        // Those that are not described may have been started during any test.
        _ if total > found.len() => format!("leaked {leaked}, {ending}:"),
        (0, _) => format!("leaked {leaked}, {ending}:"),
        (tests, during) if during == total => format!("{} leaked {leaked}, {ending}:", count(tests)),
        (tests, during) => {
            format!("leaked {leaked}, {during} of them during {}, {ending}:", count(tests))
        }
    };
    let is_known = groups.iter().any(LeakGroup::is_of_runner);
    let lines = if each || !is_known {
        leak_lines(&found, total, room.lines, paint)
    } else {
        group_lines(&groups, total, room, paint)
    };
    Some((paint.bad(&headline), lines))
}

/// What hooks of test runners have ended before, whose tests have said so: a line, and for `-v` one for each process.
pub(super) fn ended_before(verdict: &Verdict, listed: usize, paint: Paint) -> Option<(String, Vec<String>)> {
    let ended = verdict.ended_before();
    let undescribed = verdict.undescribed_before;
    let by: BTreeSet<_> = ended.iter().filter_map(|leak| leak.ended_by()).map(|by| by.to_string()).collect();
    let by =
        if by.is_empty() { "hooks".to_string() } else { by.into_iter().collect::<Vec<_>>().join(" and ") };
    let (tests, during) = count_tests(&by_owner(ended.iter().copied()));
    let total = ended.len() + undescribed;
    let leaked = if verdict.in_baseline.is_some() { new_processes(total) } else { processes(total) };
    let more = match undescribed {
        0 => String::new(),
        1 => "; the entry of 1 of them in the session's leak log cannot be read".into(),
        count => format!("; the entries of {count} of them in the session's leak log cannot be read"),
    };
    let headline = match tests {
        _ if total == 0 => return None,
        0 => format!("leaked {leaked}, already ended by {by}{more}"),
        tests if during == total => format!("{} leaked {leaked}, already ended by {by}", count(tests)),
        tests => {
            format!("leaked {leaked}, {during} of them during {}, already ended by {by}{more}", count(tests))
        }
    };
    Some((paint.bad(&headline), leak_lines(&ended, ended.len(), listed, paint)))
}

/// In contrast to those that the baseline lists.
fn new_processes(count: usize) -> String {
    if count == 1 { "1 new process".into() } else { format!("{count} new processes") }
}

fn count(tests: usize) -> String {
    if tests == 1 { "1 test".into() } else { format!("{tests} tests") }
}

/// Survivors, and checks that failed.
pub(super) fn problems(verdict: &Verdict, paint: Paint) -> Vec<String> {
    let survivors = verdict.survivors.iter().map(|survivor| format!("SURVIVED: {}", readable(survivor)));
    let unknown = verdict.unknown.iter().map(|unknown| format!("not verified: {}", readable(unknown)));
    survivors.chain(unknown).map(|line| paint.bad(&line)).collect()
}

/// Findings that are worth knowing but are not problems.
pub(super) fn notes(verdict: &Verdict, paint: Paint) -> Vec<String> {
    let hint = hint(verdict.found()).map(|hint| paint.dim(&format!("  hint: {hint}")));
    let killed =
        verdict.command_killed.then(|| "the command did not stop when asked to, and was killed".to_string());
    let strangers = verdict.strangers.iter().map(|holding| {
        readable(&format!("{holding}; it does not belong to this session and was left alone"))
    });
    hint.into_iter().chain(killed).chain(strangers).collect()
}

/// For `-v`.
pub(super) fn known_leaks(verdict: &Verdict, listed: usize) -> Option<(String, Vec<String>)> {
    let leaks: Vec<_> = verdict.known_leaks().iter().collect();
    let containers: Vec<_> = verdict.known_containers().map(Leftover::ended).collect();
    let headline = match leaks.len() + containers.len() {
        0 => return None,
        1 => "1 known leak, stopped:".to_string(),
        count => format!("{count} known leaks, stopped:"),
    };
    let mut lines = leak_lines(&leaks, leaks.len(), listed, Paint::none());
    lines.extend(container_text::lines(&container_text::known(&containers), listed));
    Some((headline, lines))
}

/// For `-v`.
pub(super) fn allowed_leaks(verdict: &Verdict, listed: usize) -> Option<(String, Vec<String>)> {
    let headline = match verdict.allowed.len() {
        0 => return None,
        1 => "1 allowed leak, stopped:".to_string(),
        count => format!("{count} allowed leaks, stopped:"),
    };
    Some((
        headline,
        leak_lines(&verdict.allowed.iter().collect::<Vec<_>>(), verdict.allowed.len(), listed, Paint::none()),
    ))
}

/// One line for `-v`.
pub(super) fn summary(verdict: &Verdict, cause: &Cause, kind: Kind, took: Duration) -> String {
    let state = match (verdict.is_proven(), !verdict.has_leaks() && !verdict.has_known_leaks()) {
        (true, true) if !verdict.command_killed => "clean",
        (true, _) => "clean now",
        (false, _) => "NOT clean",
    };
    let (layer, title, took) = (cause.layer(), cause.layer_title(), took.as_secs_f32());
    format!("{state}: layer {layer} ({title}), contained by a {kind}, took {took:.2} s")
}

fn leak_lines(leaks: &[&Leak], total: usize, listed: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let mut covered = 0;
    let some_test_is_known = leaks.iter().any(|leak| leak.started_during.is_some());
    for tree in trees(leaks.iter().copied()) {
        if lines.len() >= listed {
            break;
        }
        lines.push(format!("  {}", leak_line(tree.leak, None, some_test_is_known, paint)));
        let room = listed.saturating_sub(lines.len());
        covered += 1 + list_descendants(&tree, room, paint, &mut lines);
    }
    if total > covered {
        lines.push(format!("  and {} more", total - covered));
    }
    lines
}

/// Returns how many processes its lines account for, including those that are only counted.
fn list_descendants(tree: &LeakTree<'_>, room: usize, paint: Paint, lines: &mut Vec<String>) -> usize {
    let descendants = tree.descendants();
    let listed = descendants.len().min(LISTED_DESCENDANTS).min(room);
    for (depth, process) in &descendants[..listed] {
        let indent = "  ".repeat(*depth);
        lines.push(format!("  {indent}{}", leak_line(process, Some(tree.leak), false, paint)));
    }
    if descendants.len() > listed {
        lines.push(format!("    and {} more below it", descendants.len() - listed));
    }
    descendants.len()
}

/// `root` is the root of the leak's tree, whose properties are not repeated.
fn leak_line(leak: &Leak, root: Option<&Leak>, some_test_is_known: bool, paint: Paint) -> String {
    let ports: Vec<_> = leak.listening.iter().map(ToString::to_string).collect();
    let ports =
        if ports.is_empty() { String::new() } else { format!(", listening on {}", ports.join(" and ")) };
    let (command, age) = (leak.process.command_for_people(100), age(leak.process.age));
    let (test, how) = (test(leak, root, some_test_is_known, paint), how(leak, root));
    format!("pid {} ({}), {age} old{test}{ports}{how}", leak.pid(), paint.strong(&command))
}

fn test(leak: &Leak, root: Option<&Leak>, some_test_is_known: bool, paint: Paint) -> String {
    let of_root = root.and_then(|root| root.started_during.as_ref()).map(ToString::to_string);
    match leak.started_during.as_ref().map(ToString::to_string) {
        Some(test) if of_root.as_ref() != Some(&test) => format!(", started during {}", paint.name(&test)),
        None if some_test_is_known && leak.how == How::OutlivedCommand => {
            ", started during an unknown test".into()
        }
        _ => String::new(),
    }
}

fn how(leak: &Leak, root: Option<&Leak>) -> String {
    match &leak.how {
        _ if root.is_some_and(|root| root.how == leak.how) && !leak.had_to_be_killed => String::new(),
        How::OutlivedCommand if leak.had_to_be_killed => "; it did not stop when asked to".to_string(),
        How::OutlivedCommand => String::new(),
        How::OutlivedService(name) => format!("; service {name} did not stop it within its grace"),
        How::OutlivedProbe(name) => format!("; it belongs to the readiness command of service {name}"),
        How::ChangedCgroup => "; it had moved to another cgroup of the session".to_string(),
        How::Escaped => "; it had left the session's cgroup".to_string(),
        How::EndedBefore { by, .. } => format!("; ended by {by}"),
    }
}
