//! What was there before the session began.

use std::io;
use std::time::SystemTime;

use super::private_directories::PrivateDirectory;
use crate::sys::system_v::{ObjectKind, read_table};
use crate::sys::time::time_of_files;

/// What a session does not share with the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub ipc: bool,
    pub shm: bool,
    pub tmp: bool,
}

/// Costs a few system calls: it is parsed only if it looks different at the end.
#[derive(Debug)]
pub(crate) struct Before {
    /// By the clock of files.
    pub(super) began: SystemTime,
    pub(super) private: Own,
    /// The tables of the System V objects, as the kernel writes them. An own IPC namespace is empty.
    pub(super) tables: Vec<(ObjectKind, io::Result<Vec<u8>>)>,
    pub(super) directories: Vec<PrivateDirectory>,
}

impl Before {
    /// To be called inside of what is private, before the session starts anything.
    pub(crate) fn take(private: Own) -> Self {
        let table = |kind| (kind, if private.ipc { Ok(Vec::new()) } else { read_table(kind) });
        Self {
            began: time_of_files(),
            private,
            tables: ObjectKind::ALL.into_iter().map(table).collect(),
            directories: if private.tmp { PrivateDirectory::all() } else { Vec::new() },
        }
    }
}
