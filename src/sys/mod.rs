//! Thin wrappers around what the kernel offers. The only module with `unsafe` code.
//!
//! Which library a call goes through:
//! - rustix first: its calls are typed and need no errno.
//! - nix for signals, users, mounts, prctl(2) and netlink sockets, which rustix lacks.
//! - libc for fork, clone and what runs between them and exec, where every call must be async-signal-safe,
//!   and for constants and calls that the other two lack.
//! - procfs parses `/proc/PID/stat`.

pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod directory_watch;
#[cfg(all(not(test), target_env = "gnu"))]
pub(crate) mod entry;
pub(crate) mod errno;
pub(crate) mod job_control;
pub(crate) mod kernel;
pub(crate) mod lease;
pub(crate) mod loopback;
pub(crate) mod network_namespace;
pub(crate) mod nonce;
pub(crate) mod poll;
pub(crate) mod port;
pub(crate) mod preload;
pub(crate) mod process;
pub(crate) mod procfs;
pub(crate) mod regular_file;
pub(crate) mod search_path;
pub(crate) mod shared_counters;
pub(crate) mod signals;
pub(crate) mod small_file;
pub(crate) mod sockets;
pub(crate) mod system_v;
pub(crate) mod terminal;
pub(crate) mod time;
pub(crate) mod unix_sockets;
pub(crate) mod users;
