//! What is left, found out without cgrun.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

/// A process that was killed may take this long to be gone; one that was not is still there then.
const DYING: Duration = Duration::from_secs(2);

pub fn become_subreaper() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
}

/// Every process that was re-parented to this test and lives: whatever outlived cgrun. They are
/// described, then killed.
pub fn survivors() -> Vec<String> {
    let deadline = Instant::now() + DYING;
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
            Err(Errno::ECHILD) => return Vec::new(),
            // A status that nix cannot express (a real-time signal) was reaped all the same.
            Err(_) => continue,
            Ok(nix::sys::wait::WaitStatus::StillAlive) if Instant::now() > deadline => break,
            Ok(nix::sys::wait::WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => {}
        }
    }
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default()
        + &std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()))
            .unwrap_or_default();
    children
        .split_whitespace()
        .map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            // Our own unreaped child: the number is still its.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.parse().unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            );
            format!("{pid}: {}", String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

/// TCP ports that are listened on in this thread's network.
pub fn listening_ports() -> Vec<u16> {
    const LISTEN: &str = "0A";
    let mut ports = Vec::new();
    for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        for line in std::fs::read_to_string(file).unwrap().lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if fields[3] == LISTEN {
                ports.push(u16::from_str_radix(fields[1].rsplit(':').next().unwrap(), 16).unwrap());
            }
        }
    }
    ports
}

/// A cgroup of the test's own, in which cgrun runs and below which it makes its session; or another
/// one, outside of that.
pub struct TestCgroup(PathBuf);

impl TestCgroup {
    /// Makes one right below the mount.
    pub fn create(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = mount().join(format!("cgtest-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn enter_on_exec(&self, command: &mut Command) {
        let procs = self.0.join("cgroup.procs");
        let mut procs = std::fs::OpenOptions::new().write(true).open(procs).unwrap();
        // SAFETY: one write(2) of a constant.
        unsafe {
            command.pre_exec(move || procs.write_all(b"0"));
        }
    }

    /// The cgroups in it.
    pub fn children(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }

    /// The processes right in it.
    pub fn own_members(&self) -> Vec<i32> {
        let procs = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        procs.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// The processes in it, however deep.
    pub fn members(&self) -> Vec<i32> {
        fn collect(path: &Path, found: &mut Vec<i32>) {
            let procs = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            found.extend(procs.lines().map(|line| line.parse::<i32>().unwrap()));
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    collect(&entry.path(), found);
                }
            }
        }
        let mut found = Vec::new();
        collect(&self.0, &mut found);
        found
    }

    pub fn kill(&self) {
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
    }
}

impl Drop for TestCgroup {
    /// A failed test leaves nothing behind either.
    fn drop(&mut self) {
        self.kill();
        let deadline = Instant::now() + DYING;
        while !self.members().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        fn remove(path: &Path) {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    remove(&entry.path());
                }
            }
            let _ = std::fs::remove_dir(path);
        }
        remove(&self.0);
    }
}

/// While this lives, this thread and what it starts see no cgroups but those made meanwhile: what
/// concerns all sessions of the host concerns no other test's.
pub struct OwnHost(#[expect(dead_code, reason = "removed with it")] TestCgroup);

impl OwnHost {
    pub fn enter() -> Self {
        let nothing: Option<&str> = None;
        let all = TestCgroup::create("host");
        nix::sched::unshare(CloneFlags::CLONE_NEWNS).expect("unshare -m");
        nix::mount::mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        nix::mount::mount(Some(all.path()), &mount(), nothing, MsFlags::MS_BIND, nothing).unwrap();
        Self(all)
    }
}

impl Drop for OwnHost {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&mount(), MntFlags::MNT_DETACH);
    }
}

/// The cgroup2 mount; its absence is no reason to pass.
pub fn mount() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    PathBuf::from(line.expect("these tests need a cgroup2 mount").split(' ').nth(1).unwrap())
}
