//! What is left that is not a process, as text.

use crate::containers::{Container, possessive};
use crate::leftovers::{Fate, Leftover, LeftoverKind, Leftovers};
use crate::sys::system_v::ObjectKind;
use crate::text::{Bytes, counted, readable};

/// For each fate, a headline and the lines of a list. What is in a private `/tmp` is normal and not listed. What was in
/// container engines and is gone has a list of its own.
pub(super) fn lists(leftovers: &[Leftover], listed: usize) -> Vec<(String, Vec<String>)> {
    [Fate::Removed, Fate::LeftAlone, Fate::GoneWithSession]
        .into_iter()
        .filter_map(|fate| {
            let is_it = |it: &&Leftover| {
                let is_elsewhere = it.kind.is_of_engine() && it.fate == Fate::Removed;
                it.fate == fate && it.kind != LeftoverKind::Directory && !is_elsewhere
            };
            let all: Vec<_> = leftovers.iter().filter(is_it).collect();
            if all.is_empty() { None } else { Some(list(&all, fate, listed)) }
        })
        .collect()
}

fn list(all: &[&Leftover], fate: Fate, listed: usize) -> (String, Vec<String>) {
    let sizes: Vec<u64> = all.iter().filter_map(|it| it.size_bytes).collect();
    let size =
        if sizes.is_empty() { String::new() } else { format!(" ({})", Bytes(sizes.into_iter().sum())) };
    let count = all.len() as u64;
    let headline = match fate {
        Fate::Removed => format!("removed {}{size}:", counted(count, "leftover")),
        Fate::LeftAlone => {
            format!(
                "{}{size} left alone, since {} can be someone else's:",
                counted(count, "possible leftover"),
                if count == 1 { "it" } else { "they" }
            )
        }
        Fate::GoneWithSession => {
            format!("{}{size} went with the session:", counted(count, "leftover"))
        }
    };
    let mut lines: Vec<_> = all.iter().take(listed).map(|it| format!("  {}", line(it))).collect();
    if all.len() > listed {
        lines.push(format!("  and {} more", all.len() - listed));
    }
    (headline, lines)
}

pub(super) fn what(leftover: &Leftover) -> String {
    let name = readable(&leftover.name);
    match leftover.kind {
        LeftoverKind::File | LeftoverKind::Directory => name,
        LeftoverKind::Container => container(&name, leftover.container.as_ref()),
        LeftoverKind::Pod => format!("pod {name}"),
        LeftoverKind::Network => format!("network {name}"),
        LeftoverKind::Volume => format!("volume {name}"),
        LeftoverKind::Object(ObjectKind::SharedMemory) => format!("shared memory {name}"),
        LeftoverKind::Object(ObjectKind::Semaphores) => format!("semaphores {name}"),
        LeftoverKind::Object(ObjectKind::MessageQueue) => format!("message queue {name}"),
    }
}

/// `Docker's container web (redis:7), port 6379`
fn container(name: &str, of: Option<&Container>) -> String {
    let Some(of) = of else { return name.to_owned() };
    format!("{} container {name} ({}){}", possessive(of.engine), readable(&of.image), ports(&of.ports))
}

/// `, port 80`, `, ports 80 and 81`
pub(super) fn ports(ports: &[u16]) -> String {
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    match ports.len() {
        0 => String::new(),
        1 => format!(", port {}", ports[0]),
        _ => format!(", ports {}", ports.join(" and ")),
    }
}

/// Where it comes from, as far as that is known.
pub(super) fn origin(leftover: &Leftover) -> Option<String> {
    let test = leftover.started_during.as_ref().map(|it| format!(", started during {}", readable(it)));
    let verb = if leftover.kind == LeftoverKind::File { "held by" } else { "created by" };
    match (&leftover.process, leftover.creator_pid) {
        (Some(process), _) => Some(format!("{verb} {}{}", readable(process), test.unwrap_or_default())),
        (None, Some(pid)) => Some(format!("created by pid {pid}, which is gone")),
        (None, None) => test.map(|it| it.trim_start_matches(", ").to_owned()),
    }
}

fn line(leftover: &Leftover) -> String {
    let size = leftover.size_bytes.map(|it| format!(", {}", Bytes(it))).unwrap_or_default();
    let origin = origin(leftover).map(|it| format!(", {it}")).unwrap_or_default();
    let remove = leftover.remove_with.as_ref().map(|it| format!("; if it is yours: {}", readable(it)));
    format!("{}{size}{origin}{}", what(leftover), remove.unwrap_or_default())
}

/// What would have kept it off the host.
pub(super) fn hints(leftovers: &Leftovers) -> impl Iterator<Item = String> {
    let has_container = |it: &Leftover| it.kind == LeftoverKind::Container && it.fate == Fate::LeftAlone;
    let is_missed = !leftovers.ends_containers && leftovers.found.iter().any(has_container);
    let of_containers = is_missed
        .then(|| "with --containers, what a session creates in a container engine ends with it".into());
    private_hint(&leftovers.found).into_iter().chain(of_containers)
}

fn private_hint(leftovers: &[Leftover]) -> Option<String> {
    let left: Vec<_> = leftovers.iter().filter(|it| it.fate == Fate::LeftAlone).collect();
    let is_there = |kind: &&str| left.iter().any(|it| private_kind(it) == Some(*kind));
    let kinds: Vec<_> = ["ipc", "shm", "tmp"].into_iter().filter(is_there).collect();
    let kinds = kinds.join(",");
    (!kinds.is_empty()).then(|| format!("with --private {kinds}, a session has its own, which goes with it"))
}

fn private_kind(leftover: &Leftover) -> Option<&'static str> {
    match leftover.kind {
        kind if kind.is_of_engine() => None,
        LeftoverKind::Object(_) => Some("ipc"),
        _ if leftover.name.starts_with("/dev/shm/") => Some("shm"),
        _ => Some("tmp"),
    }
}
