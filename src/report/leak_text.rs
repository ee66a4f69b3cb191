//! Leaked processes as text, for JUnit, GitHub and the HTML page.

use super::leaked_process::{LeakedProcess, StartedDuring};
use crate::leaks::Evidence;
use crate::text::shorten;

/// One line per process, children below their parent, at most `limit` processes.
pub(super) fn listing(leaks: &[&LeakedProcess], undescribed: usize, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let total = leaks.iter().map(|leak| leak.process_count()).sum::<usize>() + undescribed;
    for leak in leaks {
        list_tree(leak, 0, limit, &mut lines);
    }
    if total > lines.len() {
        lines.push(format!("and {} more", total - lines.len()));
    }
    lines
}

fn list_tree(leak: &LeakedProcess, depth: usize, limit: usize, lines: &mut Vec<String>) {
    if lines.len() < limit {
        lines.push(format!("{}{}", "  ".repeat(depth), line(leak)));
        leak.children.iter().for_each(|child| list_tree(child, depth + 1, limit, lines));
    }
}

/// `pid 4711 (python3 server.py), started during tests/a.py::b (call), listening on 127.0.0.1:8000`
pub(super) fn line(leak: &LeakedProcess) -> String {
    let mut text = format!("pid {} ({})", leak.pid, shorten(&leak.command_text(), 200));
    if let Some(test) = test(leak) {
        text += &format!(", started during {test}");
    }
    let addresses: Vec<_> = leak.listening_on.iter().map(ToString::to_string).collect();
    if !addresses.is_empty() {
        text += &format!(", listening on {}", addresses.join(" and "));
    }
    if let Some(by) = leak.ended_by {
        text += &format!(", ended by {by}");
    }
    text
}

/// The test, or the worker if only that is known.
pub(super) fn test(leak: &LeakedProcess) -> Option<&str> {
    leak.started_during.as_ref().map(|origin| origin.text.as_str())
}

/// How it leaked, as the rest of a sentence that starts with "It".
pub(super) fn kind(leak: &LeakedProcess) -> &'static str {
    match leak.kind {
        "daemon" => "had left the command's session, as daemons do",
        "background" => "was still running in the background",
        "outlived_service" => "did not exit within its service's grace",
        "outlived_probe" => "belongs to a readiness command",
        "ended_before" => "was left running, and ended while the command still ran",
        "changed_cgroup" => "had moved to another cgroup of the session",
        _ => "had left the session's cgroup",
    }
}

/// How cgrun determined the test.
pub(super) fn evidence(origin: &StartedDuring) -> &'static str {
    match origin.evidence {
        Evidence::Environment => "the test runner's variable is in its environment",
        Evidence::Memory => "the test runner's variable is in its memory",
        Evidence::Parent => "the test runner's variable is in the environment of an ancestor",
        Evidence::StartTime => "the processes started just before and after it belong to this test",
        Evidence::Plugin => "the test runner's plugin has seen this test leave it",
    }
}
