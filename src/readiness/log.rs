//! A service is ready when a line of its log matches, as it was written or as a terminal would show it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use regex::bytes::Regex;

use super::escape_sequences::without_escapes;
use super::probe::{ProbeCheck, Progress};
use crate::runtime::clock;
use crate::sys::sockets::Listener;

/// How long one search may take: a log that grows faster than it can be searched must not block everything
/// else.
const SEARCH: Duration = Duration::from_millis(20);
/// Only this many bytes at the end of a longer line are matched.
const LONGEST_LINE: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct LogCheck {
    regex: Regex,
    follower: LogFollower,
}

impl LogCheck {
    pub(super) fn new(regex: &Regex, log: &File) -> io::Result<Self> {
        Ok(Self { regex: regex.clone(), follower: LogFollower::new(log.try_clone()?) })
    }
}

impl ProbeCheck for LogCheck {
    fn check(&mut self, _: Option<&Listener>) -> io::Result<Progress> {
        Ok(if self.follower.finds_match(&self.regex)? { Progress::Passed } else { Progress::Pending })
    }

    fn unanswered(&self) -> String {
        format!("no line of its log matches /{}/", self.regex)
    }
}

/// Follows a log, line by line.
#[derive(Debug)]
struct LogFollower {
    file: File,
    /// Position up to which the log was read. Reading must not move the file offset, because the service
    /// writes through the same open file.
    at: u64,
    line: Vec<u8>,
}

impl LogFollower {
    fn new(file: File) -> Self {
        Self { file, at: 0, line: Vec::new() }
    }

    /// Whether a new line matches, complete or not. Returns early if the log grows too fast.
    fn finds_match(&mut self, regex: &Regex) -> io::Result<bool> {
        let begin = clock::now();
        // A shell truncates the log at `> /dev/stderr`.
        if self.file.metadata()?.len() < self.at {
            self.at = 0;
            self.line.clear();
        }
        let mut chunk = [0u8; 8192];
        loop {
            let length = self.file.read_at(&mut chunk, self.at)?;
            self.at += length as u64;
            if length == 0 {
                return Ok(is_match(regex, &self.line));
            }
            for piece in chunk[..length].split_inclusive(|&byte| byte == b'\n') {
                self.line.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    self.line.pop();
                    if is_match(regex, &self.line) {
                        return Ok(true);
                    }
                    self.line.clear();
                }
            }
            let excess = self.line.len().saturating_sub(LONGEST_LINE);
            self.line.drain(..excess);
            if clock::since(begin) >= SEARCH {
                return Ok(false);
            }
        }
    }
}

fn is_match(regex: &Regex, line: &[u8]) -> bool {
    if regex.is_match(line) {
        return true;
    }
    let plain = without_escapes(line);
    // Nothing in a regular expression matches invalid UTF-8, not even a dot.
    let readable = String::from_utf8_lossy(&plain);
    // A carriage return starts the line over, as in progress bars.
    let redrawn = readable.rsplit('\r').next().unwrap_or_default();
    let is_new = |text: &str, old: &[u8]| text.as_bytes() != old && regex.is_match(text.as_bytes());
    is_new(&readable, line) || is_new(redrawn, readable.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_line_matches_once_it_is_complete_enough() {
        let path = std::env::temp_dir().join(format!("cgrun-follower-{}", std::process::id()));
        let mut writer = File::create(&path).unwrap();
        let mut follower = LogFollower::new(File::open(&path).unwrap());
        let regex = Regex::new("^ready on \\d+$").unwrap();
        assert!(!follower.finds_match(&regex).unwrap());
        write!(writer, "starting\nready o").unwrap();
        assert!(!follower.finds_match(&regex).unwrap());
        writeln!(writer, "n 8000").unwrap();
        assert!(follower.finds_match(&regex).unwrap());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_log_is_read_from_its_start_after_it_was_truncated() {
        let file = tempfile::tempfile().unwrap();
        let mut follower = LogFollower::new(file.try_clone().unwrap());
        let regex = Regex::new("^ready$").unwrap();
        file.write_all_at(b"starting, not ready yet", 0).unwrap();
        assert!(!follower.finds_match(&regex).unwrap());
        file.set_len(0).unwrap();
        file.write_all_at(b"ready\n", 0).unwrap();
        assert!(follower.finds_match(&regex).unwrap());
    }
}
