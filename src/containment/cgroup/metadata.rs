//! The metadata of a session, stored as extended attributes of its cgroup. They vanish with the cgroup, so no
//! state file can outlive it or be missing.

use std::io;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::XattrFlags;
use rustix::process::Pid;

use crate::sys::port::Port;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::{self, ProcessKey};

/// kernfs accepts at most 64 KiB per value (fs/kernfs/inode.c).
const LARGEST: usize = 64 * 1024;
/// A command line of this length is enough to recognize it.
const LONGEST: usize = 1024;
const OWNER: &str = "user.cgrun.owner";
const COMMAND: &str = "user.cgrun.command";
const PORTS: &str = "user.cgrun.ports";
const SHARD: &str = "user.cgrun.shard";
/// Names processes to kill, so nobody may plant it for the host's root, who alone can write and read the first (xattr(7)).
/// Others use the second: they can kill only what they may kill anyway.
const OUTSIDE: [&str; 2] = ["trusted.cgrun.outside", "user.cgrun.outside"];
/// Names a directory to remove, so it is stored in the same two ways.
const SCRATCH: [&str; 2] = ["trusted.cgrun.scratch", "user.cgrun.scratch"];

/// The supervisor of a session. Its pid alone is not enough, because it may have been reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub pid: Pid,
    /// Clock ticks after boot.
    pub start_time: u64,
}

/// Whether the owner of a session can be identified from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    Known(Owner),
    /// It lives in another PID or time namespace, where pids and start times mean something else.
    Foreign,
    /// It has not signed the cgroup, or we cannot read the signature.
    Unsigned,
}

/// The metadata written on a session's cgroup.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub ownership: Ownership,
    pub command: String,
    pub ports: Vec<Port>,
    /// As [`write_shard`] has stored it.
    pub shard: Option<String>,
}

impl Owner {
    /// This process.
    pub(crate) fn us() -> io::Result<Self> {
        let pid = rustix::process::getpid();
        match stat::start_time(pid) {
            Some(start_time) => Ok(Self { pid, start_time }),
            None => Err(io::Error::other("cannot read /proc/self/stat; is /proc mounted?")),
        }
    }

    /// Whether it is alive; an error if that cannot be known.
    pub(crate) fn is_alive(self) -> io::Result<bool> {
        let process = Process::open(self.pid)?;
        match (stat::start_time(self.pid), process) {
            (Some(start_time), _) => Ok(start_time == self.start_time),
            // If it has been reaped since it was opened, its /proc entry is gone too.
            (None, Some(process)) if !stat::is_zombie(self.pid) && !process.has_exited() => {
                Err(io::Error::other("its /proc entry is hidden from cgrun"))
            }
            (None, _) => Ok(false),
        }
    }
}

/// Signs the session as ours, and stores its command and ports.
pub(crate) fn write(directory: &Path, owner: Owner, command: &[u8], ports: &[Port]) -> io::Result<()> {
    let ports = ports.iter().map(Port::to_string).collect::<Vec<_>>().join(" ");
    let owner = format!("{} {} {}", owner.pid, owner.start_time, namespaces()?);
    let command = &command[..command.len().min(LONGEST)];
    // Written last, so that a reader that finds the signature also finds the rest.
    for (name, value) in [(COMMAND, command), (PORTS, ports.as_bytes()), (OWNER, owner.as_bytes())] {
        rustix::fs::setxattr(directory, name, value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Stores which children of the supervisor have left the cgroup.
pub(crate) fn write_outside(directory: &Path, outside: impl Iterator<Item = ProcessKey>) -> io::Result<()> {
    let text: Vec<_> = outside.map(|(pid, started)| format!("{pid}:{started}")).collect();
    Ok(rustix::fs::setxattr(directory, ours(OUTSIDE), text.join(" ").as_bytes(), XattrFlags::empty())?)
}

/// Reads the metadata of a session's cgroup.
pub(crate) fn read(directory: &Path) -> Metadata {
    Metadata {
        ownership: ownership(directory).unwrap_or(Ownership::Unsigned),
        command: attribute(directory, COMMAND).unwrap_or_default(),
        ports: attribute(directory, PORTS)
            .map(|text| text.split(' ').filter_map(|port| port.parse().ok()).collect())
            .unwrap_or_default(),
        shard: attribute(directory, SHARD),
    }
}

/// Stores which of several sessions of one command it is.
pub(crate) fn write_shard(directory: &Path, note: &str) -> io::Result<()> {
    Ok(rustix::fs::setxattr(directory, SHARD, note.as_bytes(), XattrFlags::empty())?)
}

/// The children of the supervisor that have left the cgroup, as [`write_outside`] has stored them.
pub(crate) fn read_outside(directory: &Path) -> Vec<ProcessKey> {
    let text = read_attribute(directory, ours(OUTSIDE), LARGEST).unwrap_or_default();
    text.split(' ').filter_map(process_key).collect()
}

/// Stores what is known of the session's temporary directory.
pub(crate) fn write_scratch(directory: &Path, note: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::setxattr(directory, ours(SCRATCH), note, XattrFlags::empty())?)
}

/// What [`write_scratch`] has stored.
pub(crate) fn read_scratch(directory: &Path) -> Option<Vec<u8>> {
    read_bytes(directory, ours(SCRATCH), LARGEST)
}

/// Which of the two ways is ours.
fn ours([for_root, for_others]: [&'static str; 2]) -> &'static str {
    let is_host_root = rustix::process::geteuid().is_root() && is_in_first_user_namespace();
    if is_host_root { for_root } else { for_others }
}

/// Only the first user namespace maps every id to itself (user_namespaces(7)). If unknown, it is taken for that one.
fn is_in_first_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let numbers: Vec<_> = map.split_whitespace().collect();
    numbers.is_empty() || numbers == ["0", "0", "4294967295"]
}

/// `PID:START`
fn process_key(text: &str) -> Option<ProcessKey> {
    let (pid, started) = text.split_once(':')?;
    Some((parse_pid(pid)?, started.parse().ok()?))
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok().filter(|&pid| pid > 0)?)
}

fn ownership(directory: &Path) -> Option<Ownership> {
    let text = attribute(directory, OWNER)?;
    let mut fields = text.split(' ');
    let (pid, start_time, namespace) = (fields.next()?, fields.next()?, fields.next()?);
    if Some(namespace) != namespaces().ok().as_deref() {
        return Some(Ownership::Foreign);
    }
    Some(Ownership::Known(Owner { pid: parse_pid(pid)?, start_time: start_time.parse().ok()? }))
}

/// The PID and time namespaces, in which pids and start times mean the same as for us.
fn namespaces() -> io::Result<String> {
    // Time namespaces have existed since Linux 5.6.
    Ok(format!("{}.{}", namespace("pid")?, namespace("time").unwrap_or("0".into())))
}

/// The number in a link such as `pid:[4026531836]`. To read the link is faster than to follow it.
pub(crate) fn namespace(name: &str) -> io::Result<String> {
    let link = std::fs::read_link(format!("/proc/self/ns/{name}"))?;
    Ok(link.to_string_lossy().chars().filter(char::is_ascii_digit).collect())
}

/// Whether systemd marked the cgroup as delegated. Since version 251, all users can read the mark; before, only root
/// could.
pub(crate) fn is_marked_delegated(directory: &Path) -> bool {
    ["user.delegate", "trusted.delegate"]
        .into_iter()
        .any(|name| attribute(directory, name).is_some_and(|value| value == "1"))
}

fn attribute(directory: &Path, name: &str) -> Option<String> {
    read_attribute(directory, name, LONGEST)
}

/// `None` if there is no such attribute, or if it is longer than `most` bytes.
fn read_attribute(directory: &Path, name: &str, most: usize) -> Option<String> {
    read_bytes(directory, name, most).map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn read_bytes(directory: &Path, name: &str, most: usize) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(most);
    rustix::fs::getxattr(directory, name, spare_capacity(&mut value)).ok()?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::sys::time;

    /// Its /proc entry disappears while we look.
    #[test]
    fn a_supervisor_that_is_being_reaped_is_not_hidden() {
        let begin = time::Instant::now();
        while begin.elapsed() < Duration::from_millis(500) {
            let mut child = Command::new("true").spawn().unwrap();
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            let owner = Owner { pid, start_time: stat::start_time(pid).unwrap_or_default() };
            let reaper = std::thread::spawn(move || child.wait());
            while owner.is_alive().expect("not known") {}
            reaper.join().unwrap().unwrap();
        }
    }
}
