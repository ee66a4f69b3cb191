//! What a process has read and written (`/proc/PID/io`, proc_pid_io(5)), and what its network has carried.

use std::io;

use rustix::process::Pid;

use crate::sys::errno::is_gone;
use crate::sys::small_file::{read_all, read_single};

/// The bytes that a process and the children that it has waited for have read and written so far, through any descriptor
/// or mapping. The kernel does not count what they have sent with send(2) or received with recv(2). `None` if the process
/// is gone.
pub(crate) fn bytes(pid: Pid) -> io::Result<Option<u64>> {
    match read_single(format!("/proc/{pid}/io")) {
        Ok(text) => Ok(Some(sum(&String::from_utf8_lossy(&text)))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn sum(text: &str) -> u64 {
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    let is_bytes = |name: &str| ["rchar", "wchar", "read_bytes", "write_bytes"].contains(&name);
    fields.filter(|(name, _)| is_bytes(name)).filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

/// How many packets the loopback interface has carried in the network namespace of a process.
pub(crate) fn loopback_packets(pid: Pid) -> io::Result<u64> {
    let text = read_all(format!("/proc/{pid}/net/dev"))?;
    let line = String::from_utf8_lossy(&text).lines().find_map(|line| packets(line.trim_start()));
    line.ok_or_else(|| io::Error::other("there is no loopback interface"))
}

/// `lo: 840 10 0 0 ...`: bytes, then packets.
fn packets(line: &str) -> Option<u64> {
    line.strip_prefix("lo:")?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_read_is_counted() {
        let us = rustix::process::getpid();
        let before = bytes(us).unwrap().unwrap();
        let read = std::fs::read("/proc/version").unwrap().len() as u64;
        assert!(bytes(us).unwrap().unwrap() >= before + read);
    }

    #[test]
    fn only_the_packets_of_the_loopback_interface_count() {
        assert_eq!(packets("lo: 840 10 0 0 0"), Some(10));
        assert_eq!(packets("eth0: 840 10 0 0 0"), None);
        loopback_packets(rustix::process::getpid()).unwrap();
    }
}
