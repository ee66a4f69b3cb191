//! The two ends of Unix sockets, by their inodes, through sock_diag(7).

use std::collections::HashMap;
use std::io;

use super::sockets::{HEADER, NLM_F_DUMP, NLM_F_REQUEST, SOCK_DIAG_BY_FAMILY, attribute, dump, u32_at};

/// `struct unix_diag_req`, `struct unix_diag_msg`, and what to show (linux/unix_diag.h).
const REQUEST: usize = HEADER + 24;
const REPLY: usize = 16;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;

/// The inode of the peer of each connected Unix socket of this network namespace.
pub(crate) fn unix_peers() -> io::Result<HashMap<u32, u32>> {
    let mut request = [0u8; REQUEST];
    request[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request[HEADER] = libc::AF_UNIX as u8;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&u32::MAX.to_ne_bytes());
    request[HEADER + 12..HEADER + 16].copy_from_slice(&UDIAG_SHOW_PEER.to_ne_bytes());
    Ok(dump(&[&request], unix_peer)?.into_iter().collect())
}

fn unix_peer(message: &[u8]) -> Option<(u32, u32)> {
    let peer = attribute(message.get(REPLY..)?, UNIX_DIAG_PEER)?;
    Some((u32_at(message, 4), u32::from_ne_bytes(peer.get(..4)?.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_peer_of_a_unix_socket_is_found() {
        let inode = |socket: &UnixStream| {
            std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino() as u32
        };
        let (one, other) = UnixStream::pair().unwrap();
        assert_eq!(unix_peers().unwrap().get(&inode(&one)), Some(&inode(&other)));
    }

    #[test]
    fn a_malformed_reply_gives_no_peer_and_no_panic() {
        assert_eq!(unix_peer(&[0; 15]), None);
        assert_eq!(unix_peer(&[0; 16]), None);
    }
}
