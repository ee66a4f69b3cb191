//! The servers that resolve names, for a session whose network is not the host's.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::sys::network_namespace;
use crate::text::plain;

const CONF: &str = "/etc/resolv.conf";
const FOR_ALL: u32 = 0o644;
const SERVER: &str = "nameserver";
/// Where pasta takes questions for the host's first server. No host has a link-local address that nobody assigned
/// (RFC 3927).
pub(super) const FORWARDER: &str = "169.254.1.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Servers {
    /// At least one is not on the host itself, or the session's network is the host's.
    Reachable,
    /// All of them are on the host itself, such as that of systemd-resolved.
    Unreachable,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot replace {CONF}, whose servers are out of reach: {}", plain(source))]
pub(super) struct NoResolver {
    source: io::Error,
}

impl Servers {
    /// As seen from a network that is not the host's, but has its addresses.
    pub(super) fn of_host() -> Self {
        let Ok(text) = std::fs::read_to_string(CONF) else { return Self::Reachable };
        Self::of(&text, &network_namespace::addresses().unwrap_or_default())
    }

    fn of(text: &str, of_host: &HashSet<IpAddr>) -> Self {
        let servers: Vec<&str> = text.lines().filter_map(server).collect();
        let addresses: Vec<IpAddr> = servers.iter().filter_map(|it| it.parse().ok()).collect();
        let is_on_host = |it: &IpAddr| it.is_loopback() || of_host.contains(it);
        let all_are = addresses.len() == servers.len() && addresses.iter().all(is_on_host);
        // pasta passes on by IPv4 only what is for an IPv4 server.
        if all_are && addresses.iter().any(IpAddr::is_ipv4) { Self::Unreachable } else { Self::Reachable }
    }
}

fn server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some(SERVER)).then(|| words.next()).flatten()
}

/// Puts another file in the place of the host's, which names pasta instead. In the new mount namespace.
pub(super) fn replace() -> Result<(), NoResolver> {
    let text = std::fs::read_to_string(CONF).map(|text| renamed(&text));
    let replaced = text.and_then(|text| cover(&Path::new(CONF).canonicalize()?, &text));
    replaced.map_err(|source| NoResolver { source })
}

/// Everything else in it stays: domains to search, options.
fn renamed(text: &str) -> String {
    let others = text.lines().filter(|line| server(line).is_none());
    let ours = format!("{SERVER} {FORWARDER}");
    others.chain([ours.as_str()]).map(|line| format!("{line}\n")).collect()
}

/// Mounts a file with this text on `path`. The file is in a file system that no directory shows any more.
fn cover(path: &Path, text: &str) -> io::Result<()> {
    let nothing: Option<&str> = None;
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, nothing)?;
    let file = write(path, text);
    umount2(directory, MntFlags::MNT_DETACH)?;
    Ok(move_mount(file?, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn write(path: &Path, text: &str) -> io::Result<OwnedFd> {
    let mut file = File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(FOR_ALL))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, path, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_the_host_itself_are_out_of_reach() {
        let of_host = HashSet::from(["10.0.0.7".parse().unwrap()]);
        for text in [
            "nameserver 127.0.0.53\noptions edns0\n",
            "nameserver ::1\nnameserver 127.0.0.1",
            "nameserver 10.0.0.7",
        ] {
            assert_eq!(Servers::of(text, &of_host), Servers::Unreachable, "{text}");
        }
        for text in
            ["", "nameserver ::1", "nameserver 127.0.0.1\nnameserver fd00::1", "nameserver fe80::1%eth0"]
        {
            assert_eq!(Servers::of(text, &of_host), Servers::Reachable, "{text}");
        }
    }

    #[test]
    fn only_the_servers_are_replaced() {
        let text = "# by hand\nnameserver 127.0.0.53\noptions edns0\nsearch example.org\n";
        assert_eq!(renamed(text), "# by hand\noptions edns0\nsearch example.org\nnameserver 169.254.1.1\n");
    }
}
