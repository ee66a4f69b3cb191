//! Leaks in words, for reports that are not said on the terminal.

use super::json::LeakedProcess;
use crate::text;

/// One line a process, children below their parent, at most `limit`.
pub fn listing(leaks: &[&LeakedProcess], undescribed: usize, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let total = leaks.iter().map(|it| it.process_count()).sum::<usize>() + undescribed;
    for leak in leaks {
        list(leak, 0, limit, &mut lines);
    }
    if total > lines.len() {
        lines.push(format!("and {} more", total - lines.len()));
    }
    lines
}

fn list(leak: &LeakedProcess, depth: usize, limit: usize, lines: &mut Vec<String>) {
    if lines.len() < limit {
        lines.push(format!("{}{}", "  ".repeat(depth), line(leak)));
        leak.children.iter().for_each(|child| list(child, depth + 1, limit, lines));
    }
}

/// `pid 4711 (python3 server.py), started during tests/a.py::b (call), listening on 127.0.0.1:8000`
pub fn line(leak: &LeakedProcess) -> String {
    let mut text = format!("pid {} ({})", leak.pid, text::shorten(&leak.command_text(), 200));
    if let Some(test) = test(leak) {
        text += &format!(", started during {test}");
    }
    let ports: Vec<_> = leak.listening_on.iter().map(ToString::to_string).collect();
    if !ports.is_empty() {
        text += &format!(", listening on {}", ports.join(" and "));
    }
    text
}

/// The test, or the worker where that is all that is known.
pub fn test(leak: &LeakedProcess) -> Option<&str> {
    leak.started_during.as_ref().map(|during| during.text.as_str())
}

/// How it leaked.
pub fn how(leak: &LeakedProcess) -> &'static str {
    match leak.kind {
        "daemon" => "had left the command's session, as daemons do",
        "background" => "was still running in the background",
        "outlived_service" => "did not end within its service's grace",
        "outlived_probe" => "is of a readiness command",
        "changed_cgroup" => "had moved to another cgroup of the session",
        _ => "had left the session's cgroup",
    }
}
