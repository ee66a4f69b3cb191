//! Looks at the sockets and addresses of a network namespace, which can be another one than ours (network_namespaces(7)).

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::ifaddrs::getifaddrs;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the kernel calls the network namespace of a process, if we are allowed to know it.
pub(crate) fn name_of(pid: Pid) -> Option<String> {
    let name = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    Some(name.to_string_lossy().into_owned())
}

/// The addresses of the network interfaces in the network namespace of this thread.
pub(crate) fn addresses() -> io::Result<HashSet<IpAddr>> {
    let found = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|it| it.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|it| it.ip().into()))
    });
    Ok(found.collect())
}

/// Calls this function in the network namespace of a process. If that is not ours, only a thread of its own enters it, and that has exited when
/// this returns: to leave a namespace again can be forbidden.
pub(crate) fn within<T: Send>(pid: Pid, function: impl FnOnce() -> T + Send) -> io::Result<T> {
    if name_of(pid).is_some_and(|name| name_of(rustix::process::getpid()) == Some(name)) {
        return Ok(function());
    }
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(function())
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    #[test]
    fn the_addresses_are_those_that_a_socket_can_have() {
        let found = addresses().unwrap();
        assert!(found.contains(&Ipv4Addr::LOCALHOST.into()), "{found:?}");
        let has = |address: &IpAddr| UdpSocket::bind((*address, 0)).is_ok();
        assert!(found.iter().filter(|it| it.is_ipv4()).all(has), "{found:?}");
    }
}
