//! Connections over TCP and UDP, and what the kernel tells of their progress, through sock_diag(7).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::port::Protocol;
use super::sockets::{REPLY, address, attribute, dump_families, u32_at};

/// The states of the kernel (net/tcp_states.h). UDP has the first one only.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const TIME_WAIT: u8 = 6;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;
/// The states above this one are not used.
const LAST_STATE: u8 = 12;
/// The attribute with `struct tcp_info` (linux/inet_diag.h, linux/tcp.h).
const INET_DIAG_INFO: u16 = 2;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub protocol: Protocol,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// 0 if no process has it: it was not accepted yet, or is closed.
    pub inode: u32,
    pub state: State,
    /// The bytes that have arrived, and that no process has read.
    pub unread: u32,
    /// The bytes that the other host has not acknowledged, or for UDP not been sent.
    pub unsent: u32,
    /// For how long nothing has arrived. `None` if the kernel does not tell.
    pub silent_for: Option<Duration>,
    /// The bytes that it has carried in both directions.
    pub carried: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits for the answer to its first packet.
    Connecting,
    Open,
    /// This end will send no more.
    ClosedHere,
    /// The other end will send no more.
    ClosedThere,
}

/// All TCP connections of this network namespace, but not those in TIME_WAIT.
pub(crate) fn tcp_connections() -> io::Result<Vec<Connection>> {
    let all = (1 << (LAST_STATE + 1)) - 1;
    let states = all & !(1 << LISTEN) & !(1 << TIME_WAIT);
    dump_families(libc::IPPROTO_TCP, states, 1 << (INET_DIAG_INFO - 1), |it| connection(it, Protocol::Tcp))
}

/// All connected UDP sockets of this network namespace.
pub(crate) fn udp_connections() -> io::Result<Vec<Connection>> {
    dump_families(libc::IPPROTO_UDP, 1 << ESTABLISHED, 0, |it| connection(it, Protocol::Udp))
}

fn connection(message: &[u8], protocol: Protocol) -> Option<Connection> {
    if message.len() < REPLY {
        return None;
    }
    let end = |at: usize, port: usize| {
        let port = u16::from_be_bytes([message[port], message[port + 1]]);
        // A socket for both families shows the addresses of IPv4 as a part of IPv6.
        Some(SocketAddr::new(address(message, at)?.to_canonical(), port))
    };
    let state = match message[1] {
        SYN_SENT => State::Connecting,
        FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK => State::ClosedHere,
        CLOSE_WAIT => State::ClosedThere,
        _ => State::Open,
    };
    let info = attribute(&message[REPLY..], INET_DIAG_INFO).map(Info);
    Some(Connection {
        protocol,
        local: end(8, 4)?,
        remote: end(24, 6)?,
        inode: u32_at(message, 68),
        state,
        unread: u32_at(message, 56),
        unsent: u32_at(message, 60),
        silent_for: info.and_then(|info| match state {
            State::Connecting => info.connecting_for(message[3], u32_at(message, 52)),
            _ => info.last_data_received(),
        }),
        carried: info.map_or(0, |info| info.carried()),
    })
}

/// `struct tcp_info`. Older kernels have a shorter one.
#[derive(Clone, Copy)]
struct Info<'a>(&'a [u8]);

impl Info<'_> {
    fn number(self, at: usize) -> Option<u32> {
        self.0.get(at..at + 4).map(|bytes| u32_at(bytes, 0))
    }

    fn long(self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.0.get(at..at + 8)?.try_into().ok()?))
    }

    fn last_data_received(self) -> Option<Duration> {
        self.number(52).map(|milliseconds| Duration::from_millis(milliseconds.into()))
    }

    /// The kernel does not tell when it sent the first packet. But it tells how often it has sent it again, how often it
    /// has doubled the time until then, and what is left of that in milliseconds.
    fn connecting_for(self, retransmissions: u8, time_left: u32) -> Option<Duration> {
        let doubled = u32::from(*self.0.get(4)?);
        let timeout = Duration::from_micros(self.number(8)?.into());
        let first = timeout / 2u32.checked_pow(doubled)?;
        let at_first = first * u32::from(retransmissions).saturating_sub(doubled);
        let since_the_last = timeout.saturating_sub(Duration::from_millis(time_left.into()));
        Some(at_first + (timeout - first) + since_the_last)
    }

    fn carried(self) -> u64 {
        [120, 128].into_iter().filter_map(|at| self.long(at)).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::sys::sockets::tests::inode;

    #[test]
    fn both_ends_of_a_tcp_connection_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let of_client = |it: &&Connection| it.inode == inode(&client);
        let of_server = |it: &&Connection| it.local == listener.local_addr().unwrap();
        let found = tcp_connections().unwrap();
        let unaccepted = found.iter().find(of_server).unwrap();
        assert_eq!((unaccepted.inode, unaccepted.state), (0, State::Open));
        let server = listener.accept().unwrap().0;
        let found = tcp_connections().unwrap();
        let (one, other) = (found.iter().find(of_client).unwrap(), found.iter().find(of_server).unwrap());
        assert_eq!((one.remote, one.local, inode(&server)), (other.local, other.remote, other.inode));
        let (before, unread) = (one.carried, other.unread);
        client.write_all(b"hello").unwrap();
        let found = tcp_connections().unwrap();
        let (one, other) = (
            found.iter().find(|it| it.inode == inode(&client)).unwrap(),
            found.iter().find(of_server).unwrap(),
        );
        assert_eq!((one.carried - before, unread, other.unread), (5, 0, 5));
        assert!(one.silent_for.is_some_and(|silent| silent < Duration::from_secs(60)), "{one:?}");
    }

    #[test]
    fn a_connected_udp_socket_shows_its_remote() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let found = udp_connections().unwrap();
        let own = found.iter().find(|it| it.inode == inode(&client)).unwrap();
        assert_eq!(own.remote, server.local_addr().unwrap());
    }

    #[test]
    fn the_time_since_the_first_packet_is_computed() {
        let info = |doubled: u8, timeout: u32| {
            let mut info = [0; 60];
            info[4] = doubled;
            info[8..12].copy_from_slice(&timeout.to_ne_bytes());
            info
        };
        let connecting_for = |doubled, timeout: u64, again, left| {
            Info(&info(doubled, timeout as u32 * 1_000_000)).connecting_for(again, left).unwrap().as_millis()
        };
        // Nothing was sent again yet.
        assert_eq!(connecting_for(0, 1, 0, 400), 600);
        // After 1 second each, as newer kernels do at first.
        assert_eq!(connecting_for(0, 1, 3, 400), 3600);
        // After 1, 2 and 4 seconds.
        assert_eq!(connecting_for(3, 8, 3, 8000), 7000);
        // After 1, 1, 1, 1 and 1 second, and 2 seconds.
        assert_eq!(connecting_for(2, 4, 6, 4000), 7000);
        assert_eq!(Info(&[0; 3]).connecting_for(0, 0), None);
    }

    #[test]
    fn a_malformed_reply_gives_no_connection_and_no_panic() {
        assert_eq!(connection(&[0; 71], Protocol::Tcp), None);
        let without_info = connection(&[0; 72], Protocol::Tcp).unwrap();
        assert_eq!((without_info.silent_for, without_info.carried), (None, 0));
    }
}
