//! A network namespace of the session's own, in which every port is free.

use std::io;

use caps::{CapSet, Capability};
use nix::sched::CloneFlags;

use crate::sys::process::namespace;
use crate::sys::{kernel, loopback};
use crate::text::plain;

/// From here on, an ordinary user can listen on a port. 0 leaves none to root alone: there is no other user here.
const FIRST_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Why there can be no private network.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoNetwork {
    #[error("the kernel refuses to create a network namespace: {}{}", plain(source), remedy())]
    Refused { source: io::Error },
    #[error("the loopback interface of the new network cannot be enabled: {}{}", plain(source), remedy())]
    NoLoopback { source: io::Error },
    #[error(
        "without CAP_SYS_ADMIN, root can create a network namespace only inside a user namespace, where it would lose \
         root's access to files; run with CAP_SYS_ADMIN and CAP_NET_ADMIN, or as another user"
    )]
    Powerless,
}

/// How to change the settings of this host that forbid it.
fn remedy() -> String {
    let sysctls = kernel::settings_against_namespaces();
    sysctls.map(|it| format!("; allow user namespaces: {it}")).unwrap_or_default()
}

/// Moves this process, and all that it starts from now on, into a new network. An ordinary user needs a user namespace
/// around it.
///
/// Must be called while this process has a single thread.
pub(super) fn enter() -> Result<(), NoNetwork> {
    let privileged = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false);
    if !privileged && rustix::process::geteuid().is_root() {
        return Err(NoNetwork::Powerless);
    }
    // In the user namespace they have no meaning until they are mapped.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let user = if privileged { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    let refused = |source| NoNetwork::Refused { source };
    nix::sched::unshare(user | CloneFlags::CLONE_NEWNET).map_err(|errno| refused(errno.into()))?;
    if !privileged {
        namespace::map_user(uid, gid).map_err(refused)?;
    }
    loopback::enable().map_err(|source| NoNetwork::NoLoopback { source })?;
    // Where /proc is read-only, ports below 1024 stay root's.
    let _ = std::fs::write(FIRST_PORT, "0");
    Ok(())
}
