//! What runs pods here in place of a kubelet: podman, or runc with the settings that containerd gives it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use super::pod::{Pod, set_mode};
use super::runc;
use crate::engines::engine::{Engine, EngineKind};
use crate::engines::host::{EngineHost, output, shell, text};
use crate::harness::{cgrun_program, until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `podman kube play`, as a user to whom the cgroup was delegated.
    Podman,
    Runc,
}

pub(super) struct Node {
    pub kind: Kind,
    engine: Engine,
}

impl Node {
    pub(super) fn start(kind: Kind) -> Self {
        let engine = Engine::start(match kind {
            Kind::Podman => EngineKind::RootlessPodman,
            Kind::Runc => EngineKind::Runc,
        });
        let node = Self { kind, engine };
        let home = node.home();
        set_mode(home, 0o755);
        std::fs::create_dir(home.join("src")).unwrap();
        set_mode(&home.join("src"), 0o777);
        if kind == Kind::Podman {
            node.prepare_podman();
        } else {
            std::fs::copy(cgrun_program(), home.join("cgrun")).unwrap();
        }
        node
    }

    pub(super) fn host(&self) -> &EngineHost {
        &self.engine.host
    }

    pub(super) fn home(&self) -> &Path {
        self.engine.host.path()
    }

    /// No pod can have a cgroup of its own here, and podman believes only crun to be able to do without, and gives it an
    /// option that runc does not have.
    fn prepare_podman(&self) {
        let home = self.home().display();
        let filter = format!(
            "#!/bin/bash\nwords=()\nwhile [ $# != 0 ]; do\n  case $1 in --cgroup-manager) shift;; --cgroup-manager=*) ;; \
             *) words+=(\"$1\");; esac\n  shift\ndone\nexec {} \"${{words[@]}}\"\n",
            self.home().join("runc_here.py").display()
        );
        let config = format!(
            "[containers]\ncgroups = 'disabled'\n[engine]\ninfra_image = 'localhost/infra'\n[engine.runtimes]\n\
             crun = ['{home}/crun']\n"
        );
        std::fs::write(self.home().join("crun"), filter).unwrap();
        std::fs::write(self.home().join("containers.conf"), config).unwrap();
        shell(&format!("chmod 755 {home}/crun && chmod 644 {home}/image.tar"));
        let pause = "ENTRYPOINT [\"sh\",\"-c\",\"trap exit TERM; tail -f /dev/null & wait\"]";
        self.podman(&["import", "--change", pause, &format!("{home}/image.tar"), "infra"]);
    }

    fn engine_command(&self) -> Command {
        let mut command = self.engine.command();
        if self.kind == Kind::Podman {
            command.env("CONTAINERS_CONF", self.home().join("containers.conf")).args(["--runtime", "crun"]);
        }
        command
    }

    fn ask(&self, words: &[&str]) -> Output {
        output(self.engine_command().args(words))
    }

    fn podman(&self, words: &[&str]) -> String {
        let done = self.ask(words);
        assert!(done.status.success(), "{words:?}: {}", text(&done.stderr));
        text(&done.stdout)
    }

    /// Starts the pod's main container after its init containers.
    pub(super) fn play(&self, pod: &Pod) -> Played<'_> {
        let name = pod.name().to_string();
        if self.kind == Kind::Podman {
            let file = self.home().join(format!("{name}.json"));
            std::fs::write(&file, pod.value.to_string()).unwrap();
            self.podman(&["kube", "play", file.to_str().unwrap()]);
            let container = pod.value["spec"]["containers"][0]["name"].as_str().unwrap();
            let main = format!("{name}-{container}");
            return Played { node: self, name, main, client: None };
        }
        for (key, log) in [("initContainers", "init"), ("containers", "main")] {
            for container in pod.value["spec"].get(key).into_iter().flat_map(|it| it.as_array().unwrap()) {
                let id = format!("{name}-{log}");
                let bundle = runc::bundle(self.home(), &id, &pod.value, container);
                let mut command = self.engine_command();
                command.args(["run", "--bundle"]).arg(&bundle).arg(&id);
                let client = runc::spawn(command, &self.log_of(&id));
                if log == "main" {
                    return Played { node: self, name, main: id, client: Some(client) };
                }
                let done = client.wait_with_output().unwrap();
                assert!(done.status.success(), "{}", std::fs::read_to_string(self.log_of(&id)).unwrap());
            }
        }
        panic!("a pod without containers");
    }

    fn log_of(&self, id: &str) -> PathBuf {
        self.home().join(format!("{id}.log"))
    }

    /// Removes a pod, but not its volumes, so that it can be played again.
    fn remove(&self, played: &mut Played<'_>) {
        match &mut played.client {
            None => drop(self.ask(&["pod", "rm", "--force", "--time", "0", &played.name])),
            Some(client) => {
                let _ = self.ask(&["delete", "--force", &played.main]);
                let _ = client.kill();
                let _ = client.wait();
                shell(&format!("rm -rf {0}/{1}-init {0}/{1}-main", self.home().display(), played.name));
            }
        }
    }
}

/// A pod that runs.
pub(super) struct Played<'a> {
    node: &'a Node,
    name: String,
    /// Its main container.
    main: String,
    client: Option<Child>,
}

impl Played<'_> {
    /// As the kubelet does when the pod is deleted: SIGTERM, and SIGKILL later.
    pub(super) fn delete(&mut self, grace: Duration) {
        let seconds = grace.as_secs().to_string();
        let Some(client) = &mut self.client else {
            self.node.podman(&["stop", "--time", &seconds, &self.main]);
            return;
        };
        let begin = Instant::now();
        if !grace.is_zero() {
            let _ = self.node.ask(&["kill", &self.main, "TERM"]);
        }
        while client.try_wait().unwrap().is_none() {
            if begin.elapsed() >= grace {
                let _ = self.node.ask(&["kill", "--all", &self.main, "KILL"]);
                client.wait().unwrap();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a command beside the first process.
    pub(super) fn exec(&self, words: &[&str]) {
        let done = self.node.ask(&[&["exec", &self.main], words].concat());
        assert!(done.status.success(), "{words:?}: {}", text(&done.stderr));
    }

    /// Waits until the main container has exited.
    pub(super) fn exit_code(&mut self) -> i32 {
        match &mut self.client {
            None => self.node.podman(&["wait", &self.main]).trim().parse().unwrap(),
            Some(client) => client.wait().unwrap().code().unwrap(),
        }
    }

    /// What it has printed.
    pub(super) fn log(&self) -> String {
        match &self.client {
            None => {
                let done = self.node.ask(&["logs", &self.main]);
                text(&done.stdout) + &text(&done.stderr)
            }
            Some(_) => std::fs::read_to_string(self.node.log_of(&self.main)).unwrap(),
        }
    }

    /// Kills what watches the container: conmon or, of runc, the process that stands for containerd's shim.
    pub(super) fn kill_monitor(&mut self) {
        match &mut self.client {
            None => {
                let all = self.node.host().named("conmon");
                // That of the infra container is older.
                super::kill(*all.iter().max().unwrap());
            }
            Some(client) => {
                client.kill().unwrap();
                client.wait().unwrap();
            }
        }
    }

    /// The cgruns in the container, in the order in which they were started: the first process, if it is one, the
    /// supervisor and the guardian.
    pub(super) fn cgruns(&self, count: usize) -> Vec<i32> {
        let found = || self.node.host().cgruns();
        until(&format!("{count} cgruns run"), || found().len() == count);
        let mut found = found();
        found.sort_by_key(|pid| inner_pid(*pid));
        found
    }
}

/// The pid in the container.
fn inner_pid(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    pids.split_whitespace().next_back()?.parse().ok()
}

impl Drop for Played<'_> {
    fn drop(&mut self) {
        self.node.remove(self);
    }
}
