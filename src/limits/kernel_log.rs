//! Finds, in the kernel's log, the processes that it killed when memory ran out. This needs permission to
//! read the log.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use crate::containment::SessionId;

/// Some containers have a link to a terminal instead of the log.
const FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// A process that the kernel killed when memory ran out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Victim {
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The cgroup of a victim, as the kernel's log names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VictimCgroup(String);

impl VictimCgroup {
    /// Whether it lies in the cgroup of this directory. The log may name that by a longer path.
    pub(super) fn is_in(&self, directory: &Path) -> bool {
        let names: Vec<_> = directory.components().map(|it| it.as_os_str().to_string_lossy()).collect();
        let Some(session) = names.iter().rposition(|name| SessionId::of_directory(name).is_some()) else {
            return false;
        };
        let inside = format!("/{}/", names[session..].join("/"));
        format!("{}/", self.0).contains(&inside)
    }
}

/// The victims in a session's cgroup, in the order of the log.
pub(super) fn victims(session: &Path) -> Vec<(VictimCgroup, Victim)> {
    let log = OpenOptions::new().read(true).custom_flags(FLAGS).open("/dev/kmsg");
    let Ok(mut log) = log else { return Vec::new() };
    let mut found = Vec::new();
    let mut record = [0u8; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => found.extend(victim(&String::from_utf8_lossy(&record[..length]))),
            // The record was overwritten before we read it.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // This is the end of the log, or we are not allowed to read it.
            Err(_) => break,
        }
    }
    found.retain(|(place, _)| place.is_in(session));
    found
}

/// One record of `/dev/kmsg`:
/// `6,1,2,-;oom-kill:constraint=...,task_memcg=/cgrun-x/command,task=python3,pid=12,uid=0`
fn victim(record: &str) -> Option<(VictimCgroup, Victim)> {
    let fields = record.split_once("oom-kill:")?.1.lines().next()?;
    let field = |name: &str| Some(fields.split_once(&format!(",{name}="))?.1);
    let place = field("task_memcg")?.split_once(",task=")?.0;
    // A program can choose any name, even one with `,pid=`, so the last one counts.
    let (name, pid) = field("task")?.rsplit_once(",pid=")?;
    let pid = pid.split(',').next()?.parse().ok()?;
    Some((VictimCgroup(place.to_string()), Victim { pid, name: Some(name.to_string()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_record_is_parsed() {
        let line = "6,1155,99,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
            oom_memcg=/a/cgrun-bcdfghjk,task_memcg=/a/cgrun-bcdfghjk/service.web,task=py,pid=3,pid=1234,uid=0\n";
        let (place, victim) = victim(line).unwrap();
        assert_eq!(victim, Victim { pid: 1234, name: Some("py,pid=3".into()) });
        assert!(place.is_in(Path::new("/sys/fs/cgroup/cgrun-bcdfghjk")));
        assert!(place.is_in(Path::new("/sys/fs/cgroup/cgrun-bcdfghjk/service.web")));
        assert!(!place.is_in(Path::new("/sys/fs/cgroup/cgrun-bcdfghjk/service.we")));
        assert!(!place.is_in(Path::new("/sys/fs/cgroup/cgrun-bcdfghjm")));
        assert!(!place.is_in(Path::new("/sys/fs/cgroup")));
    }

    #[test]
    fn other_lines_are_ignored() {
        for line in [
            "",
            "6,1,2,-;usb 1-1: new",
            "oom-kill:",
            "oom-kill:a,task_memcg=/x",
            "oom-kill:,task_memcg=/x,task=a,pid=x",
        ] {
            assert_eq!(victim(line), None, "{line}");
        }
    }
}
