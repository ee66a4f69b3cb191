//! Which processes hold the lock of a file.

use std::cell::OnceCell;
use std::ffi::OsStr;

use rustix::process::Pid;

use super::holders::{Holders, MOST};
use crate::sys::procfs::locks::{FileLock, contended_locks, has_lock};
use crate::sys::procfs::stat::start_time;

#[derive(Debug, Default)]
pub(super) struct Locks(OnceCell<Vec<FileLock>>);

impl Locks {
    /// Those that hold the lock that this process waits for, on this file as far as it is known.
    pub(super) fn holders(&self, waiter: Pid, file: Option<&OsStr>, holders: &Holders) -> Vec<Pid> {
        let locks = self.0.get_or_init(|| contended_locks().unwrap_or_default());
        let Some(lock) = locks.iter().find(|lock| lock.waiters.contains(&waiter)) else { return Vec::new() };
        let holder = lock.holder.filter(|it| start_time(*it).is_some());
        // A lock by flock belongs to all that have inherited the open file, even if its first owner is gone.
        let with_file = file.map(|file| holders.of(file)).unwrap_or_default();
        let mut found: Vec<Pid> = with_file
            .iter()
            .take(MOST)
            .filter(|(other, number)| *other != waiter && has_lock(*other, *number, &lock.file))
            .map(|(other, _)| *other)
            .collect();
        found.extend(holder.filter(|it| *it != waiter));
        found.sort_by_key(|it| (Some(*it) != holder, it.as_raw_nonzero()));
        found.dedup();
        found
    }
}
