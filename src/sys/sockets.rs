//! Lists the TCP listeners and UDP sockets, with their ports and cgroups, through sock_diag(7).
//!
//! The kernel walks only its listening sockets, so the cost does not grow with the connections, processes or
//! descriptors of the host. It names the cgroup in which each socket was created.

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::port::{Port, Protocol};

/// Asks for the TCP sockets of both address families at once (`inet_diag_dump_compat`, net/ipv4/inet_diag.c).
const TCPDIAG_GETSOCK: u16 = 18;
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const TCP_TIME_WAIT: u32 = 6;
/// The state of a UDP socket that is not connected.
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
/// `linux/inet_diag.h`; since Linux 5.9 (commit 6e3a401fc8af).
const INET_DIAG_CGROUP_ID: u16 = 21;

pub(super) const HEADER: usize = 16;
/// `struct inet_diag_req`.
const OLD_REQUEST: usize = HEADER + 60;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = HEADER + 56;
/// `struct inet_diag_msg`, before its attributes.
pub(super) const REPLY: usize = 72;
/// The kernel fills at most this much at a time (`netlink_recvmsg`, net/netlink/af_netlink.c). Memory that it does not
/// fill is not touched.
const CHUNK: usize = 32 * 1024;
/// A dump that changed while we read it is requested again, at most this many times.
const ATTEMPTS: usize = 5;

/// One listening TCP socket of this network namespace, or a UDP socket that receives from any address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub address: IpAddr,
    pub port: Port,
    /// The number in `/proc/PID/fd/N -> socket:[inode]`.
    pub inode: u32,
    pub uid: u32,
    /// The inode of the directory of the cgroup in which the socket was created. It never changes.
    pub cgroup: Option<u64>,
}

/// `127.0.0.1:8000`, or `127.0.0.1:8125/udp`.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = SocketAddr::new(self.address, self.port.number);
        match self.port.protocol {
            Protocol::Tcp => address.fmt(f),
            Protocol::Udp => write!(f, "{address}/udp"),
        }
    }
}

/// All listening TCP sockets, IPv4 and IPv6, of this network namespace.
///
/// An error means that the listeners are unknown, never that there are none.
pub(crate) fn listeners() -> io::Result<Vec<Listener>> {
    // The kernel walks its table once instead of once for each family.
    let mut found = dump(&[&old_request(1 << TCP_LISTEN)], tcp_listener)
        .or_else(|_| dump_families(libc::IPPROTO_TCP, 1 << TCP_LISTEN, 0, tcp_listener))?;
    found.sort_by_key(|listener| listener.address.is_ipv6());
    Ok(found)
}

fn tcp_listener(message: &[u8]) -> Option<Listener> {
    listener(message, Protocol::Tcp)
}

/// All UDP sockets that are not connected, likewise.
pub(crate) fn udp_listeners() -> io::Result<Vec<Listener>> {
    dump_families(libc::IPPROTO_UDP, 1 << TCP_CLOSE, 0, |message| listener(message, Protocol::Udp))
}

/// A connection in TIME_WAIT: no process holds it any longer, but the kernel keeps its port for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWait {
    pub port: u16,
    pub time_left: Duration,
}

/// All TCP connections in TIME_WAIT of this network namespace. The kernel walks all connections, so call this only
/// if a user waits for the answer.
pub(crate) fn in_time_wait() -> io::Result<Vec<TimeWait>> {
    dump_families(libc::IPPROTO_TCP, 1 << TCP_TIME_WAIT, 0, |message| {
        (message.len() >= REPLY).then(|| TimeWait {
            port: local_port(message),
            time_left: Duration::from_millis(u32_at(message, 52).into()),
        })
    })
}

/// The sockets of this protocol in one of `states`, IPv4 and IPv6, with these additional attributes: one bit for each.
pub(super) fn dump_families<T>(
    protocol: c_int,
    states: u32,
    attributes: u8,
    parse: fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let [ipv4, ipv6] =
        [libc::AF_INET, libc::AF_INET6].map(|family| request(family as u8, protocol, states, attributes));
    dump(&[&ipv4, &ipv6], parse)
}

/// The sockets that these requests ask for.
pub(super) fn dump<T>(requests: &[&[u8]], parse: fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let mut found = Vec::new();
    for request in requests {
        let mut attempts = 0;
        loop {
            let mut dump = Vec::new();
            let read = read_dump(&netlink, request, parse, &mut dump);
            if read.map_err(without_module)? {
                found.append(&mut dump);
                break;
            }
            attempts += 1;
            if attempts == ATTEMPTS {
                return Err(io::Error::other("the kernel's socket list kept changing while it was read"));
            }
        }
    }
    Ok(found)
}

/// The kernel cannot list the sockets of a protocol for which its part of sock_diag(7) is missing.
fn without_module(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOENT) => io::Error::other(
            "this kernel cannot list them: load tcp_diag and udp_diag (CONFIG_INET_DIAG, CONFIG_INET_UDP_DIAG)",
        ),
        _ => error,
    }
}

/// Reads what a request asks for; `false` if the list changed while it was read, and must be read again.
fn read_dump<T>(
    netlink: &OwnedFd,
    request: &[u8],
    parse: fn(&[u8]) -> Option<T>,
    found: &mut Vec<T>,
) -> io::Result<bool> {
    send(netlink, request, SendFlags::empty())?;
    let mut buffer = Vec::with_capacity(CHUNK);
    let mut consistent = true;
    loop {
        buffer.clear();
        recv(netlink, spare_capacity(&mut buffer), RecvFlags::empty())?;
        let mut rest = &buffer[..];
        while rest.len() >= HEADER {
            let size = u32_at(rest, 0) as usize;
            if size < HEADER || size > rest.len() {
                return Err(io::Error::other("truncated sock_diag message"));
            }
            let (message, kind, flags) = (&rest[..size], u16_at(rest, 4), u16_at(rest, 6));
            consistent &= flags & NLM_F_DUMP_INTR == 0;
            match kind {
                NLMSG_DONE | NLMSG_ERROR => {
                    // Both carry a negative errno, which is 0 in a DONE after a complete dump.
                    let code = if size >= HEADER + 4 { u32_at(message, HEADER) as i32 } else { 0 };
                    return if code == 0 { Ok(consistent) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => found.extend(parse(&message[HEADER..])),
                _ => {}
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// A request for a list, with nothing but its header (netlink(7)).
pub(super) fn dump_request<const SIZE: usize>(kind: u16) -> [u8; SIZE] {
    let mut request = [0u8; SIZE];
    request[0..4].copy_from_slice(&(SIZE as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request
}

/// Any TCP port of both address families.
fn old_request(states: u32) -> [u8; OLD_REQUEST] {
    let mut request = dump_request::<OLD_REQUEST>(TCPDIAG_GETSOCK);
    request[HEADER + 52..HEADER + 56].copy_from_slice(&states.to_ne_bytes());
    request
}

/// Any port of one address family.
fn request(family: u8, protocol: c_int, states: u32, attributes: u8) -> [u8; REQUEST] {
    let mut request = dump_request::<REQUEST>(SOCK_DIAG_BY_FAMILY);
    request[HEADER] = family;
    request[HEADER + 1] = protocol as u8;
    request[HEADER + 2] = attributes;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// The message must be long enough.
fn local_port(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[4], message[5]])
}

/// An address at this place of a `struct inet_diag_msg`, which begins with the family. `None` if it is too short.
pub(super) fn address(message: &[u8], at: usize) -> Option<IpAddr> {
    Some(if i32::from(*message.first()?) == libc::AF_INET {
        Ipv4Addr::from(<[u8; 4]>::try_from(message.get(at..at + 4)?).ok()?).into()
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(message.get(at..at + 16)?).ok()?).into()
    })
}

fn listener(message: &[u8], protocol: Protocol) -> Option<Listener> {
    if message.len() < REPLY {
        return None;
    }
    Some(Listener {
        address: address(message, 8)?,
        port: Port { number: local_port(message), protocol },
        inode: u32_at(message, 68),
        uid: u32_at(message, 64),
        cgroup: attribute(&message[REPLY..], INET_DIAG_CGROUP_ID)
            .and_then(|value| Some(u64::from_ne_bytes(value.get(..8)?.try_into().ok()?))),
    })
}

pub(super) fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    while rest.len() >= 4 {
        let (size, kind) = (usize::from(u16_at(rest, 0)), u16_at(rest, 2));
        if size < 4 || size > rest.len() {
            return None;
        }
        if kind == wanted {
            return Some(&rest[4..size]);
        }
        rest = &rest[size.next_multiple_of(4).min(rest.len())..];
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    pub(crate) fn inode(socket: &impl AsRawFd) -> u32 {
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino() as u32
    }

    #[test]
    fn names_the_listener_and_its_cgroup() {
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(bound) else {
                assert!(bound.starts_with('['), "IPv4 loopback must be there");
                eprintln!("this host has no IPv6 loopback: {bound} not checked");
                continue;
            };
            let address = socket.local_addr().unwrap();
            let found = listeners().unwrap();
            let ours =
                found.iter().find(|it| it.port == Port::tcp(address.port()) && it.address == address.ip());
            let ours = ours.unwrap_or_else(|| panic!("{address} is not among {found:?}"));
            assert!(ours.cgroup.is_some(), "the kernel names no cgroup: {ours:?}");
            drop(socket);
            assert!(listeners().unwrap().iter().all(|it| it.inode != ours.inode));
        }
    }

    #[test]
    fn both_requests_list_the_same_listeners() {
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
        let ports: HashSet<_> = sockets.iter().flatten().map(|it| it.local_addr().unwrap().port()).collect();
        let families = dump_families(libc::IPPROTO_TCP, 1 << TCP_LISTEN, 0, tcp_listener);
        for found in [dump(&[&old_request(1 << TCP_LISTEN)], tcp_listener), families] {
            let found: HashSet<_> = found.unwrap().into_iter().map(|it| it.port.number).collect();
            assert!(ports.is_subset(&found), "{ports:?} {found:?}");
        }
    }

    #[test]
    fn a_protocol_that_the_kernel_cannot_list_is_an_error_that_says_so() {
        const EXPERIMENTAL: c_int = 253;
        let error =
            dump_families(EXPERIMENTAL, 1 << TCP_CLOSE, 0, |message| listener(message, Protocol::Udp))
                .unwrap_err();
        assert!(error.to_string().contains("CONFIG_INET_UDP_DIAG"), "{error}");
    }

    #[test]
    fn a_malformed_reply_gives_no_listener_and_no_panic() {
        assert_eq!(listener(&[0; 71], Protocol::Tcp), None);
        assert_eq!(attribute(&[0, 0, 21, 0], INET_DIAG_CGROUP_ID), None);
        assert_eq!(attribute(&[255, 0, 21, 0, 1], INET_DIAG_CGROUP_ID), None);
    }
}
