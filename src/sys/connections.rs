//! The two ends of connections: TCP by their addresses, and Unix sockets by their inodes, through sock_diag(7).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::sockets::{
    HEADER, NLM_F_DUMP, NLM_F_REQUEST, REPLY, SOCK_DIAG_BY_FAMILY, attribute, dump, dump_families, u32_at,
};

const TCP_SYN_SENT: u8 = 2;
const TCP_TIME_WAIT: u32 = 6;
const TCP_LISTEN: u32 = 10;
/// The states above this one are not used.
const LAST_STATE: u32 = 12;
/// `struct unix_diag_req`, `struct unix_diag_msg`, and the peer (linux/unix_diag.h).
const UNIX_REQUEST: usize = HEADER + 24;
const UNIX_REPLY: usize = 16;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;

/// One end of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// 0 if no process has it: it was not accepted yet, or is closed.
    pub inode: u32,
    /// It waits for the answer to its first packet.
    pub is_connecting: bool,
    /// How often that, or other data, was sent again.
    pub retransmissions: u8,
}

/// All TCP connections of this network namespace, but not those in TIME_WAIT.
pub(crate) fn connections() -> io::Result<Vec<Connection>> {
    let all = (1 << (LAST_STATE + 1)) - 1;
    let states = all & !(1 << TCP_LISTEN) & !(1 << TCP_TIME_WAIT);
    dump_families(libc::IPPROTO_TCP, states, connection)
}

/// The inode of the peer of each connected Unix socket.
pub(crate) fn unix_peers() -> io::Result<HashMap<u32, u32>> {
    let mut request = [0u8; UNIX_REQUEST];
    request[0..4].copy_from_slice(&(UNIX_REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request[HEADER] = libc::AF_UNIX as u8;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&u32::MAX.to_ne_bytes());
    request[HEADER + 12..HEADER + 16].copy_from_slice(&UDIAG_SHOW_PEER.to_ne_bytes());
    Ok(dump(&[&request], unix_peer)?.into_iter().collect())
}

fn connection(message: &[u8]) -> Option<Connection> {
    if message.len() < REPLY {
        return None;
    }
    let address = |at: usize, port: usize| {
        let port = u16::from_be_bytes([message[port], message[port + 1]]);
        let ip = if i32::from(message[0]) == libc::AF_INET {
            IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&message[at..at + 4]).ok()?))
        } else {
            // A socket for both families shows the addresses of IPv4 as a part of IPv6.
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&message[at..at + 16]).ok()?)).to_canonical()
        };
        Some(SocketAddr::new(ip, port))
    };
    Some(Connection {
        local: address(8, 4)?,
        remote: address(24, 6)?,
        inode: u32_at(message, 68),
        is_connecting: message[1] == TCP_SYN_SENT,
        retransmissions: message[3],
    })
}

fn unix_peer(message: &[u8]) -> Option<(u32, u32)> {
    let peer = attribute(message.get(UNIX_REPLY..)?, UNIX_DIAG_PEER)?;
    Some((u32_at(message, 4), u32::from_ne_bytes(peer.get(..4)?.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn inode(socket: &impl AsRawFd) -> u32 {
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino() as u32
    }

    #[test]
    fn both_ends_of_a_tcp_connection_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let of_client = |it: &&Connection| it.inode == inode(&client);
        let of_server = |it: &&Connection| it.local == listener.local_addr().unwrap();
        let found = connections().unwrap();
        let unaccepted = found.iter().find(of_server).unwrap();
        assert_eq!((unaccepted.inode, unaccepted.is_connecting), (0, false));
        let server = listener.accept().unwrap().0;
        let found = connections().unwrap();
        let (one, other) = (found.iter().find(of_client).unwrap(), found.iter().find(of_server).unwrap());
        assert_eq!((one.remote, one.local, inode(&server)), (other.local, other.remote, other.inode));
    }

    #[test]
    fn the_peer_of_a_unix_socket_is_found() {
        let (one, other) = UnixStream::pair().unwrap();
        assert_eq!(unix_peers().unwrap().get(&inode(&one)), Some(&inode(&other)));
    }

    #[test]
    fn a_malformed_reply_gives_no_connection_and_no_panic() {
        assert_eq!(connection(&[0; 71]), None);
        assert_eq!(unix_peer(&[0; 15]), None);
        assert_eq!(unix_peer(&[0; 16]), None);
    }
}
