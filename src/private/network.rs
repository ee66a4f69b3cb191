//! A network namespace of the session's own, in which every port is free.

use std::io;

use super::namespaces::remedy;
use crate::sys::loopback;
use crate::text::plain;

/// From here on, an ordinary user can listen on a port. 0 leaves none to root alone: there is no other user here.
const FIRST_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

#[derive(Debug, thiserror::Error)]
#[error(
    "its loopback interface cannot be enabled: {}; root needs CAP_NET_ADMIN for it{}",
    plain(source),
    remedy()
)]
pub(super) struct NoLoopback {
    source: io::Error,
}

/// In the new namespace.
pub(super) fn set_up() -> Result<(), NoLoopback> {
    loopback::enable().map_err(|source| NoLoopback { source })?;
    // Where /proc is read-only, ports below 1024 stay root's.
    let _ = std::fs::write(FIRST_PORT, "0");
    Ok(())
}
