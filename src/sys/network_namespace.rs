//! Looks at the sockets of another network namespace (network_namespaces(7)).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the kernel calls the network namespace of a process, if we are allowed to know it.
pub(crate) fn name_of(pid: Pid) -> Option<String> {
    let name = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    Some(name.to_string_lossy().into_owned())
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
