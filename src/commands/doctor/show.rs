//! The findings for a person.

use std::fmt::Write;

use super::findings::{Findings, Layout, UnavailableLimit};
use crate::containment::Source;

pub fn in_words(found: &Findings) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:13} {value}");
    };
    row("containment", format!("{}: {}", found.containment, found.guarantee));
    row("kernel", found.kernel.clone());
    row("user", format!("{}, {}", found.user, capabilities(&found.capabilities)));
    let cgroup = &found.cgroup;
    row(
        "cgroups",
        match cgroup.layout {
            Layout::Unified => "version 2",
            Layout::Hybrid => "version 2 beside version 1 (hybrid)",
            Layout::Legacy => "version 1 only",
            Layout::None => "none mounted",
        }
        .to_string()
            + &cgroup
                .mount_point
                .as_ref()
                .map(|mount| format!(", at {}", mount.display()))
                .unwrap_or_default(),
    );
    if let Some(own) = &cgroup.current {
        row("own cgroup", own.display().to_string());
    }
    if let (Some(parent), Some(source)) = (&cgroup.session_parent, cgroup.session_parent_source) {
        let leave = match source {
            Source::Delegated => "delegated to us",
            Source::Direct => "ours by right",
            Source::Scope => "a scope that systemd gives us",
        };
        row("sessions in", format!("{} ({leave})", parent.display()));
        row("controllers", list(&cgroup.controllers));
        row(
            "limits",
            if cgroup.available_limits.is_empty() {
                "none".into()
            } else {
                cgroup.available_limits.join(" ")
            },
        );
        for (controllers, first) in by_remedy(&cgroup.unavailable_limits) {
            row("no limits", format!("{}: {}", controllers.join(" "), first.reason));
            row("", format!("to get them: {}", first.remedy));
        }
        row("cgroup.kill", yes(cgroup.cgroup_kill, "processes are killed one by one"));
    }
    row("systemd", systemd(found));
    row(
        "namespaces",
        format!("PID {}, user {}", yes(found.namespaces.pid, ""), yes(found.namespaces.user, "")),
    );
    row("container", found.container.clone().unwrap_or_else(|| "no".into()));
    row("clone3", yes(found.clone3, "processes join their cgroup after their birth, some 8 ms later each"));
    row("sock_diag", yes(found.sock_diag, "it cannot be told who listens on a port"));
    for missing in &found.unavailable {
        row("missing", format!("{}: {}", missing.containment, missing.reason));
        row("", format!("to get it: {}", missing.remedy));
    }
    row("next step", found.next_step.clone().unwrap_or_else(|| "none; this is as good as it gets".into()));
    text
}

/// What is mended together is told together.
fn by_remedy(refused: &[UnavailableLimit]) -> Vec<(Vec<&'static str>, &UnavailableLimit)> {
    let mut groups: Vec<(Vec<&'static str>, &UnavailableLimit)> = Vec::new();
    for one in refused {
        match groups.iter_mut().find(|(_, first)| first.remedy == one.remedy) {
            Some((controllers, _)) => controllers.push(one.controller),
            None => groups.push((vec![one.controller], one)),
        }
    }
    groups
}

fn systemd(found: &Findings) -> String {
    match (found.systemd.running, &found.systemd.manager_socket) {
        (false, _) => "not running".into(),
        (true, Some(socket)) => format!("running; our manager answers at {}", socket.display()),
        (true, None) => "running; no manager of ours answers".into(),
    }
}

fn capabilities(names: &[String]) -> String {
    match names.len() {
        0 => "no capability".into(),
        1..6 => list(names),
        many => format!("{many} capabilities"),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

fn yes(is_there: bool, otherwise: &str) -> String {
    match (is_there, otherwise) {
        (true, _) => "yes".into(),
        (false, "") => "no".into(),
        (false, otherwise) => format!("no: {otherwise}"),
    }
}
