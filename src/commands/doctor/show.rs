//! The findings as a table for people.

use std::fmt::Write;

use super::engines;
use super::findings::{CgroupLayout, Findings, UnavailableLimit};
use crate::containment::Source;

pub(super) fn as_text(found: &Findings) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:13} {value}");
    };
    row("containment", format!("{}: {}", found.containment, found.guarantee));
    row("cgrun", found.build.to_string());
    let host = &found.host;
    let distribution = host.distribution.as_deref().unwrap_or("an unknown distribution");
    row("host", format!("Linux {}, {}, {distribution}", found.kernel, host.architecture));
    row("CI", host.ci.clone().unwrap_or_else(|| "no".into()));
    row("user", format!("{}, {}", found.user, capabilities(&found.capabilities)));
    let cgroup = &found.cgroup;
    row(
        "cgroups",
        match cgroup.layout {
            CgroupLayout::Unified => "version 2",
            CgroupLayout::Hybrid => "versions 1 and 2 (hybrid)",
            CgroupLayout::Legacy => "version 1 only",
            CgroupLayout::None => "none mounted",
        }
        .to_string()
            + &cgroup
                .mount_point
                .as_ref()
                .map(|mount| format!(", at {}", mount.display()))
                .unwrap_or_default(),
    );
    for mount in &host.cgroup_mounts {
        row("", format!("{} {} {}", mount.point, mount.kind, mount.options));
    }
    if let Some(own) = &cgroup.current {
        row("own cgroup", own.display().to_string());
    }
    if let (Some(parent), Some(source)) = (&cgroup.session_parent, cgroup.session_parent_source) {
        let reason = match source {
            Source::Delegated => "delegated to this user",
            Source::Direct => "writable by this user",
            Source::Scope => "a systemd scope",
            Source::OwnMount => "writable through a mount of cgrun's own",
        };
        row("sessions in", format!("{} ({reason})", parent.display()));
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
            row("", format!("not available for {}: {}", controllers.join(" "), first.reason));
            row("", format!("to enable: {}", first.remedy));
        }
        row("cgroup.kill", yes(cgroup.cgroup_kill, "processes are killed one by one"));
    }
    row("systemd", systemd(found));
    row(
        "namespaces",
        format!("PID {}, user {}", yes(found.namespaces.pid, ""), yes(found.namespaces.user, "")),
    );
    row("private", private(found));
    row("engine", engines::as_text(&found.containers));
    row("container", found.container.clone().unwrap_or_else(|| "no".into()));
    row(
        "restrictions",
        format!("seccomp filter {}, no_new_privs {}", yes(host.seccomp, ""), yes(host.no_new_privs, "")),
    );
    row("ulimits", format!("files (-n) {}, processes (-u) {}", host.open_files, host.processes));
    row("state in", host.state_directory.display().to_string());
    row(
        "clone3",
        yes(found.clone3, "each process joins its cgroup after it has started, which takes about 8 ms"),
    );
    row("sock_diag", yes(found.sock_diag, "cgrun cannot find out which process listens on a port"));
    for missing in &found.unavailable {
        row("unavailable", format!("{}: {}", missing.containment, missing.reason));
        row("", format!("to enable: {}", missing.remedy));
    }
    row(
        "next step",
        found.next_step.clone().unwrap_or_else(|| "none; this host offers the strongest containment".into()),
    );
    text
}

/// Controllers with the same remedy share a row.
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

fn private(found: &Findings) -> String {
    match &found.private.reason {
        Some(reason) => format!("no: {reason}"),
        None if found.private.pasta => "yes; pasta is installed, for net = \"outbound\"".into(),
        None => "yes, but not net = \"outbound\": pasta is not in PATH (package passt)".into(),
    }
}

fn systemd(found: &Findings) -> String {
    let version = found.host.systemd_version.as_deref().unwrap_or("of an unknown version");
    match (found.systemd.running, &found.systemd.manager_socket) {
        (false, _) => "not running".into(),
        (true, Some(socket)) => format!("{version}; its manager answers at {}", socket.display()),
        (true, None) => format!("{version}; no manager answers"),
    }
}

fn capabilities(names: &[String]) -> String {
    match names.len() {
        0 => "no capabilities".into(),
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
