//! Counters that any number of processes add to at once, without waiting for each other: a file that each of them maps.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

/// How many there are in a file.
pub(crate) const COUNTERS: usize = 512;
const BYTES: usize = COUNTERS * size_of::<u64>();

#[derive(Debug)]
pub(crate) struct SharedCounters(NonNull<[AtomicU64; COUNTERS]>);

impl SharedCounters {
    /// Maps a file that nobody ever truncates. A file that is too short is extended with zeros.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() < BYTES as u64 {
            // Not ftruncate(2): on a full file system, an access to a hole is a SIGBUS.
            rustix::fs::fallocate(file, FallocateFlags::empty(), 0, BYTES as u64)?;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses (mmap(2)).
        let address =
            unsafe { libc::mmap(ptr::null_mut(), BYTES, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        match NonNull::new(address.cast()) {
            Some(counters) if address != libc::MAP_FAILED => Ok(Self(counters)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn add(&self, counter: usize, number: u64) {
        // SAFETY: the mapping has this size, is aligned to a page, and lives as long as we do. Other processes access it
        // in the same way.
        let counters = unsafe { self.0.as_ref() };
        counters[counter].fetch_add(number, Ordering::Relaxed);
    }
}

impl Drop for SharedCounters {
    fn drop(&mut self) {
        // SAFETY: our mapping, which nobody uses any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

/// The counters in the text of such a file; `None` if it is too short.
pub(crate) fn parse(bytes: &[u8]) -> Option<[u64; COUNTERS]> {
    let mut counters = [0; COUNTERS];
    let words = bytes.get(..BYTES)?.chunks_exact(size_of::<u64>());
    for (counter, word) in counters.iter_mut().zip(words) {
        *counter = u64::from_ne_bytes(word.try_into().ok()?);
    }
    Some(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_threads_add_at_once_is_lost() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let add = || {
            for _ in 0..1000 {
                SharedCounters::map(file.as_file()).unwrap().add(COUNTERS - 1, 3);
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(add))));
        let counters = parse(&std::fs::read(file.path()).unwrap()).unwrap();
        assert_eq!((counters[0], counters[COUNTERS - 1]), (0, 24_000));
        assert!(parse(&[0; BYTES - 1]).is_none());
    }
}
