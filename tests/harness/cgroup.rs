//! Cgroups that belong to one test.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;

use super::DYING;
use crate::witness::cgroups;

/// A cgroup in which cgrun runs and below which it creates its session, or another one outside of that.
pub(crate) struct TestCgroup(PathBuf);

impl TestCgroup {
    /// Creates a cgroup directly below the mount.
    pub(crate) fn create(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // A killed test leaves its own, and another one can get its pid.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        let path = mount().join(format!("cgtest-{name}-{}-{now}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// Finds it by way of the directory around it from now on, which also leads out of another mount namespace.
    pub(crate) fn reach_through(&mut self, mount: &std::fs::File) {
        use std::os::fd::AsRawFd;
        let name = self.0.file_name().unwrap();
        self.0 = Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string()).join(name);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn enter_on_exec(&self, command: &mut Command) {
        let procs = self.0.join("cgroup.procs");
        let mut procs = std::fs::OpenOptions::new().write(true).open(procs).unwrap();
        // SAFETY: one write(2) of a constant.
        unsafe {
            command.pre_exec(move || procs.write_all(b"0"));
        }
    }

    /// The cgroups in it.
    pub(crate) fn children(&self) -> Vec<PathBuf> {
        cgroups::children(&self.0).unwrap()
    }

    /// The processes directly in it.
    pub(crate) fn own_members(&self) -> Vec<i32> {
        as_pids(cgroups::own_members(&self.0).unwrap())
    }

    /// The processes in it, at any depth.
    pub(crate) fn members(&self) -> Vec<i32> {
        as_pids(cgroups::members(&self.0).unwrap())
    }

    pub(crate) fn kill(&self) {
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
    }
}

impl Drop for TestCgroup {
    /// Cleans up even if the test fails.
    fn drop(&mut self) {
        self.kill();
        let deadline = Instant::now() + DYING;
        while !cgroups::members(&self.0).is_ok_and(|it| it.is_empty()) && Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // A process that is exiting is in no list, but still in the way.
        while self.0.exists() && Instant::now() < deadline {
            let below = cgroups::descendants(&self.0).unwrap_or_default();
            for path in below.iter().rev().chain([&self.0]) {
                let _ = std::fs::remove_dir(path);
            }
        }
    }
}

fn as_pids(pids: Vec<u32>) -> Vec<i32> {
    pids.into_iter().map(|pid| pid.try_into().unwrap()).collect()
}

/// While this exists, this thread and the processes that it starts see only the cgroups that they create, so
/// a command that concerns all sessions of the host does not affect other tests.
pub(crate) struct OwnHost(#[expect(dead_code, reason = "removed with it")] TestCgroup);

impl OwnHost {
    pub(crate) fn enter() -> Self {
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

/// The cgroup2 mount. A host without one fails the tests.
pub(super) fn mount() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    PathBuf::from(line.expect("these tests need a cgroup2 mount").split(' ').nth(1).unwrap())
}

/// The cgroup in which this process is.
pub(crate) fn own_cgroup() -> PathBuf {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("a cgroup in the v2 hierarchy");
    mount().join(path)
}
