//! Starting processes, holding on to them, and what this process is to others.

mod capabilities;
pub mod children;
pub mod detach;
pub mod fork;
pub mod handshake;
pub mod identity;
pub mod namespace;
pub mod pidfd;
pub mod spawn;
