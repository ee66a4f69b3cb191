//! The files that poll(2), select(2) and epoll_wait(2) wait for, read from the memory of the process.

use rustix::process::Pid;

use super::files::Files;
use super::wait::{Direction, FileKind, Wait};
use crate::sys::procfs::memory::read_memory;

/// No more than this many files of one call are looked at.
const MOST: usize = 1024;
/// `POLLIN` and `EPOLLIN`, `POLLOUT` and `EPOLLOUT`.
const IN: u32 = 1;
const OUT: u32 = 4;
/// `struct pollfd`
const ENTRY: usize = 8;

pub(super) fn of_poll(pid: Pid, files: &Files, array: u64, count: u64) -> Wait {
    let count = usize::try_from(count).unwrap_or(MOST).min(MOST);
    let bytes = read_memory(pid, array, count * ENTRY).unwrap_or_default();
    let entries = bytes.chunks_exact(ENTRY).filter_map(|entry| {
        let number = i32::from_ne_bytes(entry[..4].try_into().ok()?);
        let events = u16::from_ne_bytes(entry[4..6].try_into().ok()?);
        (number >= 0).then_some((number, events.into()))
    });
    events(files, entries)
}

pub(super) fn of_select(pid: Pid, files: &Files, count: u64, sets: [u64; 2]) -> Wait {
    let count = usize::try_from(count).unwrap_or(MOST).min(MOST);
    let numbers = |set: u64| -> Vec<i32> {
        let bytes = if set == 0 { None } else { read_memory(pid, set, count.div_ceil(8)) };
        let bytes = bytes.unwrap_or_default();
        let is_in = |number: &usize| bytes.get(number / 8).is_some_and(|byte| byte >> (number % 8) & 1 == 1);
        (0..count).filter(is_in).filter_map(|number| i32::try_from(number).ok()).collect()
    };
    let [readable, writable] = sets.map(numbers);
    let readable = readable.into_iter().map(|number| (number, IN));
    events(files, readable.chain(writable.into_iter().map(|number| (number, OUT))))
}

pub(super) fn of_epoll(files: &Files, number: i32) -> Wait {
    match files.watched_by_epoll(number) {
        Some(watched) => events(files, watched.into_iter().take(MOST)),
        None => Wait::Events(Vec::new()),
    }
}

fn events(files: &Files, watched: impl Iterator<Item = (i32, u32)>) -> Wait {
    let event = |(number, events): (i32, u32)| {
        // Those that wait for both usually have something to write only now and then.
        let direction = if events & OUT != 0 && events & IN == 0 { Direction::Out } else { Direction::In };
        (direction, files.file(number))
    };
    let watched: Vec<_> = watched.map(event).collect();
    match &watched[..] {
        // So reads a prompt that lets the line be edited.
        [(Direction::In, file)] if matches!(file.kind, FileKind::Terminal(_)) => Wait::Read(file.clone()),
        _ => Wait::Events(watched),
    }
}
