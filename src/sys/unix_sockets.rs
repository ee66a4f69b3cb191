//! The two ends of Unix sockets, by their inodes, through sock_diag(7).

use std::collections::HashMap;
use std::io;

use super::sockets::{HEADER, SOCK_DIAG_BY_FAMILY, attribute, dump, dump_request, u32_at};

/// `struct unix_diag_req`, `struct unix_diag_msg`, what to show, and the attributes (linux/unix_diag.h).
const REQUEST: usize = HEADER + 24;
const REPLY: usize = 16;
const UDIAG_SHOW_PEER: u32 = 4;
const UDIAG_SHOW_ICONS: u32 = 8;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_ICONS: u16 = 3;

/// What a Unix socket is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnixPeer {
    /// The socket with this inode.
    Socket(u32),
    /// The listening socket with this inode. No process has accepted the connection yet.
    Listener(u32),
}

/// The peer of each connected Unix socket of this network namespace.
pub(crate) fn unix_peers() -> io::Result<HashMap<u32, UnixPeer>> {
    let mut request = dump_request::<REQUEST>(SOCK_DIAG_BY_FAMILY);
    request[HEADER] = libc::AF_UNIX as u8;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&u32::MAX.to_ne_bytes());
    let shown = UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS;
    request[HEADER + 12..HEADER + 16].copy_from_slice(&shown.to_ne_bytes());
    Ok(dump(&[&request], |message| Some(peers(message)))?.into_iter().flatten().collect())
}

/// Of this socket, or, if it listens, of those that want to connect to it.
fn peers(message: &[u8]) -> Vec<(u32, UnixPeer)> {
    let Some(attributes) = message.get(REPLY..) else { return Vec::new() };
    let inode = u32_at(message, 4);
    let peer = attribute(attributes, UNIX_DIAG_PEER).and_then(|it| it.get(..4)).map(|it| u32_at(it, 0));
    let waiting = attribute(attributes, UNIX_DIAG_ICONS).unwrap_or_default();
    let waiting = waiting.chunks_exact(4).map(|client| (u32_at(client, 0), UnixPeer::Listener(inode)));
    // A socket that was not accepted yet has no inode.
    let peer = peer.filter(|it| *it != 0).map(|peer| (inode, UnixPeer::Socket(peer)));
    peer.into_iter().chain(waiting).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::sys::sockets::tests::inode;

    #[test]
    fn the_peer_of_a_unix_socket_is_found() {
        let (one, other) = UnixStream::pair().unwrap();
        assert_eq!(unix_peers().unwrap().get(&inode(&one)), Some(&UnixPeer::Socket(inode(&other))));
    }

    #[test]
    fn the_listener_that_has_not_accepted_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let client = UnixStream::connect(directory.path().join("socket")).unwrap();
        let peer = || unix_peers().unwrap().get(&inode(&client)).copied();
        assert_eq!(peer(), Some(UnixPeer::Listener(inode(&listener))));
        let (server, _) = listener.accept().unwrap();
        assert_eq!(peer(), Some(UnixPeer::Socket(inode(&server))));
    }

    #[test]
    fn a_malformed_reply_gives_no_peer_and_no_panic() {
        assert_eq!(peers(&[0; 15]), []);
        assert_eq!(peers(&[0; 16]), []);
    }
}
