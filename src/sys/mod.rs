//! What the kernel offers, wrapped thinly. The only module with `unsafe` code.

pub mod children;
pub mod detach;
pub mod details;
pub mod environ;
pub mod handshake;
pub mod identity;
pub mod memory;
pub mod namespace;
pub mod pidfd;
pub mod proc;
pub mod signals;
pub mod sock_diag;
pub mod spawn;
pub mod tty;

use std::time::Instant;

use rustix::event::Timespec;

/// The timeout of poll(2) that lasts until `deadline` by this clock's `now`; `None`, which waits for
/// ever, where it is out of reach.
pub fn timeout(deadline: Instant, now: Instant) -> Option<Timespec> {
    Timespec::try_from(deadline.saturating_duration_since(now)).ok()
}
