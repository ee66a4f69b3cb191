//! The verdict in words.

use std::time::Duration;

use crate::sys::proc::{ProcessInfo, age};
use crate::teardown::{Cause, How, Leak, Verdict};

/// More leaks than this are counted, not listed.
const LISTED: usize = 20;

/// What must be said: leaks, survivors, and what is not known.
pub fn verdict(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    let total = verdict.leaked();
    if total > 0 {
        let processes = if total == 1 { "1 process" } else { &format!("{total} processes") };
        let ending = if verdict.is_proven() { "found and ended" } else { "found" };
        lines.push(format!("leaked {processes}, {ending}:"));
        let mut listed: Vec<_> = verdict.leaks.iter().take(LISTED).map(leak).collect();
        if total > listed.len() {
            listed.push(format!("  and {} more", total - listed.len()));
        }
        lines.extend(listed);
    }
    lines.extend(verdict.survivors.iter().map(|survivor| format!("SURVIVED: {survivor}")));
    lines.extend(verdict.unknown.iter().map(|unknown| format!("not verified: {unknown}")));
    lines
}

/// What is worth knowing.
pub fn notes(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    if verdict.command_killed {
        lines.push("the command did not end when asked to, and was killed".to_string());
    }
    lines.extend(
        verdict
            .strangers
            .iter()
            .map(|holding| format!("{holding}; it is not of this session and was left alone")),
    );
    lines
}

/// One line for `-v`.
pub fn summary(verdict: &Verdict, cause: &Cause, took: Duration) -> String {
    let state = match (verdict.is_proven(), verdict.leaked() == 0) {
        (true, true) => "clean",
        (true, false) => "clean now",
        (false, _) => "NOT clean",
    };
    format!("{state}: layer {}, session took {:.2} s", cause.layer(), took.as_secs_f32())
}

fn leak(leak: &Leak) -> String {
    let ProcessInfo { pid, .. } = leak.process;
    let how = match &leak.how {
        How::OutlivedCommand => String::new(),
        How::OutlivedService(name) => format!("; service {name} did not end it within its grace"),
        How::OutlivedProbe(name) => format!("; it is of service {name}'s readiness command"),
        How::Strayed => "; it had left its part of the session".to_string(),
        How::Escaped => "; it had left the session's cgroup".to_string(),
    };
    let test =
        leak.started_during.as_ref().map(|test| format!(", started during {test}")).unwrap_or_default();
    let (command, age) = (leak.process.command_for_people(100), age(leak.process.age));
    format!("  pid {pid} ({command}), {age} old{test}{how}")
}
