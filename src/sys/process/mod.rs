//! Starts processes, holds on to them, and detaches this process from others.

mod capabilities;
pub(crate) mod cgroup_mount;
mod child;
pub(crate) mod children;
pub(crate) mod copy;
pub(crate) mod descriptor_limit;
pub(crate) mod detach;
pub(crate) mod first_process;
pub(crate) mod fork;
pub(crate) mod handshake;
pub(crate) mod held_namespaces;
pub(crate) mod identity;
pub(crate) mod keeper;
pub(crate) mod line;
mod listen_pid;
pub(crate) mod namespace;
pub(crate) mod own_environment;
pub(crate) mod parent;
pub(crate) mod pidfd;
mod program;
mod shared_memory;
pub(crate) mod spawn;
pub(crate) mod starters;
pub(crate) mod trial;
