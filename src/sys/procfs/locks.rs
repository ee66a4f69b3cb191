//! The locks of files, and which processes wait for them (proc_locks(5)).

use std::io;

use rustix::process::Pid;

use crate::sys::small_file::read_all;

/// A lock that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileLock {
    /// `None` if it belongs to an open file, or its process is in another PID namespace.
    pub holder: Option<Pid>,
    /// `flock`, `fcntl` or `lease`.
    pub kind: &'static str,
    /// The file as the kernel names it: `fe:00:4711`.
    pub file: String,
    pub waiters: Vec<Pid>,
}

/// All locks of the host that somebody waits for.
pub(crate) fn contended_locks() -> io::Result<Vec<FileLock>> {
    Ok(parse(&String::from_utf8_lossy(&read_all("/proc/locks")?)))
}

/// Which of this process's open files have a lock on this file of the kernel: their `lock:` lines (proc_pid_fdinfo(5)).
pub(crate) fn has_lock(pid: Pid, number: i32, file: &str) -> bool {
    let info = read_all(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let info = String::from_utf8_lossy(&info);
    let locks = info.lines().filter_map(|line| line.strip_prefix("lock:"));
    locks.filter_map(line).any(|(_, lock)| lock.file == file)
}

fn parse(text: &str) -> Vec<FileLock> {
    let mut found: Vec<FileLock> = Vec::new();
    for (is_waiting, lock) in text.lines().filter_map(line) {
        match found.last_mut() {
            Some(held) if is_waiting => held.waiters.extend(lock.holder),
            _ => found.push(lock),
        }
    }
    found.retain(|lock| !lock.waiters.is_empty());
    found
}

/// `1: -> FLOCK  ADVISORY  WRITE 4711 fe:00:10010657 0 EOF`, and whether it waits.
fn line(line: &str) -> Option<(bool, FileLock)> {
    let mut words = line.split_once(':')?.1.split_whitespace().peekable();
    let is_waiting = words.next_if_eq(&"->").is_some();
    let kind = match words.next()? {
        "FLOCK" => "flock",
        "POSIX" | "OFDLCK" | "ACCESS" => "fcntl",
        _ => "lease",
    };
    let mut words = words.skip(2);
    let holder: i32 = words.next()?.parse().ok()?;
    let holder = if holder > 0 { Pid::from_raw(holder) } else { None };
    Some((is_waiting, FileLock { holder, kind, file: words.next()?.into(), waiters: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_wait_are_listed_with_the_lock() {
        let text = "1: POSIX  ADVISORY  WRITE 11 fe:00:7 0 EOF\n\
            1: -> POSIX  ADVISORY  WRITE 12 fe:00:7 0 EOF\n\
            1:  -> POSIX  ADVISORY  READ 13 fe:00:7 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 14 fe:00:8 0 EOF\n\
            3: OFDLCK ADVISORY  WRITE -1 fe:00:9 0 EOF\n\
            3: -> FLOCK  ADVISORY  WRITE 15 fe:00:9 0 EOF\n";
        let found = parse(text);
        let pids = |pids: &[i32]| pids.iter().filter_map(|&pid| Pid::from_raw(pid)).collect::<Vec<_>>();
        let shown: Vec<_> =
            found.iter().map(|it| (it.holder, it.kind, &*it.file, it.waiters.clone())).collect();
        assert_eq!(
            shown,
            [
                (Pid::from_raw(11), "fcntl", "fe:00:7", pids(&[12, 13])),
                (None, "fcntl", "fe:00:9", pids(&[15]))
            ]
        );
        assert_eq!(parse("junk\n1:\n1: -> FLOCK\n"), []);
    }
}
