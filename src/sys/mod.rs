//! What the kernel offers, wrapped thinly. The only room with `unsafe` code.
//!
//! Which library a call goes through:
//! - rustix first: its calls are typed and need no errno.
//! - nix for signals, users, mounts, prctl(2) and netlink sockets, which rustix lacks.
//! - libc for fork, clone and what runs between them and exec, where every call must be async-signal-safe, and
//!   for constants and calls that neither of the others offers.
//! - procfs parses `/proc/PID/stat`.

pub mod errno;
pub mod poll;
pub mod process;
pub mod procfs;
pub mod signals;
pub mod sockets;
pub mod terminal;
pub mod users;
