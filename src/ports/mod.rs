//! Finds which processes hold a port, and whether they belong to the session.

pub(crate) mod reclaim;
pub(crate) mod time_wait;

use std::fmt;

use crate::sys::port::{Port, Protocol};
use crate::sys::procfs::descriptors::socket_holders;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::small_file::read_single;
use crate::sys::sockets::{Listener, listeners, udp_listeners};

/// All listeners on one of `ports`. Costs one walk over the host's listening sockets.
pub(crate) fn listening_on(ports: &[Port]) -> std::io::Result<Vec<Listener>> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = listeners()?;
    if ports.iter().any(|port| port.protocol == Protocol::Udp) {
        found.extend(udp_listeners()?);
    }
    Ok(found.into_iter().filter(|listener| ports.contains(&listener.port)).collect())
}

/// Everything that listens, as far as it can be known, to describe processes. A UDP socket whose port the kernel has chosen
/// is a client's.
pub(crate) fn servers() -> Vec<Listener> {
    let first_chosen = read_single("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| String::from_utf8(range).ok()?.split_whitespace().next()?.parse().ok())
        .unwrap_or(u16::MAX);
    let udp = udp_listeners().unwrap_or_default().into_iter();
    let mut found = listeners().unwrap_or_default();
    found.extend(udp.filter(|listener| listener.port.number < first_chosen));
    found
}

/// Whether the socket was created in one of these cgroups.
pub(crate) fn made_in(listener: &Listener, cgroups: &[u64]) -> bool {
    listener.cgroup.is_some_and(|number| cgroups.contains(&number))
}

/// One held port and its holders, for people.
#[derive(Debug)]
pub(crate) struct Holding {
    pub port: Port,
    pub holders: Vec<ProcessInfo>,
    uid: u32,
}

impl Holding {
    /// Finds the processes that have one of the sockets open. This is slow, so use it only once something is
    /// wrong.
    pub(crate) fn of(listeners: &[Listener]) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for first in listeners {
            if found.iter().any(|holding| holding.port == first.port) {
                continue;
            }
            let sockets: Vec<_> =
                listeners.iter().filter(|it| it.port == first.port).map(|it| it.inode).collect();
            let holders = socket_holders(&sockets).into_iter().filter_map(ProcessInfo::read).collect();
            found.push(Self { port: first.port, holders, uid: first.uid });
        }
        found
    }
}

/// `port 8000 is taken by pid 4711 (uvicorn app:app, started 3 h ago by ci)`
impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} is taken by ", self.port)?;
        match self.holders.as_slice() {
            [] => write!(
                f,
                "a process of uid {} that cgrun is not permitted to inspect (or that is in another PID namespace)",
                self.uid
            ),
            [only] => write!(f, "{only}"),
            // Workers share one socket; the oldest is the one that opened it.
            several => {
                let oldest = several.iter().max_by_key(|holder| holder.age).unwrap_or(&several[0]);
                write!(f, "{oldest} and {} more", several.len() - 1)
            }
        }
    }
}
