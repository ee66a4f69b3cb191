//! What the kernel offers, wrapped thinly. The only module with `unsafe` code.

pub mod children;
pub mod detach;

pub mod pidfd;
pub mod proc;
pub mod signals;
pub mod sock_diag;
pub mod spawn;
pub mod tty;
