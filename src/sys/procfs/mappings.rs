//! Which memory a process shares, and which segments and files it has mapped.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// In bytes; the list of a browser is shorter.
const MOST: u64 = 4 << 20;

/// Whether other processes can share the memory at this address (proc_pid_maps(5)). `None` if that is hidden, or nothing is
/// mapped there.
pub(crate) fn is_shared(pid: Pid, address: u64) -> Option<bool> {
    let mut mappings = lines(pid)?.filter_map(|line| parse(&String::from_utf8_lossy(&line)));
    mappings.find(|(addresses, _)| addresses.contains(&address)).map(|(_, is_shared)| is_shared)
}

fn lines(pid: Pid) -> Option<impl Iterator<Item = Vec<u8>>> {
    let file = File::open(format!("/proc/{pid}/maps")).ok()?;
    Some(BufReader::new(file.take(MOST)).split(b'\n').map_while(Result::ok))
}

/// What a process has mapped that outlives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mapped {
    /// The segment of System V with this id, in the process's IPC namespace.
    Segment(i32),
    File(PathBuf),
}

/// The segments that a process has attached, and the files in these directories that it has mapped and that have a name.
pub(crate) fn mapped(pid: Pid, directories: &[&str]) -> Vec<Mapped> {
    let all = lines(pid).into_iter().flatten();
    let mut found: Vec<_> = all.filter_map(|line| object(&line, directories)).collect();
    found.dedup();
    found
}

/// The inode of a segment is its id (`newseg`, linux/ipc/shm.c).
fn object(line: &[u8], directories: &[&str]) -> Option<Mapped> {
    let path = &line[line.iter().position(|&byte| byte == b'/')?..];
    if path.starts_with(b"/SYSV") {
        let head = String::from_utf8_lossy(&line[..line.len() - path.len()]).into_owned();
        return head.split_whitespace().nth(4)?.parse().ok().map(Mapped::Segment);
    }
    let path = Path::new(OsStr::from_bytes(path));
    // What is mapped privately is a program or a library.
    let is_shared = line.split(|&byte| byte == b' ').nth(1).is_some_and(|it| it.ends_with(b"s"));
    let is_named = !path.as_os_str().as_bytes().ends_with(b" (deleted)");
    (is_shared && is_named && directories.iter().any(|it| path.starts_with(it)))
        .then(|| Mapped::File(path.into()))
}

/// `7f0c1000-7f0c2000 rw-s 00000000 00:01 4711    /dev/zero (deleted)`: the addresses, and whether it is shared.
fn parse(line: &str) -> Option<(Range<u64>, bool)> {
    let (addresses, rest) = line.split_once(' ')?;
    let (begin, end) = addresses.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(begin)?..number(end)?, rest.as_bytes().get(3) == Some(&b's')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_letter_tells_shared_memory() {
        assert_eq!(parse("1000-2000 rw-s 0 00:01 7 /dev/zero (deleted)"), Some((0x1000..0x2000, true)));
        assert_eq!(parse("1000-2000 rw-p 0 00:00 0 "), Some((0x1000..0x2000, false)));
        assert_eq!(parse("1000 rw-p"), None);
    }

    #[test]
    fn segments_and_files_are_told_apart() {
        let object = |line: &str| object(line.as_bytes(), &["/dev/shm"]);
        let segment = "1000-2000 rw-s 00000000 00:01 65571    /SYSV0098bd1c (deleted)";
        assert_eq!(object(segment), Some(Mapped::Segment(65571)));
        let file = "1000-2000 rw-s 00000000 00:1b 7     /dev/shm/a b";
        assert_eq!(object(file), Some(Mapped::File("/dev/shm/a b".into())));
        for other in ["/dev/shm/x (deleted)", "/usr/lib/libc.so.6", "[heap]", "/dev/shmx"] {
            assert_eq!(object(&format!("1000-2000 rw-s 00000000 00:1b 7     {other}")), None);
        }
    }

    #[test]
    fn our_own_memory_is_not_shared() {
        let us = rustix::process::getpid();
        let here = 0u8;
        assert_eq!(is_shared(us, (&raw const here) as u64), Some(false));
        assert_eq!(is_shared(us, 0), None);
    }
}
