//! Which memory a process shares.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;

use rustix::process::Pid;

/// In bytes; the list of a browser is shorter.
const MOST: u64 = 4 << 20;

/// Whether other processes can share the memory at this address (proc_pid_maps(5)). `None` if that is hidden, or nothing is
/// mapped there.
pub(crate) fn is_shared(pid: Pid, address: u64) -> Option<bool> {
    let file = File::open(format!("/proc/{pid}/maps")).ok()?;
    let lines = BufReader::new(file.take(MOST)).split(b'\n').map_while(Result::ok);
    let mut mappings = lines.filter_map(|line| parse(&String::from_utf8_lossy(&line)));
    mappings.find(|(addresses, _)| addresses.contains(&address)).map(|(_, is_shared)| is_shared)
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
    fn our_own_memory_is_not_shared() {
        let us = rustix::process::getpid();
        let here = 0u8;
        assert_eq!(is_shared(us, (&raw const here) as u64), Some(false));
        assert_eq!(is_shared(us, 0), None);
    }
}
