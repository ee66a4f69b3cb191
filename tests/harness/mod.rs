//! Runs cgrun as a user would, in a cgroup and a network namespace that belong to the test, and then
//! checks without cgrun that nothing is left.
//!
//! The test process is a subreaper: every process that survives cgrun becomes its child.

pub(crate) mod browser;
mod cgroup;
mod orphans;
mod place;
mod running;
mod stranger;
pub(crate) mod terminal;

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub(crate) use cgroup::{OwnHost, TestCgroup, own_cgroup};
pub(crate) use place::Place;
pub(crate) use running::{Finished, Running, Said};
pub(crate) use stranger::Stranger;
pub(crate) use terminal::Terminal;

use crate::witness::ports;

/// A killed process may take this long to disappear; one that was not killed still exists then.
const DYING: Duration = Duration::from_secs(2);

/// The variables by which cgrun recognizes a CI system. It may be one that runs the tests.
pub(crate) const OF_CI: [&str; 9] = [
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "TF_BUILD",
    "BUILDKITE",
    "CIRCLECI",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TRAVIS",
];

/// Describes one run of cgrun.
pub(crate) struct Session {
    directory: tempfile::TempDir,
    cgroup: Rc<TestCgroup>,
    place: Option<Place>,
    options: Vec<OsString>,
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Session {
    /// A session in a new temporary directory, alone on its network.
    pub(crate) fn new() -> Self {
        require_own_process();
        private_network();
        Self::again()
    }

    /// A session that is started in this place on a host with systemd, in the host's network.
    pub(crate) fn at(place: Place) -> Self {
        require_own_process();
        require_controllers();
        let mut session = Self::again();
        std::fs::set_permissions(session.path(), Permissions::from_mode(0o777)).unwrap();
        session.place = Some(place);
        session
    }

    /// One more session of the same test, in the same network.
    pub(crate) fn again() -> Self {
        Self::within(Rc::new(TestCgroup::create("home")))
    }

    /// Like [`again`](Self::again), but in the same cgroup as another session.
    pub(crate) fn beside(other: &Running) -> Self {
        Self::within(other.cgroup.clone())
    }

    fn within(cgroup: Rc<TestCgroup>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, cgroup, place: None, options: Vec::new(), command: Vec::new(), env: Vec::new() }
    }

    /// The directory in which it runs.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file there, and creates its parent directories.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Writes its `cgrun.toml`. `{helpers}` is the directory of the helper programs.
    pub(crate) fn config(self, toml: &str) -> Self {
        self.file("cgrun.toml", toml.replace("{helpers}", &helpers().to_string_lossy()))
    }

    /// Adds options of cgrun.
    pub(crate) fn options<S: AsRef<OsStr>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(options.into_iter().map(|it| it.as_ref().to_os_string()));
        self
    }

    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The command to run.
    pub(crate) fn command<S: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.command = command.into_iter().map(|it| it.as_ref().to_os_string()).collect();
        self
    }

    /// A shell script as the command.
    pub(crate) fn sh(self, script: &str) -> Self {
        self.command(["sh", "-c", script])
    }

    /// A helper program (`tests/helpers/NAME`) as the command.
    pub(crate) fn helper(self, name: &str, arguments: &[&str]) -> Self {
        let program = helpers().join(name);
        let arguments = arguments.iter().map(|it| OsString::from(*it));
        let command: Vec<OsString> =
            ["python3".into(), program.into()].into_iter().chain(arguments).collect();
        self.command(command)
    }

    /// Starts it without waiting.
    pub(crate) fn start(self) -> Running {
        let cgrun = cgrun_program();
        self.start_through(&[cgrun.to_str().unwrap()])
    }

    /// Starts a program that in turn runs cgrun, whose path is in `CGRUN`.
    pub(crate) fn start_through(self, launcher: &[&str]) -> Running {
        let words = launcher.iter().map(OsStr::new).chain(self.options.iter().map(|it| &**it));
        let words = words.chain(self.command.iter().map(|it| &**it));
        let words: Vec<OsString> = match self.place {
            Some(place) => {
                let own = place.launcher(self.path(), &self.variables());
                own.into_iter().chain(words.map(|word| place.word(word))).collect()
            }
            None => words.map(OsString::from).collect(),
        };
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        self.launch(command)
    }

    /// Starts it in an environment that `tests/helpers/launch.py` sets up.
    pub(crate) fn start_launched(self, how: &[&str]) -> Running {
        let launcher = helpers().join("launch.py");
        self.start_through(&[&["python3", launcher.to_str().unwrap()], how].concat())
    }

    /// Starts it, and waits until it has exited.
    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }

    /// Starts a shell on its own terminal, to run cgrun in.
    pub(crate) fn on_terminal(self) -> Terminal {
        Terminal::start(self)
    }

    fn launch(self, mut command: Command) -> Running {
        // Write to files, because a process that keeps a file open delays no reader.
        command
            .stdin(File::open("/dev/null").unwrap())
            .stdout(File::create(self.path().join("stdout")).unwrap())
            .stderr(File::create(self.path().join("stderr")).unwrap());
        self.launch_on(command)
    }

    /// The environment of cgrun that differs from the test's.
    fn variables(&self) -> Vec<(OsString, OsString)> {
        let own = [
            ("CGRUN", cgrun_program()),
            ("HELPERS", helpers()),
            ("XDG_STATE_HOME", self.path().join("state")),
        ];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        own.into_iter().chain(self.env.iter().cloned()).collect()
    }

    /// Starts a command whose standard streams are chosen.
    fn launch_on(self, mut command: Command) -> Running {
        for variable in OF_CI {
            command.env_remove(variable);
        }
        command
            .current_dir(self.path())
            .env_remove("CGRUN_SESSION")
            .env_remove("NO_COLOR")
            .env_remove("SUDO_UID")
            .envs(self.variables());
        if self.place.is_none() {
            self.cgroup.enter_on_exec(&mut command);
        }
        // SAFETY: system calls only. The session must not have the terminal on which the tests run;
        // if standard input is a terminal, it gets that.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                let input = rustix::stdio::stdin();
                if rustix::termios::isatty(input) {
                    rustix::process::ioctl_tiocsctty(input)?;
                }
                Ok(())
            });
        }
        Running::new(command.spawn().unwrap(), self.directory, self.cgroup, self.place)
    }
}

/// The cgrun under test. Its path in the virtual machine differs from that on the machine that compiled the
/// tests.
pub(crate) fn cgrun_program() -> PathBuf {
    let path = std::env::var_os("NEXTEST_BIN_EXE_cgrun");
    path.unwrap_or_else(|| env!("CARGO_BIN_EXE_cgrun").into()).into()
}

/// The directory of the helper programs.
pub(crate) fn helpers() -> PathBuf {
    repository().join("tests/helpers")
}

/// The directory of the repository, or of the part of it that is in the virtual machine.
fn repository() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

/// The witness as a program, which cargo builds with the tests.
pub(crate) fn witness_program() -> PathBuf {
    let path = cgrun_program().with_file_name("examples/witness");
    assert!(path.exists(), "{} is missing; build it: cargo build --example witness", path.display());
    path
}

/// A program that `scripts/test` installs, by its path in the repository.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = repository().join(path);
    assert!(path.exists(), "{} is missing; run scripts/test", path.display());
    path
}

/// A program of the demo's Python environment.
pub(crate) fn python_program(name: &str) -> String {
    installed(&format!("target/demo/venv/bin/{name}")).to_str().unwrap().to_string()
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < running::LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process listens on `port` in this test's network.
pub(crate) fn is_listening(port: u16) -> bool {
    ports::listening().unwrap().contains(&port)
}

/// The test process becomes the parent of all orphans, and enters namespaces.
pub(crate) fn require_own_process() {
    assert!(
        std::env::var_os("NEXTEST").is_some(),
        "each of these tests needs a process of its own; run scripts/test, or cargo nextest run"
    );
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests make cgroups and network namespaces; run them as root"
    );
    orphans::become_subreaper();
}

/// Fails on a host without controllers for sessions, or without systemd.
fn require_controllers() {
    let controllers = std::fs::read_to_string(cgroup::mount().join("cgroup.controllers")).unwrap();
    let has = |wanted| controllers.split_whitespace().any(|it| it == wanted);
    let missing: Vec<_> =
        ["memory", "pids", "cpu", "cpuset", "io"].into_iter().filter(|it| !has(*it)).collect();
    assert!(
        missing.is_empty() && Path::new("/run/systemd/system").exists(),
        "this test needs systemd and all cgroup v2 controllers, and here {missing:?} are missing; \
         it runs in a virtual machine: scripts/vm-test"
    );
}

/// Gives this test System V IPC and a /dev/shm of its own, so that it sees nothing that other tests leave there, and what it
/// leaves itself goes with it.
pub(crate) fn private_shared_memory() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::CloneFlags;
    let nothing: Option<&str> = None;
    nix::sched::unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNS).expect("unshare -im");
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("mode=1777")).unwrap();
}

/// Enters a new network namespace for this test, with a loopback interface that is up.
pub(crate) fn private_network() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare -n");
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip (iproute2)");
    assert!(status.success(), "ip link set lo up");
}
