//! The open files of one process, as its waits refer to them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::str::FromStr;

use rustix::process::Pid;

use super::terminals;
use super::wait::{Direction, File, FileKind};
use crate::sys::procfs::descriptors::{access, descriptor_info, open_files};
use crate::sys::procfs::stat::ProcStat;

#[derive(Debug)]
pub(super) struct Files {
    pid: Pid,
    /// The number of its controlling terminal, to which `/dev/tty` leads.
    terminal: Option<u32>,
    /// By their numbers. `None` if they are hidden from us.
    pub targets: Option<HashMap<i32, OsString>>,
}

impl Files {
    pub(super) fn of(stat: &ProcStat) -> Self {
        let pid = stat.pid;
        let files = open_files(pid).ok();
        let targets = files.map(|files| files.into_iter().map(|file| (file.number, file.target)).collect());
        Self { pid, terminal: stat.terminal, targets }
    }

    pub(super) fn file(&self, number: i32) -> File {
        let target = self.targets.as_ref().and_then(|targets| targets.get(&number));
        let kind = match target.map_or(FileKind::Unknown, |target| FileKind::of_target(target)) {
            FileKind::Anonymous(name) if name == "pidfd" => FileKind::Process(self.process_behind(number)),
            FileKind::Master(_) => FileKind::Master(self.number_in_info(number, "tty-index:")),
            FileKind::Terminal(name) if name == "/dev/tty" => {
                FileKind::Terminal(self.terminal.map_or(name, terminals::name_of))
            }
            kind => kind,
        };
        File { number: Some(number), kind }
    }

    /// The only file of this kind that the process can use in this direction, if all that is known is that it waits for one.
    /// It can have several numbers.
    pub(super) fn only(&self, direction: Direction, is_it: impl Fn(&FileKind) -> bool) -> File {
        let mut numbers: Vec<i32> = self.targets.iter().flatten().map(|(&number, _)| number).collect();
        numbers.sort_unstable();
        let files = numbers.into_iter().map(|number| self.file(number));
        let mut found = files.filter(|file| is_it(&file.kind) && self.is_usable(file, direction));
        match found.next() {
            Some(first) if found.all(|other| other.kind == first.kind) => first,
            _ => File::unknown(None),
        }
    }

    /// Also true if that is unknown.
    fn is_usable(&self, file: &File, direction: Direction) -> bool {
        let access = file.number.and_then(|number| access(self.pid, number));
        access.is_none_or(|(reads, writes)| if direction == Direction::In { reads } else { writes })
    }

    /// The process that a pidfd refers to.
    fn process_behind(&self, number: i32) -> Option<Pid> {
        let pid: i32 = self.number_in_info(number, "Pid:")?;
        (pid > 0).then(|| Pid::from_raw(pid)).flatten()
    }

    fn number_in_info<T: FromStr>(&self, number: i32, key: &str) -> Option<T> {
        let info = descriptor_info(self.pid, number).ok()?;
        info.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
    }

    /// The files that an epoll instance watches, and the events (epoll(7)).
    pub(super) fn watched_by_epoll(&self, number: i32) -> Option<Vec<(i32, u32)>> {
        let info = descriptor_info(self.pid, number).ok()?;
        let watched = |line: &str| {
            let mut words = line.strip_prefix("tfd:")?.split_whitespace();
            let number = words.next()?.parse().ok()?;
            let events = words.nth(1)?;
            Some((number, u32::from_str_radix(events, 16).ok()?))
        };
        Some(info.lines().filter_map(watched).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::pipe;
    use std::process::{Command, Stdio};

    use super::*;

    /// Its stdin and its stdout are pipes, and its stderr is its stdout.
    #[test]
    fn the_only_pipe_is_one_that_can_be_used_in_that_direction() {
        let (reader, writer) = pipe().unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let files = Files::of(&ProcStat::read(pid).unwrap());
        // Whoever runs the tests may have passed pipes of its own on.
        let made = [0, 1].map(|number| files.file(number).kind);
        let only = |direction| files.only(direction, |kind| made.contains(kind)).number;
        let found = (only(Direction::In), only(Direction::Out));
        drop(child.stdin.take());
        child.wait().unwrap();
        drop(reader);
        assert_eq!(found, (Some(0), Some(1)));
    }
}
