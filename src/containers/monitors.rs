//! The monitors of podman's containers. podman has no daemon: each container has a process, conmon, that waits until the
//! container exits, notes how, and then lets podman remove its mounts and its network. If conmon is killed first, podman
//! takes the container for running, and fails to remove it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::containment::{Containment, Leaf};
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::details::is_inner_init;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::procfs::walk::{all_pids, children, lineage, with_descendants};
use crate::sys::regular_file::open_regular;
use crate::sys::small_file::{read_single, read_start};
use crate::sys::time::{Instant, since_boot};

const NAME: &str = "conmon";
/// How long one more may take to finish, and all together.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
pub(crate) const LONGEST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
/// A session with more processes than this is rather a fork bomb, which should be killed soon.
const MOST: usize = 2000;
/// As much of a command line as has the option that we need.
const COMMAND_LINE: usize = 4096;
/// Bounded, because processes that fork and exit while we read may seem to form a cycle.
const ANCESTORS: usize = 100;

/// One conmon.
#[derive(Debug)]
struct Monitor {
    process: Process,
    /// The id of the container. `None` if it only watches a command that was added to one (`podman exec`), which can be
    /// anybody's.
    id: Option<Vec<u8>>,
    /// The file with the pid of the container, below the root directory.
    pid_file: PathBuf,
    /// Whether podman has started it while we waited, as it does for a container that is always to be restarted.
    is_late: bool,
}

/// The monitors of a session that are let finish before all of it is killed.
pub(crate) struct Finishing {
    monitors: Vec<Monitor>,
    /// Their containers.
    ids: HashSet<Vec<u8>>,
    start: Start,
    /// When to wait no longer for the next one, and for all.
    deadline: Instant,
    end: Instant,
}

/// Lets them finish. `outside` are those of the session's processes that have left the containment. Returns the monitors that are
/// not finished, and are to be killed with the others.
pub(crate) fn finish_of(containment: &Containment, outside: &[Process], limit: Duration) -> Vec<Process> {
    Finishing::of(containment, outside, limit).finish()
}

/// Whether there are any in a leaf.
pub(crate) fn are_in(leaf: &Leaf) -> bool {
    leaf.members().unwrap_or_default().into_iter().take(MOST).any(is_monitor)
}

/// What ran before we began. None of that is another monitor of our containers, whatever it says it is.
struct Start {
    since_boot: Duration,
    pids: HashSet<Pid>,
}

impl Start {
    fn now() -> Self {
        Self { since_boot: since_boot(), pids: all_pids().into_iter().flatten().collect() }
    }
}

impl Finishing {
    pub(crate) fn of(containment: &Containment, outside: &[Process], limit: Duration) -> Self {
        let start = Start::now();
        let members = containment.members().unwrap_or_default();
        let outside_too = with_descendants(outside.iter().map(|it| it.pid));
        let candidates = members.into_iter().chain(outside_too).collect();
        let is_outside = |pid| outside.iter().any(|it| it.pid == pid && !it.has_exited());
        let is_ours =
            |pid| containment.contains(pid).unwrap_or(false) || lineage(pid).take(ANCESTORS).any(is_outside);
        Self::begin(start, candidates, is_ours, limit)
    }

    pub(crate) fn in_leaf(leaf: &Leaf, limit: Duration) -> Self {
        let start = Start::now();
        let members = leaf.members().unwrap_or_default();
        Self::begin(start, members, |pid| leaf.contains(pid).unwrap_or(false), limit)
    }

    /// Those among `candidates` that are ours, which is checked while a process is held.
    fn begin(mut start: Start, candidates: Vec<Pid>, is_ours: impl Fn(Pid) -> bool, limit: Duration) -> Self {
        let began = Instant::now();
        start.pids.extend(&candidates);
        let opened = candidates.into_iter().take(MOST).filter_map(Monitor::open);
        let monitors: Vec<_> = opened.map(|(it, _)| it).filter(|it| is_ours(it.process.pid)).collect();
        let ids = monitors.iter().filter_map(|it| it.id.clone()).collect();
        Self { monitors, ids, start, deadline: began + PATIENCE, end: began + limit }
    }

    /// Kills their containers. Returns whether podman is still cleaning up after one.
    pub(crate) fn advance(&mut self) -> bool {
        let count = self.monitors.len();
        if count == 0 {
            return false;
        }
        self.monitors.retain(|it| !it.process.has_exited());
        let now = Instant::now();
        if self.monitors.len() < count {
            self.deadline = now + PATIENCE;
        }
        // Another monitor of the same container, which podman has started before this one has exited. Nothing else shows
        // where it came from: it can be in a cgroup of its own, and is nobody's child.
        self.monitors.extend(late_ones(&mut self.start.pids, &self.ids, self.start.since_boot));
        let finished = self.monitors.iter().filter(|it| it.end_container()).count();
        finished < self.monitors.len() && now < self.deadline.min(self.end)
    }

    /// Readable when one of them has exited.
    pub(crate) fn wakes_on(&self) -> Option<BorrowedFd<'_>> {
        self.monitors.first().map(|it| it.process.as_fd())
    }

    fn finish(mut self) -> Vec<Process> {
        while self.advance() {
            let _ = self.monitors[0].process.wait(LOOK);
        }
        self.monitors.into_iter().map(|it| it.process).collect()
    }
}

/// Those of these containers that were started after `begin`, and not seen before. Any other new process is looked at again:
/// it can be about to execute conmon.
fn late_ones(seen: &mut HashSet<Pid>, ids: &HashSet<Vec<u8>>, begin: Duration) -> Vec<Monitor> {
    let pids: Vec<_> = all_pids().into_iter().flatten().filter(|pid| !seen.contains(pid)).collect();
    let is_late = |(it, stat): &(Monitor, ProcStat)| {
        stat.started_after(begin) && it.id.as_ref().is_some_and(|id| ids.contains(id))
    };
    let late: Vec<_> = pids.into_iter().filter_map(Monitor::open).filter(is_late).collect();
    seen.extend(late.iter().map(|(it, _)| it.process.pid));
    late.into_iter().map(|(it, _)| Monitor { is_late: true, ..it }).collect()
}

fn is_monitor(pid: Pid) -> bool {
    let name = read_single(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name.trim_ascii_end() == NAME.as_bytes())
}

impl Monitor {
    /// `None` if it is no monitor.
    fn open(pid: Pid) -> Option<(Self, ProcStat)> {
        if !is_monitor(pid) {
            return None;
        }
        let (process, stat) = Process::open_with_stat(pid)?;
        let line = read_start(format!("/proc/{pid}/cmdline"), COMMAND_LINE).ok()?;
        let (id, pid_file) = options(&line)?;
        Some((Self { process, id, pid_file, is_late: false }, stat))
    }

    /// Kills the container. Returns whether there is nothing to wait for.
    fn end_container(&self) -> bool {
        let started = self.container();
        // One that is stopped would never finish.
        let _ = self.process.signal(Signal::SIGCONT);
        let mut is_cleaning = false;
        for child in children(self.process.pid).unwrap_or_default() {
            let Some((process, stat)) = Process::open_with_stat(child) else { continue };
            let is_child = stat.parent == Some(self.process.pid) && !self.process.has_exited();
            if is_child && (started == Some(child) || is_inner_init(child)) {
                let _ = process.signal(Signal::SIGKILL);
            } else {
                is_cleaning = true;
            }
        }
        // What podman has started again, it would start again and again. That it has exited is noted before podman is
        // asked to clean up.
        self.is_late && is_cleaning
    }

    /// The first process of the container, which need not have a PID namespace of its own.
    fn container(&self) -> Option<Pid> {
        // Without root, the file is in a mount namespace of podman's.
        let root = format!("/proc/{}/root", self.process.pid);
        let mut text = String::new();
        open_regular(Path::new(&root).join(&self.pid_file), 0)
            .ok()??
            .take(20)
            .read_to_string(&mut text)
            .ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }
}

/// The id of the container, unless the monitor is only that of a command in it, and the file with the pid, below the root
/// directory.
fn options(command_line: &[u8]) -> Option<(Option<Vec<u8>>, PathBuf)> {
    let value = |option: &[u8]| {
        let mut words = command_line.split(|&byte| byte == 0);
        words.find(|&word| word == option)?;
        words.next().filter(|value| !value.is_empty())
    };
    let path = Path::new(OsStr::from_bytes(value(b"-p")?));
    let id = value(b"-c")?;
    // Such a command has an id of its own.
    let is_of_container = value(b"-u").is_none_or(|unique| unique == id);
    Some((is_of_container.then(|| id.to_vec()), path.strip_prefix("/").ok()?.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_conmon_are_read() {
        let line = b"/usr/bin/conmon\0-c\0id\0-p\0/run/x/pidfile\0-n\0name\0";
        assert_eq!(options(line).unwrap(), (Some(b"id".to_vec()), "run/x/pidfile".into()));
        let line = b"conmon\0-c\0id\0-u\0id\0-p\0/x\0";
        assert_eq!(options(line).unwrap(), (Some(b"id".to_vec()), "x".into()));
        let of_a_command = b"conmon\0-c\0id\0-u\0other\0-p\0/x\0-e\0";
        assert_eq!(options(of_a_command).unwrap(), (None, "x".into()));
        let wrong =
            [&b""[..], b"conmon\0-c\0id\0-p", b"conmon\0-c\0\0-p\0/x\0", b"conmon\0-c\0id\0-p\0relative\0"];
        for wrong in wrong {
            assert_eq!(options(wrong), None);
        }
    }

    #[test]
    fn without_a_monitor_nothing_is_waited_for() {
        let began = Instant::now();
        let us = vec![rustix::process::getpid()];
        assert!(Finishing::begin(Start::now(), us, |_| true, LONGEST).finish().is_empty());
        assert!(Instant::now() - began < PATIENCE);
    }

    /// A process that says that it is the monitor of this test's container.
    struct Fake(std::process::Child);

    impl Fake {
        fn start(directory: &Path) -> Self {
            let fake = Self::spawn(&Self::program(directory), directory);
            fake.until_executed();
            fake
        }

        fn program(directory: &Path) -> PathBuf {
            use std::os::unix::fs::OpenOptionsExt;
            let program = directory.join(NAME);
            let mut file = std::fs::File::options();
            if let Ok(mut file) = file.write(true).create_new(true).mode(0o755).open(&program) {
                std::io::Write::write_all(&mut file, b"#!/bin/sh\nread forever\n").unwrap();
            }
            program
        }

        fn spawn(program: &Path, directory: &Path) -> Self {
            let id = directory.as_os_str();
            let mut command = std::process::Command::new(program);
            command.arg("-c").arg(id).arg("-u").arg(id).args(["-p", "/nonexistent"]);
            Self(command.stdin(std::process::Stdio::piped()).spawn().unwrap())
        }

        /// Its command line is there a little later than it is known that it was executed.
        fn until_executed(&self) {
            while Monitor::open(self.pid()).is_none() {
                std::thread::yield_now();
            }
        }

        fn pid(&self) -> Pid {
            Pid::from_child(&self.0)
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn only_a_monitor_that_starts_meanwhile_is_of_the_same_container() {
        let directory = tempfile::tempdir().unwrap();
        let fake = || Fake::start(directory.path());
        let (ours, _strangers) = (fake(), fake());
        let start = Start::now();
        while since_boot() < start.since_boot + Duration::from_millis(50) {
            std::thread::yield_now();
        }
        let late = fake();
        let left = Finishing::begin(start, vec![ours.pid()], |_| true, Duration::ZERO).finish();
        let pids: Vec<_> = left.iter().map(|it| it.pid).collect();
        assert_eq!(pids, [ours.pid(), late.pid()]);
    }

    #[test]
    fn a_process_that_becomes_a_monitor_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("podman");
        let words =
            format!("#!/bin/sh\nread go\nexec {} \"$@\"\n", Fake::program(directory.path()).display());
        std::fs::write(&script, words).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut seen = Start::now().pids;
        let ids = HashSet::from([directory.path().as_os_str().as_bytes().to_vec()]);
        let mut podman = Fake::spawn(&script, directory.path());
        assert!(late_ones(&mut seen, &ids, Duration::ZERO).is_empty());
        std::io::Write::write_all(podman.0.stdin.as_mut().unwrap(), b"go\n").unwrap();
        podman.until_executed();
        let late = late_ones(&mut seen, &ids, Duration::ZERO);
        assert_eq!(late.iter().map(|it| it.process.pid).collect::<Vec<_>>(), [podman.pid()]);
        assert!(late_ones(&mut seen, &ids, Duration::ZERO).is_empty(), "it was seen");
    }
}
