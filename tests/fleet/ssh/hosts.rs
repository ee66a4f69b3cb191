//! Hosts with a sshd each, and the test's own host, from which they are reached.
//!
//! A host has PIDs, mounts, cgroups, a name and a network of its own, below one cgroup of the test. Its sshd uses no file of
//! this machine's configuration, and nothing of the host outlives its first process.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sched::CloneFlags;
use nix::unistd::Pid;

use crate::harness::{TestCgroup, cgrun_program, private_network, require_own_process, until};
use crate::witness::cgroups;

/// The first process of a host. It says that it has a network, and waits for a cable in it.
const FIRST_PROCESS: &str = r#"
set -e
hostname "$1"
umount "$2"
mount -t cgroup2 cgroup2 "$2"
mount -t tmpfs tmpfs /run
mkdir /run/sshd
echo "has a network"
read -r _
ip link set lo up
ip address add "$3/24" dev eth0
ip link set eth0 up
exec /usr/sbin/sshd -D -e -f "$4"
"#;

/// The processes on a host to which no one is connected: unshare(1) and sshd.
const OWN: usize = 2;

/// The files that replace this machine's, for the test and its hosts. `{d}` is the directory that they are in.
const FILES: [(&str, &str); 6] = [
    (
        "passwd",
        "root:x:0:0::{d}/home:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\nuser:x:1000:1000::{d}/user:/bin/sh\n",
    ),
    ("shadow", "root:*:20000::::::\nsshd:!:20000::::::\nuser:*:20000::::::\n"),
    ("group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\ntty:x:5:\n"),
    (
        "ssh/ssh_config",
        "IdentityFile {d}/key\nUserKnownHostsFile {d}/known\nStrictHostKeyChecking accept-new\nLogLevel ERROR\n",
    ),
    (
        "sshd",
        "HostKey {d}/host_key\nAuthorizedKeysFile {d}/key.pub\nStrictModes no\nUsePAM no\nPidFile none\nUseDNS no\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\nPrintLastLog no\nMaxSessions 50\n\
         MaxStartups 100\nClientAliveInterval 1\nClientAliveCountMax 2\nLoginGraceTime 30\nSubsystem sftp internal-sftp\n",
    ),
    ("home/.hushlogin", ""),
];

pub(super) struct Hosts {
    far: Vec<Host>,
    /// Where what `near` starts is.
    cgroup: TestCgroup,
    directory: tempfile::TempDir,
}

pub(super) struct Host {
    name: String,
    /// Killed when it is dropped.
    cgroup: TestCgroup,
    first: Child,
}

impl Hosts {
    /// This thread and what it starts can reach `far1`, `far2` and so on by ssh from now on.
    pub(super) fn enter(count: usize) -> Self {
        require_own_process();
        private_network();
        nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        for (name, text) in FILES {
            let file = path.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text.replace("{d}", path.to_str().unwrap())).unwrap();
        }
        // A far module of Ansible that is killed leaves a directory in the one for temporary files.
        let temporary = path.join("tmp");
        std::fs::create_dir(&temporary).unwrap();
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o1777)).unwrap();
        // What sshd gives to sessions. The suites are deaf, so each test would wait for the usual grace.
        let programs = cgrun_program().parent().unwrap().to_path_buf();
        let variables = format!(
            "SetEnv CGRUN_GRACE=500ms TMPDIR={} PATH={}:/usr/sbin:/usr/bin:/sbin:/bin\n",
            temporary.display(),
            programs.display()
        );
        append(&path.join("sshd"), &variables);
        let names: Vec<_> = (1..=count).map(|number| format!("far{number}")).collect();
        let table: String = (1..=count).map(|it| format!("{} far{it}\n", address(it, 2))).collect();
        std::fs::write(path.join("hosts"), format!("127.0.0.1 localhost\n{table}")).unwrap();
        std::fs::create_dir_all(path.join("user")).unwrap();
        run(
            "sh",
            &[
                "-c",
                &format!(
                    "set -e; cd {}; chown 1000:1000 user; mount --make-rprivate /; umask 077\n\
             for it in passwd shadow group hosts; do chmod 644 $it; mount --bind $it /etc/$it; done\n\
             mount --bind ssh /etc/ssh; for it in key host_key; do ssh-keygen -q -t ed25519 -N '' -f $it; done\n\
             chmod 644 key.pub; mount -t tmpfs tmpfs /var/log",
                    path.display()
                ),
            ],
        );
        let far = names.iter().zip(1..).map(|(name, number)| Host::start(name, number, path)).collect();
        std::fs::create_dir(path.join("near")).unwrap();
        Self { far, cgroup: TestCgroup::create("near"), directory }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A command on the test's own host, in a directory of its own. It is killed together with the test.
    pub(super) fn near(&self, words: &[String]) -> Command {
        let programs = [cgrun_program().parent().unwrap().into(), crate::fleet::program("")];
        let rest = std::env::var_os("PATH").unwrap();
        let path = programs.into_iter().chain(std::env::split_paths(&rest));
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(words)
            .current_dir(self.near_directory())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("CGRUN_GRACE", "500ms")
            .env("PWD", self.near_directory())
            .env("HOME", self.path().join("home"))
            .env("PYTHON", crate::fleet::program("python3"))
            .stdin(Stdio::null())
            .stdout(File::create(self.path().join("near.out")).unwrap())
            .stderr(File::create(self.path().join("near.err")).unwrap());
        self.cgroup.enter_on_exec(&mut command);
        command
    }

    pub(super) fn near_directory(&self) -> PathBuf {
        self.path().join("near")
    }

    pub(super) fn near_said(&self) -> String {
        let read = |name| std::fs::read_to_string(self.path().join(name)).unwrap();
        read("near.out") + &read("near.err")
    }

    pub(super) fn near_members(&self) -> Vec<i32> {
        self.cgroup.members()
    }

    /// The command of the only session near.
    pub(super) fn near_command(&self) -> Pid {
        let members = self.near_members().into_iter().map(Pid::from_raw);
        let is_started =
            |pid: &Pid| name(*pid) != "cgrun" && parent(*pid).is_some_and(|it| name(it) == "cgrun");
        members.filter(is_started).min().expect("a command of cgrun")
    }

    pub(super) fn host(&self, number: usize) -> &Host {
        &self.far[number - 1]
    }
}

impl Host {
    fn start(name: &str, number: usize, path: &Path) -> Self {
        let cgroup = TestCgroup::create(name);
        let mount = cgroup.path().parent().unwrap().to_path_buf();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "-m", "-n", "-u", "-C", "-p", "--fork", "--kill-child"])
            .args(["--mount-proc", "sh", "-c", FIRST_PROCESS, "host", name])
            .args([&mount, Path::new(&address(number, 2)), &path.join("sshd")])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(path.join(format!("{name}.log"))).unwrap());
        cgroup.enter_on_exec(&mut command);
        let mut first = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(first.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "has a network\n");
        let pid = first.id().to_string();
        run("ip", &["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        run("ip", &["address", "add", &format!("{}/24", address(number, 1)), "dev", name]);
        run("ip", &["link", "set", name, "up"]);
        first.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let host = Self { name: name.to_string(), cgroup, first };
        until("sshd listens", || std::net::TcpStream::connect((&*address(number, 2), 22)).is_ok());
        host
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes the cable out, or puts it in again. No packet says so to either side.
    pub(super) fn link(&self, state: &str) {
        run("ip", &["link", "set", &self.name, state]);
    }

    /// The supervisors of its sessions, as this test sees their pids.
    pub(super) fn supervisors(&self) -> Vec<Pid> {
        self.cgruns(|parent| parent != "cgrun")
    }

    pub(super) fn guardians(&self) -> Vec<Pid> {
        self.cgruns(|parent| parent == "cgrun")
    }

    fn cgruns(&self, with_parent: impl Fn(&str) -> bool) -> Vec<Pid> {
        let members = self.cgroup.members().into_iter().map(Pid::from_raw);
        members
            .filter(|&pid| name(pid) == "cgrun" && parent(pid).is_some_and(|it| with_parent(&name(it))))
            .collect()
    }

    /// The sshd that serves the connection by which a process was started.
    pub(super) fn sshd_of(&self, pid: Pid) -> Pid {
        let mut above = pid;
        while name(above) != "sshd" {
            above = parent(above).expect("a sshd above it");
        }
        above
    }

    /// Whether no process but its own is left on it, and no session.
    pub(super) fn is_clean(&self) -> bool {
        cgroups::descendants(self.cgroup.path()).unwrap().is_empty() && self.cgroup.members().len() == OWN
    }

    pub(super) fn until_clean(&self) {
        let begin = std::time::Instant::now();
        while !self.is_clean() {
            assert!(begin.elapsed().as_secs() < 60, "left on {}: {:#?}", self.name, self.processes());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    fn processes(&self) -> Vec<String> {
        let read = |pid, file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let stat = |pid| read(pid, "stat").split(' ').skip(2).take(6).collect::<Vec<_>>().join(" ");
        let described = |pid| format!("{pid} ({}) {}", stat(pid), read(pid, "cmdline").replace('\0', " "));
        self.cgroup.members().into_iter().map(described).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.cgroup.kill();
        let _ = self.first.wait();
    }
}

/// The address of host `number`, or of this end of its cable.
fn address(number: usize, end: u8) -> String {
    format!("10.19.{number}.{end}")
}

pub(super) fn name(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_string()
}

pub(super) fn parent(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

fn append(path: &Path, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
}
