//! The fields of `/proc/PID/status` (proc_pid_status(5)).

use std::path::Path;
use std::str::FromStr;

use rustix::process::Pid;

use crate::sys::small_file::read_single;

#[derive(Debug)]
pub(crate) struct Status(String);

impl Status {
    /// `None` if the process is gone, or hidden from us.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        Self::at(format!("/proc/{pid}"))
    }

    /// Of a process or a thread, by its directory in `/proc`.
    pub(crate) fn at(directory: impl AsRef<Path>) -> Option<Self> {
        let text = read_single(directory.as_ref().join("status")).ok()?;
        Some(Self::of_text(&String::from_utf8_lossy(&text)))
    }

    pub(crate) fn of_text(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    pub(crate) fn numbers<T: FromStr>(&self, name: &str) -> Option<Vec<T>> {
        self.field(name)?.split_whitespace().map(|number| number.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_status_has_its_own_name() {
        let status = Status::of_text("NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n");
        assert_eq!(status.field("Seccomp"), Some("2"));
        assert_eq!(status.field("Filters"), None);
    }

    #[test]
    fn numbers_are_all_numbers() {
        let status = Status::of_text("Name:\ta 1\nNSpid:\t4711\t7\nGroups:\t \n");
        assert_eq!(status.numbers("NSpid"), Some(vec![4711, 7]));
        assert_eq!(status.numbers::<u32>("Groups"), Some(Vec::new()));
        assert_eq!((status.numbers::<u32>("Name"), status.numbers::<u32>("Uid")), (None, None));
    }
}
