//! The verdict in words.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::paint::Paint;
use super::tree::{LeakTree, trees};
use crate::containment::Kind;
use crate::leaks::{How, Leak};
use crate::teardown::{Cause, Verdict};
use crate::text::{age, processes, readable};

/// More leaks than this are counted, not listed.
const LISTED: usize = 20;
/// And so many of those below one root.
const BELOW: usize = 5;

/// What must be said: leaks, survivors, and what is not known.
pub fn verdict(verdict: &Verdict, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if verdict.leaked() > 0 {
        let ending = if verdict.is_proven() { "found and ended" } else { "found" };
        lines.push(paint.bad(&format!("leaked {}, {ending}:", processes(verdict.leaked()))));
        lines.extend(leaks(&verdict.leaks, verdict.leaked(), paint));
    }
    let survivors = verdict.survivors.iter().map(|survivor| format!("SURVIVED: {}", readable(survivor)));
    lines.extend(survivors.map(|line| paint.bad(&line)));
    let unknown = verdict.unknown.iter().map(|unknown| format!("not verified: {}", readable(unknown)));
    lines.extend(unknown.map(|line| paint.bad(&line)));
    lines
}

/// What is worth knowing.
pub fn notes(verdict: &Verdict, paint: Paint) -> Vec<String> {
    let mut lines: Vec<String> =
        hint(verdict).map(|hint| paint.dim(&format!("  hint: {hint}"))).into_iter().collect();
    if verdict.command_killed {
        lines.push("the command did not end when asked to, and was killed".to_string());
    }
    lines.extend(
        verdict
            .strangers
            .iter()
            .map(|holding| readable(&format!("{holding}; it is not of this session and was left alone"))),
    );
    lines
}

/// What the user lets stay, for `-v`.
pub fn allowed(verdict: &Verdict) -> Vec<String> {
    let lines = leaks(&verdict.allowed, verdict.allowed.len(), Paint::none());
    let heading = format!("{} that may outlive the command, ended:", processes(verdict.allowed.len()));
    if lines.is_empty() { lines } else { std::iter::once(heading).chain(lines).collect() }
}

/// One line for `-v`.
pub fn summary(verdict: &Verdict, cause: &Cause, held_by: Kind, took: Duration) -> String {
    let state = match (verdict.is_proven(), verdict.leaked() == 0) {
        (true, true) if !verdict.command_killed => "clean",
        (true, _) => "clean now",
        (false, _) => "NOT clean",
    };
    let (layer, title, took) = (cause.layer(), cause.layer_title(), took.as_secs_f32());
    format!("{state}: layer {layer} ({title}), held by a {held_by}, session took {took:.2} s")
}

fn leaks(leaks: &[Leak], total: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let mut said = 0;
    let is_known = leaks.iter().any(|leak| leak.started_during.is_some());
    for tree in trees(leaks) {
        if lines.len() >= LISTED {
            break;
        }
        lines.push(format!("  {}", leak(tree.leak, None, is_known, paint)));
        said += 1;
        said += below(&tree, LISTED.saturating_sub(lines.len()), paint, &mut lines);
    }
    if total > said {
        lines.push(format!("  and {} more", total - said));
    }
    lines
}

/// How many processes it has spoken for.
fn below(tree: &LeakTree<'_>, room: usize, paint: Paint, lines: &mut Vec<String>) -> usize {
    let below = tree.below();
    let listed = below.len().min(BELOW).min(room);
    for (depth, process) in &below[..listed] {
        lines.push(format!("  {}{}", "  ".repeat(*depth), leak(process, Some(tree.leak), false, paint)));
    }
    if below.len() > listed {
        lines.push(format!("    and {} more below it", below.len() - listed));
    }
    below.len()
}

/// Of one below another, only what differs.
fn leak(leak: &Leak, root: Option<&Leak>, of_some_test: bool, paint: Paint) -> String {
    let how = match &leak.how {
        _ if root.is_some_and(|root| root.how == leak.how) && !leak.had_to_be_killed => String::new(),
        How::OutlivedCommand if leak.had_to_be_killed => "; it did not end when asked to".to_string(),
        How::OutlivedCommand => String::new(),
        How::OutlivedService(name) => format!("; service {name} did not end it within its grace"),
        How::OutlivedProbe(name) => format!("; it is of service {name}'s readiness command"),
        How::ChangedCgroup => "; it had moved to another cgroup of the session".to_string(),
        How::Escaped => "; it had left the session's cgroup".to_string(),
    };
    let origin = leak.started_during.as_ref().filter(|origin| {
        root.and_then(|root| root.started_during.as_ref())
            .is_none_or(|it| it.to_string() != origin.to_string())
    });
    let test = origin
        .map(|origin| format!(", started during {}", paint.name(&origin.to_string())))
        .or_else(|| {
            let may_be_of_one = of_some_test && matches!(leak.how, How::OutlivedCommand);
            (may_be_of_one && leak.started_during.is_none())
                .then(|| ", started during an unknown test".into())
        })
        .unwrap_or_default();
    let ports: Vec<_> = leak.listening.iter().map(ToString::to_string).collect();
    let ports =
        if ports.is_empty() { String::new() } else { format!(", listening on {}", ports.join(" and ")) };
    let (command, age) = (leak.process.command_for_people(100), age(leak.process.age));
    format!("pid {} ({}), {age} old{test}{ports}{how}", leak.pid(), paint.strong(&command))
}

/// How the worst leak may be mended.
fn hint(verdict: &Verdict) -> Option<String> {
    let trees = trees(&verdict.leaks);
    let worst = trees.first()?.leak;
    let phase = worst.started_during.as_ref().and_then(|it| it.phase.as_deref());
    Some(match (&worst.how, phase) {
        (How::OutlivedService(name), _) => {
            format!("give service {name} the stop_signal that it ends on, or a longer grace")
        }
        (How::OutlivedProbe(name), _) => {
            format!(
                "the readiness command of service {name} does not end by itself: give it a timeout of its own"
            )
        }
        (_, Some("setup")) => {
            "a fixture started it and did not stop it: stop it, and wait for it, after the fixture's yield"
                .into()
        }
        _ if worst.glimpse.ignores(Signal::SIGTERM) => {
            "it ignores SIGTERM: whoever starts it is to end it with SIGKILL, and wait for it".into()
        }
        _ if worst.had_to_be_killed => {
            "it does not end on SIGTERM: whoever starts it is to end it in its own way, and wait for it"
                .into()
        }
        (_, Some(_)) => {
            "stop it in the test that started it, and wait for it, whether the test passes or fails".into()
        }
        _ => "stop it where it is started; what is meant to stay goes into allow".into(),
    })
}
