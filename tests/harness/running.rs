//! A running cgrun, and one that has exited.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::place::{Cgruns, Place, is_cgrun};
use super::{DYING, TestCgroup, cgroup, orphans};
use crate::witness::Search;

/// No test takes longer than this, even on a slow machine.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct Running {
    child: Child,
    directory: tempfile::TempDir,
    pub(super) cgroup: Rc<TestCgroup>,
    place: Option<Place>,
    begin: Instant,
}

impl Running {
    pub(crate) fn new(
        child: Child,
        directory: tempfile::TempDir,
        cgroup: Rc<TestCgroup>,
        place: Option<Place>,
    ) -> Self {
        Self { child, directory, cgroup, place, begin: Instant::now() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The supervisor.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub(crate) fn signal(&self, signal: Signal) -> &Self {
        kill(self.pid(), signal).unwrap();
        self
    }

    /// Waits until `condition` holds.
    pub(crate) fn until(&self, what: &str, condition: impl Fn() -> bool) -> &Self {
        while !condition() {
            assert!(self.begin.elapsed() < LIMIT, "never: {what}\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(2));
        }
        self
    }

    /// Waits until a file of this name exists. Helpers write files to report their progress.
    pub(crate) fn until_file(&self, name: &str) -> &Self {
        let path = self.path().join(name);
        self.until(name, || path.exists())
    }

    /// Waits until cgrun has printed this.
    pub(crate) fn until_said(&self, text: &str) -> &Self {
        self.until(text, || self.stderr().contains(text))
    }

    pub(crate) fn stderr(&self) -> String {
        read(self.path(), "stderr")
    }

    /// The path of the log of one service.
    pub(crate) fn log_path(&self, service: &str) -> PathBuf {
        log_path(self.path(), service)
    }

    /// Pids of the processes in the test's cgroup, including cgrun's own.
    pub(crate) fn members(&self) -> Vec<i32> {
        self.cgroup.members()
    }

    /// The cgroup of the only running session.
    pub(crate) fn session_cgroup(&self) -> PathBuf {
        let sessions = self.cgroup.children();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions.into_iter().next().unwrap()
    }

    /// Kills everything at once: cgrun's own processes and the session.
    pub(crate) fn kill_everything(&self) {
        self.cgroup.kill();
    }

    /// The guardian, if it exists: a cgrun in the test's cgroup that leads a session (setsid(2)) of its own. A keeper of another
    /// program has that as its child.
    pub(crate) fn guardian(&self) -> Option<Pid> {
        let children = |pid: &Pid| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let is_guardian = |pid: &Pid| {
            *pid != self.pid()
                && children(pid).is_ok_and(|it| it.is_empty())
                && std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "cgrun\n")
                && nix::unistd::getsid(Some(*pid)) == Ok(*pid)
        };
        self.cgroup.own_members().into_iter().map(Pid::from_raw).find(is_guardian)
    }

    /// Kills the supervisor and its guardian so that neither sees the other die and the session remains.
    pub(crate) fn kill_with_guardian(self) -> Finished {
        self.until("a guardian", || self.guardian().is_some());
        let guardian = self.guardian().unwrap();
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            self.signal(signal);
            kill(guardian, signal).unwrap();
        }
        let run = self.finish();
        run.assert_signal(Signal::SIGKILL);
        assert_eq!(run.sessions(), 1, "no cgrun was left to end it");
        run
    }

    /// Kills the supervisor of a session in a [`Place`], and optionally its guardian. They are stopped first,
    /// so that neither sees the other die. Then waits until the guardian, if it was not killed, has exited.
    pub(crate) fn kill_cgrun(mut self, with_guardian: bool) -> Finished {
        let path = self.path().to_path_buf();
        let find = || Cgruns::of(&path);
        self.until("supervisor and guardian", || find().supervisor.is_some() && find().guardian.is_some());
        let Cgruns { supervisor, guardian } = find();
        let victims = [supervisor, guardian.filter(|_| with_guardian)];
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            victims.iter().flatten().for_each(|pid| kill(*pid, signal).unwrap());
        }
        // runuser(1) stops together with its child, and does not continue by itself.
        while self.child.try_wait().unwrap().is_none() {
            assert!(self.begin.elapsed() < LIMIT, "the launcher never exits");
            let _ = kill(self.pid(), Signal::SIGCONT);
            std::thread::sleep(Duration::from_millis(5));
        }
        let lives = |pid: Option<Pid>| pid.is_some_and(|pid| is_cgrun(Path::new(&format!("/proc/{pid}"))));
        self.until("the exit of all cgruns", || !lives(supervisor) && !lives(guardian));
        self.finish()
    }

    /// The cgroup of its session.
    pub(crate) fn session_path(&self) -> PathBuf {
        self.cgroup.children().into_iter().next().unwrap()
    }

    /// The number of sessions in the test's cgroup.
    pub(crate) fn sessions(&self) -> usize {
        self.cgroup.children().len()
    }

    /// Runs another cgrun beside it, and waits until that has exited.
    pub(crate) fn cgrun(&self, arguments: &[&str]) -> Said {
        cgrun(self.path(), &self.cgroup, self.place, arguments)
    }

    /// Waits until it has exited.
    pub(crate) fn finish(mut self) -> Finished {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.begin.elapsed() > LIMIT {
                let stderr = self.stderr();
                self.cgroup.kill();
                panic!("cgrun did not exit within {LIMIT:?}\n{stderr}");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let took = self.begin.elapsed();
        Finished { status, took, directory: self.directory, cgroup: self.cgroup, place: self.place }
    }
}

pub(crate) struct Finished {
    pub status: ExitStatus,
    pub took: Duration,
    directory: tempfile::TempDir,
    cgroup: Rc<TestCgroup>,
    place: Option<Place>,
}

impl Finished {
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn stdout(&self) -> String {
        read(self.path(), "stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        read(self.path(), "stderr")
    }

    pub(crate) fn read(&self, name: &str) -> String {
        read(self.path(), name)
    }

    /// The log of one service.
    pub(crate) fn log(&self, service: &str) -> String {
        // Joining an absolute path to a directory gives that path.
        read(self.path(), &log_path(self.path(), service).to_string_lossy())
    }

    /// Runs another cgrun in the same place.
    pub(crate) fn cgrun(&self, arguments: &[&str]) -> Said {
        cgrun(self.path(), &self.cgroup, self.place, arguments)
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.status, self.stderr());
        self
    }

    /// Asserts that cgrun itself died of this signal.
    #[track_caller]
    pub(crate) fn assert_signal(&self, signal: Signal) -> &Self {
        assert_eq!(self.status.signal(), Some(signal as i32), "{}\n{}", self.status, self.stderr());
        self
    }

    #[track_caller]
    pub(crate) fn assert_said(&self, text: &str) -> &Self {
        assert!(self.stderr().contains(text), "not said: {text}\n{}", self.stderr());
        self
    }

    /// Asserts that this regular expression matches the output of cgrun.
    #[track_caller]
    pub(crate) fn assert_matches(&self, pattern: &str) -> &Self {
        let is_match = regex::Regex::new(pattern).unwrap().is_match(&self.stderr());
        assert!(is_match, "no match for: {pattern}\n{}", self.stderr());
        self
    }

    #[track_caller]
    pub(crate) fn assert_silent(&self) -> &Self {
        assert_eq!(self.stderr(), "");
        self
    }

    #[track_caller]
    pub(crate) fn assert_faster_than(&self, limit: Duration) -> &Self {
        assert!(self.took < limit, "took {:?}\n{}", self.took, self.stderr());
        self
    }

    #[track_caller]
    pub(crate) fn assert_slower_than(&self, limit: Duration) -> &Self {
        assert!(self.took >= limit, "took only {:?}\n{}", self.took, self.stderr());
        self
    }

    /// The path of the log of one service.
    pub(crate) fn log_path(&self, service: &str) -> PathBuf {
        log_path(self.path(), service)
    }

    /// Describes the processes that have outlived cgrun, and kills them.
    pub(crate) fn survivors(&self) -> Vec<String> {
        orphans::kill_survivors()
    }

    /// Pids of the processes in the test's cgroup.
    pub(crate) fn members(&self) -> Vec<i32> {
        self.cgroup.members()
    }

    /// The number of session cgroups that are left.
    pub(crate) fn sessions(&self) -> usize {
        self.cgroup.children().len()
    }

    /// Whether the session left anything, right now.
    pub(crate) fn is_anything_left(&self) -> bool {
        !self.search().leftovers().unwrap().is_empty()
    }

    /// Asserts that no process, no cgroup and no listening port of the session is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) -> &Self {
        let survivors = self.survivors();
        assert!(survivors.is_empty(), "alive: {survivors:#?}\n{}", self.stderr());
        let mut searches = vec![(self.search(), DYING)];
        if self.place.is_some() {
            // The session may have been anywhere on the host, which it shares with no other. systemd removes
            // an empty scope a little later.
            let roots = vec![cgroup::mount()];
            searches.push((Search { roots, ..Search::default() }, LIMIT / 3));
        }
        for (search, limit) in searches {
            let left = search.leftovers_after(limit).unwrap();
            assert!(left.is_empty(), "left: {left:#?}\n{}", self.stderr());
        }
        self
    }

    /// All places in which parts of the session could be, except for cgroups in a [`Place`].
    fn search(&self) -> Search {
        let marks = vec![self.path().to_str().unwrap().to_string()];
        if self.place.is_some() {
            Search { ports: vec![3000, 8000], marks, ..Search::default() }
        } else {
            let cgroups = vec![self.cgroup.path().to_path_buf()];
            Search { cgroups, every_port: true, marks, ..Search::default() }
        }
    }
}

/// The output of a short run of cgrun.
pub(crate) struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn assert_said(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "not said: {text}\n{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn assert_silent(&self) -> &Self {
        assert_eq!(self.stderr, "");
        self
    }

    /// Its standard output, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

fn cgrun(directory: &Path, cgroup: &TestCgroup, place: Option<Place>, arguments: &[&str]) -> Said {
    let state = directory.join("state");
    let launcher = place.map(|it| it.launcher(directory, &[("XDG_STATE_HOME".into(), state.clone().into())]));
    let mut words = launcher.unwrap_or_default().into_iter().chain([super::cgrun_program().into()]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .env("XDG_STATE_HOME", state)
        .env_remove("CGRUN_SESSION");
    if place.is_none() {
        cgroup.enter_on_exec(&mut command);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn log_path(directory: &Path, service: &str) -> PathBuf {
    let logs = directory.join("state/cgrun/logs");
    let runs: Vec<_> =
        std::fs::read_dir(&logs).expect("a log directory").map(|it| it.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].join(format!("{service}.log"))
}

fn read(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}
