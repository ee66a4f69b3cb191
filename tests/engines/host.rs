//! A host for container engines within this one.
//!
//! Engines create cgroups and mounts, and podman moves all processes of its root cgroup into a cgroup of its
//! own. So they run in a mount, network and cgroup namespace, below one cgroup of this test.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sched::CloneFlags;

use crate::harness::{TestCgroup, cgrun_program, private_network, require_own_process, until};

/// This thread and what it starts are on this host until it is dropped.
pub(crate) struct EngineHost {
    /// The `cgroup.procs` of the cgroup in which this process was before.
    home: File,
    /// Those in which this thread was before.
    namespaces: [(File, CloneFlags); 2],
    /// Dropped, and thereby killed, before the directory.
    _cgroup: TestCgroup,
    _watcher: Watcher,
    /// A test with several threads cannot return to the first mount namespace (setns(2)).
    _mount: File,
    /// Appears in the command lines of processes of this test only.
    marker: u32,
    /// The images, containers and sockets.
    directory: tempfile::TempDir,
}

impl EngineHost {
    pub(crate) fn enter() -> Self {
        require_own_process();
        private_network();
        let mut cgroup = TestCgroup::create("engines");
        let watcher = Watcher::of(cgroup.path());
        let mount = File::open(cgroup.path().parent().unwrap()).unwrap();
        let home = writable(&crate::harness::own_cgroup().join("cgroup.procs"));
        writable(&cgroup.path().join("cgroup.procs")).write_all(b"0").unwrap();
        cgroup.reach_through(&mount);
        let namespaces = [("mnt", CloneFlags::CLONE_NEWNS), ("cgroup", CloneFlags::CLONE_NEWCGROUP)]
            .map(|(name, kind)| (File::open(format!("/proc/thread-self/ns/{name}")).unwrap(), kind));
        nix::sched::unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP).unwrap();
        shell(
            "mount --make-rprivate / && umount -R /sys/fs/cgroup && mount -t sysfs sysfs /sys && \
             mount -t cgroup2 cgroup2 /sys/fs/cgroup && mount -t tmpfs tmpfs /run && \
             mount -t tmpfs -o mode=1777 tmpfs /dev/shm && \
             if [ -d /etc/cni/net.d ]; then own=/etc/cni/net.d; else own=/etc; fi && \
             cp -a $own /run/own && mount --bind /run/own $own && \
             mkdir /sys/fs/cgroup/test && echo 0 >/sys/fs/cgroup/test/cgroup.procs",
        );
        // The shell has moved only itself.
        writable(Path::new("/sys/fs/cgroup/test/cgroup.procs")).write_all(b"0").unwrap();
        let marker = 1_000_000 + std::process::id();
        Self {
            home,
            namespaces,
            _cgroup: cgroup,
            _watcher: watcher,
            _mount: mount,
            marker,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file system for containers: a shell, and the libraries that cgrun is linked to.
    pub(crate) fn root(&self) -> PathBuf {
        let root = self.path().join("root");
        let script = format!(
            "set -e; mkdir -p {root}; cd {root}; mkdir bin etc proc sys dev tmp run; chmod 1777 tmp\n\
             cp \"$(command -v busybox)\" bin/busybox\n\
             for name in sh sleep env setsid cat ls ps kill tail true mount touch id unshare cp awk; do ln -s busybox bin/$name; done\n\
             echo root:x:0:0::/:/bin/sh >etc/passwd; echo user:x:1000:1000::/:/bin/sh >>etc/passwd\n\
             ldd {cgrun} | grep -o '/[^ ]*' | while read -r library; do\n\
               mkdir -p .\"${{library%/*}}\"; cp -L \"$library\" .\"$library\"\n\
             done",
            root = root.display(),
            cgrun = cgrun_program().display(),
        );
        shell(&script);
        std::fs::write(root.join("leak.sh"), self.leak()).unwrap();
        root
    }

    /// Leaves two daemons behind: one that ignores SIGTERM, and one that is orphaned before the script ends.
    fn leak(&self) -> String {
        let marker = self.marker;
        format!(
            "(setsid env -i /bin/sh -c \"trap '' TERM; exec sleep {marker}\" &)\n\
             (setsid env -i /bin/sh -c 'sleep {marker} & exec sleep {marker}' &)\n\
             until [ \"$(ps | grep -c '[s]leep {marker}')\" = 3 ]; do sleep 0.05; done\nexit 3\n"
        )
    }

    pub(crate) fn marker(&self) -> u32 {
        self.marker
    }

    /// The processes of this test's containers that run something with the marker.
    pub(crate) fn marked(&self) -> Vec<i32> {
        let marker = self.marker.to_string();
        processes_where(|_, process| command_line(process).split('\0').any(|word| word == marker))
    }

    /// The cgruns in this test's containers, oldest first. Their pids are those outside.
    pub(crate) fn cgruns(&self) -> Vec<i32> {
        self.of_this_test(true, |state| state != "Z")
    }

    /// The same beside the containers.
    pub(crate) fn cgruns_outside(&self) -> Vec<i32> {
        self.of_this_test(false, |state| state != "Z")
    }

    /// The cgruns that have exited and that their parent has not reaped.
    pub(crate) fn zombies(&self) -> Vec<i32> {
        self.of_this_test(true, |state| state == "Z")
    }

    fn of_this_test(&self, in_containers: bool, wanted: impl Fn(&str) -> bool) -> Vec<i32> {
        let read = |process: &Path, file| std::fs::read_to_string(process.join(file)).unwrap_or_default();
        let mut found = processes_where(|_, process| {
            let is_nested = |line: &str| line.starts_with("NSpid:") && line.split_whitespace().count() > 2;
            let status = read(process, "status");
            let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default();
            read(process, "comm").trim() == "cgrun"
                && wanted(state.split_whitespace().next().unwrap_or_default())
                && status.lines().any(is_nested) == in_containers
                && is_inside(process)
        });
        found.sort_unstable();
        found
    }

    /// The processes of this name that this test has started, or their descendants, in whatever cgroup they are.
    pub(crate) fn named(&self, name: &str) -> Vec<i32> {
        let read = |process: &Path, file| std::fs::read_to_string(process.join(file)).unwrap_or_default();
        let is_dead = |status: String| status.lines().any(|line| line.starts_with("State:\tZ"));
        processes_where(|_, process| {
            read(process, "comm").trim() == name && is_inside(process) && !is_dead(read(process, "status"))
        })
    }

    pub(crate) fn until_marked(&self, count: usize) {
        until(&format!("{count} processes run"), || self.marked().len() == count);
    }

    pub(crate) fn until_none_is_marked(&self) {
        until("the processes have exited", || self.marked().is_empty());
    }
}

impl Drop for EngineHost {
    /// Returns to where the test began, so that its cgroup can be removed. The mounts disappear with the engines.
    fn drop(&mut self) {
        let _ = self.home.write_all(b"0");
        for (namespace, kind) in &self.namespaces {
            let _ = nix::sched::setns(namespace, *kind);
        }
    }
}

/// Kills all processes in a cgroup if the test is killed: no engine does that for its containers.
struct Watcher(Child);

impl Watcher {
    fn of(cgroup: &Path) -> Self {
        // Its standard input ends with the test.
        let script = "cat; cd \"$1\" 2>/dev/null || exit 0; echo 1 >cgroup.kill; cd ..\n\
            for it in $(seq 100); do find \"$1\" -depth -type d -exec rmdir {} + && exit; sleep 0.1; done";
        let mut command = Command::new("sh");
        command.args(["-c", script, "watcher"]).arg(cgroup).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // nextest kills the test's process group.
        Self(command.process_group(0).spawn().unwrap())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The processes of other tests are in cgroups outside our cgroup namespace.
fn is_inside(process: &Path) -> bool {
    let cgroups = std::fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    cgroups.lines().any(|line| line.starts_with("0::/") && !line.starts_with("0::/.."))
}

fn writable(path: &Path) -> File {
    File::options().write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn shell(script: &str) {
    let done = output(Command::new("sh").args(["-c", script]));
    assert!(done.status.success(), "{script}: {}: {}", done.status, text(&done.stderr));
}

pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The processes that satisfy a condition on their pid and directory in /proc.
pub(crate) fn processes_where(wanted: impl Fn(i32, &Path) -> bool) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().zip(Some(entry.path())));
    pids.filter(|(pid, path)| wanted(*pid, path)).map(|(pid, _)| pid).collect()
}

fn command_line(process: &Path) -> String {
    text(&std::fs::read(process.join("cmdline")).unwrap_or_default())
}
