//! A master and two workers of Buildbot, on the loopback interface of a network namespace. They run what
//! `docs/examples/fleet/buildbot/master.cfg` says.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::fleet::{program, root};
use crate::harness::{
    OwnHost, TestCgroup, cgrun_program, helpers, private_network, require_own_process, until,
};

/// Builds one shard on demand, in addition to what the example has.
const ONE_SHARD: &str = "
BuildmasterConfig['schedulers'].append(schedulers.ForceScheduler('one', builderNames=['shard'],
    properties=[util.StringParameter(it) for it in ['shard', 'night']]))
";
const SECRETS: [&str; 2] = ["a secret", "another secret"];

pub(super) struct Farm {
    master: Option<Child>,
    workers: [Option<Child>; 2],
    /// Dropped, and thereby killed, before the directory.
    cgroup: TestCgroup,
    /// A sweep concerns all sessions of a host.
    _host: OwnHost,
    directory: tempfile::TempDir,
}

impl Farm {
    /// `run_shard` is the script of that name in the repository. The changes are made in the example.
    pub(super) fn start(run_shard: &str, files: &[(&str, &str)], changes: &[(&str, &str)]) -> Self {
        require_own_process();
        private_network();
        let host = OwnHost::enter();
        let farm = Self {
            master: None,
            workers: [None, None],
            cgroup: TestCgroup::create("buildbot"),
            _host: host,
            directory: tempfile::tempdir().unwrap(),
        };
        let files = [("run-shard", run_shard)].into_iter().chain(files.iter().copied());
        farm.make_repository(files);
        farm.make_master(changes);
        for (number, secret) in (1..).zip(SECRETS) {
            let worker = format!("worker{number}");
            let options = ["--maxdelay=1", "--keepalive=5"];
            let words = [&worker, "127.0.0.1:9989", &worker, secret];
            done(
                farm.command(&program("buildbot-worker"))
                    .args(["create-worker", "-q"])
                    .args(options)
                    .args(words),
            );
        }
        let mut farm = farm;
        farm.start_master();
        farm.begin_worker(1);
        farm.begin_worker(2);
        until("the workers are connected", || farm.is_complete());
        farm
    }

    fn make_repository<'a>(&self, files: impl Iterator<Item = (&'a str, &'a str)>) {
        let shop = self.path().join("shop");
        std::fs::create_dir(&shop).unwrap();
        for (name, text) in files {
            let path = shop.join(name);
            std::fs::write(&path, text.replace("{farm}", self.path().to_str().unwrap())).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let commit = "git init -q -b master . && git add . && git -c user.name=me -c user.email=me@localhost commit -qm shop";
        done(self.command(Path::new("sh")).args(["-c", commit]).current_dir(&shop));
    }

    fn make_master(&self, changes: &[(&str, &str)]) {
        done(self.command(&program("buildbot")).args(["create-master", "-q", "master"]));
        let example = root().join("docs/examples/fleet/buildbot/master.cfg");
        let mut config = std::fs::read_to_string(example).unwrap();
        let (shop, reports) = (self.path().join("shop"), self.path().join("reports"));
        let places = [
            ("https://git.example.org/shop.git", shop.to_str().unwrap()),
            ("/var/lib/buildbot/reports", reports.to_str().unwrap()),
        ];
        for (here, there) in places.iter().chain(changes) {
            assert!(config.contains(here), "{here}");
            config = config.replace(here, there);
        }
        std::fs::write(self.path().join("master/master.cfg"), config + ONE_SHARD).unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path =
            format!("{}:{}", cgrun_program().parent().unwrap().display(), std::env::var("PATH").unwrap());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.path());
        command.env("XDG_STATE_HOME", self.path().join("state")).stdin(Stdio::null());
        command
    }

    /// Starts what is in this directory. The kernel kills it if this test is. Orphans do not become children of this test: a
    /// guardian could not tell them from what the test starts.
    fn daemon(&self, name: &str) -> Child {
        let log = self.path().join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let dies_with_parent = ["setpriv", "--pdeathsig", "KILL"];
        let mut command = self.command(Path::new(dies_with_parent[0]));
        command.args(&dies_with_parent[1..]).arg("python3").arg(helpers().join("reaper.py"));
        command.args(dies_with_parent).arg(program("python")).arg(program("twistd"));
        command.args(["--pidfile=", "--nodaemon", "--no_save", "-y", &format!("{name}/buildbot.tac")]);
        command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.cgroup.enter_on_exec(&mut command);
        command.spawn().unwrap()
    }

    pub(super) fn start_master(&mut self) {
        self.begin_master();
        until("the master answers", || self.try_get("workers").is_some());
    }

    /// Does not wait for it.
    pub(super) fn begin_master(&mut self) {
        self.master = Some(self.daemon("master"));
    }

    /// The same for a worker.
    pub(super) fn begin_worker(&mut self, number: usize) {
        self.workers[number - 1] = Some(self.daemon(&format!("worker{number}")));
    }

    /// Whether the master answers, and has all workers.
    pub(super) fn is_complete(&self) -> bool {
        let is_connected = |number: &u32| {
            let said = self.try_get(&format!("workers/worker{number}"));
            let masters = said.and_then(|it| it["workers"][0]["connected_to"].as_array().map(Vec::len));
            masters.is_some_and(|count| count > 0)
        };
        (1..=2).all(|number| is_connected(&number))
    }

    /// Ends the master, without waiting for its builds.
    pub(super) fn end_master(&mut self, signal: Signal) {
        end(self.master.take().unwrap(), signal);
    }

    /// Kills the worker's process group.
    pub(super) fn kill_worker(&mut self, number: usize) {
        end(self.workers[number - 1].take().unwrap(), Signal::SIGKILL);
    }

    /// Has one shard built, and returns the request.
    pub(super) fn force_shard(&self, shard: u32) -> u64 {
        let parameters = json!({ "shard": shard.to_string(), "night": "0" });
        self.force("one", &parameters)
    }

    /// The same for a whole night.
    pub(super) fn force_night(&self) -> u64 {
        self.force("force", &json!({}))
    }

    fn force(&self, scheduler: &str, parameters: &Value) -> u64 {
        let said = self.control(&format!("forceschedulers/{scheduler}"), "force", parameters).unwrap();
        let requests = said["result"][1].as_object().unwrap_or_else(|| panic!("{said}"));
        requests.values().next().unwrap().as_u64().unwrap()
    }

    /// What the web interface does when a user presses a button.
    pub(super) fn control(&self, path: &str, method: &str, parameters: &Value) -> io::Result<Value> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters }).to_string();
        let said: Value = serde_json::from_str(&ask("POST", path, &call)?)?;
        if said["error"].is_null() { Ok(said) } else { Err(io::Error::other(said.to_string())) }
    }

    pub(super) fn get(&self, path: &str) -> Value {
        self.try_get(path).unwrap_or_else(|| panic!("{path}: no answer"))
    }

    pub(super) fn try_get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&ask("GET", path, "").ok()?).ok()
    }

    pub(super) fn text(&self, path: &str) -> String {
        ask("GET", path, "").unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The builds of a request: one, and one more for each time that it was repeated.
    pub(super) fn builds(&self, request: u64) -> Vec<Value> {
        let said = self.try_get(&format!("buildrequests/{request}/builds?property=workername"));
        said.and_then(|it| it["builds"].as_array().cloned()).unwrap_or_default()
    }

    /// The requests that are complete, if the master answers.
    pub(super) fn complete(&self) -> Vec<u64> {
        let said = self
            .try_get("buildrequests?complete=true&field=buildrequestid&field=complete")
            .unwrap_or_default();
        let requests = said["buildrequests"].as_array().cloned().unwrap_or_default();
        requests.iter().filter_map(|it| it["buildrequestid"].as_u64()).collect()
    }

    pub(super) fn until_complete(&self, request: u64) -> &Self {
        until(&format!("request {request} is complete"), || self.complete().contains(&request));
        self
    }

    /// The result of each build of a request.
    pub(super) fn results(&self, request: u64) -> Vec<u64> {
        self.builds(request).iter().filter_map(|build| build["results"].as_u64()).collect()
    }

    /// What a step of the last build of a request has printed.
    pub(super) fn log(&self, request: u64, step: &str) -> String {
        let build = self.builds(request).pop().unwrap();
        self.text(&format!("builds/{}/steps/{step}/logs/stdio/raw", build["buildid"]))
    }

    pub(super) fn report_path(&self, night: u32, shard: u32) -> PathBuf {
        self.path().join(format!("reports/{night}/shard-{shard}.json"))
    }

    pub(super) fn report(&self, night: u32, shard: u32) -> Value {
        let path = self.report_path(night, shard);
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap()
    }

    /// No session is left, as the kernel's list of cgroups shows.
    pub(super) fn until_no_session_is_left(&self) {
        until("no session is left", || self.cgroup.children().is_empty());
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["master/twistd.log", "master.log", "worker1.log", "worker2.log"] {
                let text = std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                eprintln!("{name}:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
        }
        self.cgroup.kill();
        for daemon in self.workers.iter_mut().chain([&mut self.master]).flatten() {
            let _ = daemon.wait();
        }
    }
}

/// Asks the master's REST API, and returns the body of the answer.
fn ask(method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", 8010))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "{method} /api/v2/{path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(body.to_string())
}

/// Ends a process group of ours.
fn end(mut daemon: Child, signal: Signal) {
    kill(Pid::from_raw(-(daemon.id() as i32)), signal).unwrap();
    daemon.wait().unwrap();
}

fn done(command: &mut Command) {
    let said = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
}
