//! The open files of one process, as its waits refer to them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::str::FromStr;

use rustix::process::Pid;

use super::terminals;
use super::wait::{File, FileKind};
use crate::sys::procfs::descriptors::{descriptor_info, open_files};
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

    /// The only file of this kind, for a process of which it is only known that it waits for one.
    pub(super) fn only(&self, is_it: impl Fn(&FileKind) -> bool) -> File {
        let targets = self.targets.iter().flatten();
        let mut found = targets.map(|(&number, _)| self.file(number)).filter(|file| is_it(&file.kind));
        match (found.next(), found.next()) {
            (Some(file), None) => file,
            _ => File::unknown(None),
        }
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
