//! The open files of one process, as its waits refer to them.

use std::collections::HashMap;
use std::ffi::OsString;

use rustix::process::Pid;

use super::wait::{File, FileKind};
use crate::sys::procfs::descriptors::{descriptor_info, open_files};

#[derive(Debug)]
pub(super) struct Files {
    pid: Pid,
    /// By their numbers. `None` if they are hidden from us.
    pub targets: Option<HashMap<i32, OsString>>,
}

impl Files {
    pub(super) fn of(pid: Pid) -> Self {
        let files = open_files(pid).ok();
        let targets = files.map(|files| files.into_iter().map(|file| (file.number, file.target)).collect());
        Self { pid, targets }
    }

    pub(super) fn file(&self, number: i32) -> File {
        let target = self.targets.as_ref().and_then(|targets| targets.get(&number));
        let kind = match target.map_or(FileKind::Unknown, |target| FileKind::of_target(target)) {
            FileKind::Anonymous(name) if name == "pidfd" => FileKind::Process(self.process_behind(number)),
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
        let info = descriptor_info(self.pid, number).ok()?;
        let pid: i32 = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        (pid > 0).then(|| Pid::from_raw(pid)).flatten()
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
