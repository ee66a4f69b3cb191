//! The container engines, through their own command lines.

use std::borrow::Cow;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::host::{EngineHost, output, shell, text};
use crate::harness::{cgrun_program, helpers, until};

pub(crate) const IMAGE: &str = "cgrun-test";
const BRIDGE: &str = "cgtest0";
/// An ordinary user.
const USER: u32 = 2345;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Docker,
    Podman,
    /// Started by an ordinary user, to whom the cgroup was delegated.
    RootlessPodman,
    /// With the settings that the kubelet gives to a container without a seccomp profile.
    Runc,
}

/// An engine that has the image.
pub(crate) struct Engine {
    kind: EngineKind,
    pub host: EngineHost,
    daemon: Option<Child>,
}

/// Where podman's daemon listens.
const PODMAN: &str = "/run/podman/podman.sock";

/// Neither systemd nor its journal is there.
const PODMAN_OPTIONS: [&str; 6] =
    ["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--log-level", "error"];

impl Engine {
    pub(crate) fn start(kind: EngineKind) -> Self {
        Self::start_with(kind, "none")
    }

    /// A docker that gives its containers a network, and publishes their ports.
    pub(crate) fn with_network() -> Self {
        Self::start_with(EngineKind::Docker, BRIDGE)
    }

    fn start_with(kind: EngineKind, bridge: &str) -> Self {
        let host = EngineHost::enter();
        let root = host.root();
        let mut engine = Self { kind, host, daemon: None };
        if kind == EngineKind::RootlessPodman {
            engine.add_user();
        }
        if bridge == BRIDGE {
            shell(&format!("ip link add {BRIDGE} type bridge && ip address add 10.201.0.1/24 dev {BRIDGE}"));
        }
        if kind == EngineKind::Docker {
            engine.daemon = Some(engine.start_dockerd(bridge));
            until("dockerd answers", || output(engine.command().arg("version")).status.success());
        }
        if kind != EngineKind::Runc {
            let tar = engine.path("image.tar");
            shell(&format!("tar -C {} -cf {} .", root.display(), tar.display()));
            let imported = output(engine.command().arg("import").arg(&tar).arg(IMAGE));
            assert!(imported.status.success(), "{}", text(&imported.stderr));
        }
        engine
    }

    /// Starts podman's own daemon, which has docker's interface.
    pub(crate) fn serve(&mut self) {
        self.serve_with(&[]);
    }

    pub(crate) fn serve_with(&mut self, options: &[&str]) {
        std::fs::create_dir_all("/run/podman").unwrap();
        let url = format!("unix://{PODMAN}");
        let mut command = self.command();
        command.args(options).args(["system", "service", "--time", "0", &url]).stdin(Stdio::null());
        self.daemon = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("podman's service answers", || std::os::unix::net::UnixStream::connect(PODMAN).is_ok());
    }

    pub(crate) fn kind(&self) -> EngineKind {
        self.kind
    }

    /// The pid of its daemon.
    pub(crate) fn daemon(&self) -> i32 {
        self.daemon.as_ref().unwrap().id() as i32
    }

    /// Adds a user with subordinate user ids, and gives that user our cgroup and the programs to run.
    fn add_user(&self) {
        let script = format!(
            "set -e; cd {directory}; chmod 755 .; mkdir home; cp {cgrun} {runtime} .\n\
             for file in passwd subuid subgid; do touch /etc/$file; cp /etc/$file .; done\n\
             echo rootless:x:{USER}:{USER}::$PWD/home:/bin/sh >>passwd\n\
             echo rootless:300000:65536 | tee -a subuid >>subgid\n\
             for file in passwd subuid subgid; do mount --bind $file /etc/$file; done\n\
             mkdir -p /run/user/{USER}; chown -R {USER} home /run/user/{USER} /sys/fs/cgroup/test",
            directory = self.host.path().display(),
            cgrun = cgrun_program().display(),
            runtime = helpers().join("runc_here.py").display(),
        );
        shell(&script);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.host.path().join(name)
    }

    fn start_dockerd(&self, bridge: &str) -> Child {
        let runtime = format!("here={}", helpers().join("runc_here.py").display());
        let log = File::create(self.path("dockerd.log")).unwrap();
        Command::new("/usr/sbin/dockerd")
            .args(["--add-runtime", &runtime, "--default-runtime", "here"])
            .args(["--host", "unix:///run/docker.sock", "--pidfile", "/run/docker.pid"])
            .args(["--exec-root", "/run/docker", "--iptables=false", "--bridge", bridge])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--data-root"])
            .arg(self.path("docker"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker.io is not installed; run scripts/test")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command;
        match self.kind {
            EngineKind::Docker => {
                command = Command::new("/usr/bin/docker");
                command.args(["--host", "unix:///run/docker.sock"]);
            }
            EngineKind::Podman => {
                command = Command::new("podman");
                command.arg("--root").arg(self.path("podman")).args([
                    "--runroot",
                    "/run/podman",
                    "--runtime",
                ]);
                command.arg(helpers().join("runc_here.py"));
                // Otherwise, all tests share their networks.
                command.arg("--network-config-dir").arg(self.path("networks"));
                command.args(PODMAN_OPTIONS);
            }
            EngineKind::RootlessPodman => {
                let id = USER.to_string();
                command = Command::new("setpriv");
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "podman", "--root"]);
                command.arg(self.path("home/podman")).arg("--runroot").arg(format!("/run/user/{id}/podman"));
                command.arg("--runtime").arg(self.path("runc_here.py"));
                command.args(PODMAN_OPTIONS);
                command.env("XDG_RUNTIME_DIR", format!("/run/user/{id}"));
                command.current_dir(self.path("home")).env_remove("NEXTEST").env("HOME", self.path("home"));
                return command;
            }
            EngineKind::Runc => {
                command = Command::new(helpers().join("runc_here.py"));
                command.args(["--root", "/run/runc"]);
            }
        }
        command.env_remove("NEXTEST").env("HOME", self.host.path());
        command
    }

    /// The words of a command of the engine, for a shell of its user.
    pub(crate) fn in_a_shell(&self, arguments: &str) -> String {
        let command = self.command();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let is_podman = |word: &Cow<str>| word == "podman";
        let as_user = words.iter().position(is_podman).filter(|_| self.kind == EngineKind::RootlessPodman);
        format!("{} {arguments}", words[as_user.unwrap_or_default()..].join(" "))
    }

    /// cgrun, started by the user of the engine in a directory of that user's.
    pub(crate) fn cgrun(&self) -> Command {
        if self.kind != EngineKind::RootlessPodman {
            let mut command = Command::new(cgrun_program());
            command.current_dir(self.host.path()).env("XDG_STATE_HOME", self.host.path());
            command.env_remove("NEXTEST");
            return command;
        }
        let (user, state) = (USER.to_string(), self.path("home/state"));
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(self.path("cgrun"));
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{user}")).env("XDG_STATE_HOME", state);
        command.current_dir(self.path("home")).env_remove("NEXTEST").env("HOME", self.path("home"));
        command
    }

    /// An option of podman: each conmon moves to a cgroup of its own, to which systemd would move it.
    pub(crate) fn conmon_elsewhere(&self) -> String {
        let cgroup = "/sys/fs/cgroup/test/elsewhere";
        let (user, path) =
            (if self.kind == EngineKind::RootlessPodman { USER } else { 0 }, self.path("conmon"));
        shell(&format!(
            "mkdir {cgroup} && chown -R {user} {cgroup} && cat >{path} <<'END' && chmod 755 {path}\n\
             #!/bin/sh\necho 0 >{cgroup}/cgroup.procs\nexec /usr/bin/conmon \"$@\"\nEND",
            path = path.display()
        ));
        format!("--conmon {}", path.display())
    }

    /// The containers that the engine knows, with their state.
    pub(crate) fn list(&self) -> String {
        let done = output(self.command().args(["ps", "--all", "--format", "{{.Names}}: {{.Status}}"]));
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stdout)
    }

    /// A command that runs `argv` as the first process of a new container.
    fn run_command(&self, name: &str, options: &[&str], argv: &[&str]) -> Command {
        let mut command = self.command();
        if self.kind == EngineKind::Runc {
            command.args(["run", "--bundle"]).arg(self.bundle(name, options, argv)).arg(name);
            return command;
        }
        let cgrun = match self.kind {
            EngineKind::RootlessPodman => self.path("cgrun"),
            _ => cgrun_program(),
        };
        let cgrun = format!("{}:/bin/cgrun:ro", cgrun.display());
        command.args(["run", "--rm", "--network", "none", "--name", name, "--volume", &cgrun]);
        command.args(options).arg(IMAGE).args(argv);
        command
    }

    /// What `runc spec` writes, with our command, and the capabilities that containerd gives.
    fn bundle(&self, name: &str, options: &[&str], argv: &[&str]) -> PathBuf {
        let bundle = self.path(name);
        std::fs::create_dir(&bundle).unwrap();
        let specified = output(Command::new("runc").args(["spec", "--bundle"]).arg(&bundle));
        assert!(specified.status.success(), "{}", text(&specified.stderr));
        let path = bundle.join("config.json");
        let mut spec: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        spec["root"] = json!({ "path": self.path("root"), "readonly": false });
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!(argv);
        let capabilities = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FSETID",
            "FOWNER",
            "MKNOD",
            "NET_RAW",
            "SETGID",
            "SETUID",
            "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
            "KILL",
            "AUDIT_WRITE",
        ];
        let added = options.iter().filter_map(|option| option.strip_prefix("--cap-add="));
        let names: Vec<_> = capabilities.into_iter().chain(added).map(|name| format!("CAP_{name}")).collect();
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = json!(names);
        }
        spec["linux"]["cgroupsPath"] = format!("/kubepods/{name}").into();
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        if !namespaces.iter().any(|it| it["type"] == "cgroup") {
            namespaces.push(json!({ "type": "cgroup" }));
        }
        let cgrun = json!({ "destination": "/bin/cgrun", "source": cgrun_program(), "type": "bind", "options": ["bind", "ro"] });
        spec["mounts"].as_array_mut().unwrap().push(cgrun);
        std::fs::write(&path, spec.to_string()).unwrap();
        bundle
    }

    /// Runs a command as the first process of a new container.
    pub(crate) fn run(&self, options: &[&str], argv: &[&str]) -> Output {
        output(&mut self.run_command(&new_name(), options, argv))
    }

    /// The same, without waiting.
    pub(crate) fn start_container(&self, options: &[&str], argv: &[&str]) -> Container<'_> {
        let name = new_name();
        let log = self.path(&format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let mut command = self.run_command(&name, options, argv);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Container { engine: self, client: command.spawn().unwrap(), name, log }
    }

    /// A container whose first process does nothing, and reaps nothing.
    pub(crate) fn idle(&self, options: &[&str]) -> Container<'_> {
        let container = self.start_container(options, &["tail", "-f", "/dev/null"]);
        until("the container runs", || container.exec(&["true"]).status.success());
        container
    }
}

impl Engine {
    pub(crate) fn end_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for Engine {
    /// The processes that the daemon started are killed with the cgroup of the host.
    fn drop(&mut self) {
        self.end_daemon();
    }
}

/// A running container.
pub(crate) struct Container<'a> {
    engine: &'a Engine,
    client: Child,
    name: String,
    log: PathBuf,
}

impl Container<'_> {
    fn exec_command(&self, argv: &[&str]) -> Command {
        let mut command = self.engine.command();
        command.arg("exec").arg(&self.name).args(argv);
        command
    }

    /// Runs a command beside the first process.
    pub(crate) fn exec(&self, argv: &[&str]) -> Output {
        output(&mut self.exec_command(argv))
    }

    /// The same, without waiting.
    pub(crate) fn exec_in_background(&self, argv: &[&str]) -> Child {
        let mut command = self.exec_command(argv);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Waits until its first process has exited, and returns the exit code and what was said.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let status = self.client.wait().unwrap();
        (status.code(), std::fs::read_to_string(&self.log).unwrap())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let mut command = self.engine.command();
        match self.engine.kind {
            EngineKind::Runc => command.args(["delete", "--force", &self.name]),
            EngineKind::Docker => command.args(["rm", "--force", &self.name]),
            // Otherwise it asks the first process, which ignores that, and waits for 10 s.
            EngineKind::Podman | EngineKind::RootlessPodman => {
                command.args(["rm", "--force", "--time", "0", &self.name])
            }
        };
        let _ = output(&mut command);
        let _ = self.client.wait();
    }
}

fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("cgtest-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
