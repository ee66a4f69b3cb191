//! A session that starts containers itself, by podman without a daemon. What podman knows of them afterwards has to be right.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::engine::{Engine, EngineKind, IMAGE};
use super::host::{output, shell, text};
use crate::harness::until;

/// What podman says of a container that it was about to start again.
const RESTARTS: &str = "inner: ";

/// podman, and where its conmon runs.
pub(super) struct Nested {
    pub engine: Engine,
    option: String,
}

impl Nested {
    /// conmon stays in the cgroup of the session.
    pub(super) fn new(kind: EngineKind) -> Self {
        Self { engine: Engine::start(kind), option: String::new() }
    }

    /// conmon moves to a cgroup of its own, as on a host with systemd.
    pub(super) fn with_conmon_elsewhere(kind: EngineKind) -> Self {
        let engine = Engine::start(kind);
        let option = engine.conmon_elsewhere();
        Self { engine, option }
    }

    pub(super) fn podman(&self, arguments: &str) -> String {
        self.engine.in_a_shell(&format!("{} {arguments}", self.option))
    }

    /// The words that run a container whose first process ignores SIGTERM, like any without a handler.
    pub(super) fn run(&self, options: &str) -> String {
        let marker = self.engine.host.marker();
        self.podman(&format!("run --network none --name inner {options} {IMAGE} sleep {marker}"))
    }

    fn home(&self) -> PathBuf {
        self.engine.cgrun().get_current_dir().unwrap().to_path_buf()
    }

    /// Runs a session that starts a container and ends at once.
    fn session(&self, options: &[&str], script: &str) -> (Option<i32>, String) {
        let done = output(self.engine.cgrun().args(options).args(["sh", "-c", script]));
        (done.status.code(), text(&done.stderr))
    }

    /// Starts a session that starts a container and goes on. Returns once the container runs.
    pub(super) fn start(&self, script: &str) -> Child {
        let script = format!("{script}; touch up; exec tail -f /dev/null");
        let mut command = self.engine.cgrun();
        let child = command.args(["sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let up = self.home().join("up");
        until("the container runs", || up.exists());
        std::fs::remove_file(up).unwrap();
        child.unwrap()
    }

    /// Kills cgrun, and waits until its guardian has ended the session.
    pub(super) fn kill_supervisor(&self, mut supervisor: Child) {
        self.until_guardian_knows_conmon();
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        self.until_no_cgrun();
    }

    /// Kills cgrun and its guardian.
    pub(super) fn kill_both(&self, mut supervisor: Child) {
        self.until_guardian_knows_conmon();
        let both = self.engine.host.named("cgrun");
        assert_eq!(both.len(), 2, "{both:?}");
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            both.iter().for_each(|pid| kill(Pid::from_raw(*pid), signal).unwrap());
        }
        supervisor.wait().unwrap();
        self.until_no_cgrun();
    }

    pub(super) fn sweep(&self) {
        let swept = output(self.engine.cgrun().arg("sweep"));
        assert_eq!(swept.status.code(), Some(0), "{}", text(&swept.stderr));
    }

    /// The guardian learns it within half a second.
    fn until_guardian_knows_conmon(&self) {
        if self.option.is_empty() {
            return;
        }
        let names = [c"trusted.cgrun.outside", c"user.cgrun.outside"];
        let noted = |cgroup: &Path| {
            let path = CString::new(cgroup.as_os_str().as_encoded_bytes()).unwrap();
            let length = |name| rustix::fs::getxattr(&path, name, &mut [0u8; 256][..]).unwrap_or_default();
            names.into_iter().any(|name| length(name) > 0)
        };
        let cgroups = || std::fs::read_dir("/sys/fs/cgroup/test").unwrap().flatten().map(|it| it.path());
        until("the guardian knows conmon", || cgroups().any(|it| noted(&it)));
    }

    /// Nothing of the container is alive, podman knows that, and can remove it at the first attempt.
    fn assert_consistent(&self, expected: &str) {
        let host = &self.engine.host;
        assert_eq!((host.marked(), host.named("conmon")), (vec![], vec![]));
        let listed = self.engine.list();
        assert!(listed.starts_with(expected) && listed.lines().count() <= 1, "{listed}");
        if !expected.is_empty() {
            self.shell(&self.podman("rm inner"));
        }
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
        let left: Vec<_> = mounts.lines().filter(|line| line.contains("overlay-containers")).collect();
        assert!(left.is_empty(), "{left:?}");
        // The name is free.
        self.shell(&self.podman(&format!("run --rm --network none --name inner {IMAGE} true")));
    }

    /// As the user of the engine.
    pub(super) fn shell(&self, script: &str) {
        let of_cgrun = self.engine.cgrun();
        let words: Vec<_> = std::iter::once(of_cgrun.get_program()).chain(of_cgrun.get_args()).collect();
        let mut command = Command::new(if words.len() > 1 { words[0] } else { "env".as_ref() });
        command.args(words.get(1..words.len() - 1).unwrap_or_default()).args(["sh", "-c", script]);
        command.current_dir(self.home());
        command.envs(of_cgrun.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let done = output(&mut command);
        assert!(done.status.success(), "{script}: {}", text(&done.stderr));
    }

    fn until_no_cgrun(&self) {
        until("no cgrun is left", || self.engine.host.named("cgrun").is_empty());
    }
}

/// Starts a container in a session whose command then ends.
fn leaves_podman_consistent(nested: &Nested, options: &str) {
    let list = nested.podman("ps --format {{.Status}}");
    let script = format!("{} & until {list} | grep -q Up; do sleep 0.05; done", nested.run(options));
    let (code, said) = nested.session(&["-v"], &script);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("conmon"), "{said}");
    nested.assert_consistent(match options {
        _ if options.contains("--rm") => "",
        _ if options.contains("restart") => RESTARTS,
        _ => "inner: Exited",
    });
}

/// Kills cgrun, so that its guardian ends the session.
fn is_consistent_after_a_kill(nested: &Nested, options: &str) {
    let supervisor = nested.start(&nested.run(&format!("--detach {options}")));
    nested.kill_supervisor(supervisor);
    let expected = if options.contains("restart") { RESTARTS } else { "inner: Exited (137)" };
    nested.assert_consistent(expected);
}

/// Kills cgrun and its guardian, and sweeps.
fn is_consistent_after_a_sweep(nested: &Nested, options: &str) {
    let supervisor = nested.start(&nested.run(&format!("--detach {options}")));
    nested.kill_both(supervisor);
    assert_eq!(nested.engine.host.marked().len(), 1);
    nested.sweep();
    let expected = if options.contains("restart") { RESTARTS } else { "inner: Exited (137)" };
    nested.assert_consistent(expected);
}

/// The second Ctrl-C ends the grace.
fn is_consistent_after_two_interrupts(nested: &Nested, options: &str) {
    // It has a handler for SIGTERM, and does not exit.
    let sleep = format!("sleep {}", nested.engine.host.marker());
    let run = nested.run(&format!("--detach {options}"));
    let run = run.replace(&sleep, &format!("sh -c 'trap : TERM; while :; do {sleep}; done'"));
    let mut supervisor = nested.start(&run);
    let pid = Pid::from_raw(supervisor.id() as i32);
    let command = || nested.engine.host.named("tail");
    until("the command runs", || command().len() == 1);
    kill(pid, Signal::SIGINT).unwrap();
    until("the first one was passed on", || command().is_empty());
    // Twice within 20 ms would be one request.
    let first = Instant::now();
    until("another one is a second one", || first.elapsed() > Duration::from_millis(50));
    let _ = kill(pid, Signal::SIGINT);
    supervisor.wait().unwrap();
    nested.assert_consistent("inner: Exited (137)");
}

/// The pause process that podman starts in the session, and that no test could end, is no leak.
#[test]
fn the_pause_process_of_podman_without_root_is_not_a_leak() {
    let nested = Nested::new(EngineKind::RootlessPodman);
    let file = "/run/user/2345/libpod/tmp/pause.pid";
    let pause: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pause), Signal::SIGKILL).unwrap();
    let run = nested.podman(&format!("run --rm --network none {IMAGE} true"));
    let (code, said) = nested.session(&["--on-leak", "fail", "-v"], &run);
    assert_eq!(code, Some(0), "{said}");
    // It is ended all the same.
    let again: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    assert!(again != pause && !Path::new(&format!("/proc/{again}")).exists(), "{said}");
    nested.assert_consistent("");
}

/// Files with which `podman kube play` runs a pod of two containers here, where a pod can have no cgroup of its own, and the
/// words that run it.
fn pod(nested: &Nested) -> String {
    let (home, marker) = (nested.home(), nested.engine.host.marker());
    let write = |name: &str, text: String| std::fs::write(home.join(name), text).unwrap();
    let container = |name: &str| {
        format!(
            "  - {{name: {name}, image: localhost/{IMAGE}, imagePullPolicy: Never, command: [/bin/sleep, '{marker}']}}\n"
        )
    };
    write(
        "pod.yaml",
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: shop}}\nspec:\n  hostNetwork: true\n  containers:\n{}{}",
            container("web"),
            container("db")
        ),
    );
    // podman believes only crun to be able to do without cgroups, and gives it an option that runc does not have.
    let runtime = nested.engine.host.path().join("runc_here.py");
    let runs = format!("exec {} \"${{words[@]}}\"", runtime.display());
    let filters = "words=()\nwhile [ $# != 0 ]; do\n  case $1 in --cgroup-manager) shift;; --cgroup-manager=*) ;; \
                   *) words+=(\"$1\");; esac\n  shift\ndone\n";
    write("crun", format!("#!/bin/bash\n{filters}{runs}\n"));
    write(
        "containers.conf",
        format!(
            "[containers]\ncgroups = 'disabled'\n[engine]\ninfra_image = 'localhost/infra'\n\
             [engine.runtimes]\ncrun = ['{}/crun']\n",
            home.display()
        ),
    );
    shell(&format!("cd {} && chmod 755 crun && chmod 644 ../image.tar", home.display()));
    nested.shell(
        &nested.podman("import --change 'ENTRYPOINT [\"tail\",\"-f\",\"/dev/null\"]' ../image.tar infra"),
    );
    format!("CONTAINERS_CONF=$PWD/containers.conf {}", nested.podman("--runtime crun play kube pod.yaml"))
}

fn assert_pod_has_ended(nested: &Nested, play: &str) {
    let host = &nested.engine.host;
    assert_eq!((host.marked(), host.named("conmon")), (vec![], vec![]));
    let listed = nested.engine.list();
    assert_eq!(listed.lines().filter(|line| line.contains(": Exited (")).count(), 3, "{listed}");
    nested.shell(&play.replace("play kube", "play kube --down"));
    assert_eq!(nested.engine.list(), "");
}

#[test]
fn a_pod_of_podman_kube_play_ends_with_the_session() {
    let nested = Nested::new(EngineKind::RootlessPodman);
    let play = pod(&nested);
    let (code, said) = nested.session(&["-v"], &play);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("leaked 3 processes"), "{said}");
    assert_pod_has_ended(&nested, &play);
}

#[test]
fn a_pod_of_podman_kube_play_ends_if_cgrun_is_killed() {
    let nested = Nested::new(EngineKind::RootlessPodman);
    let play = pod(&nested);
    let mut supervisor = nested.start(&play);
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    nested.until_no_cgrun();
    assert_pod_has_ended(&nested, &play);
}

macro_rules! each {
    ($kind:ident: $($test:ident: $scenario:ident($place:ident, $options:expr);)*) => {
        $(#[test] fn $test() { super::$scenario(&super::Nested::$place(super::EngineKind::$kind), $options) })*
    };
}

mod with_root {
    each! { Podman:
        podman_run: leaves_podman_consistent(new, "--rm");
        a_detached_podman_run: leaves_podman_consistent(new, "--rm --detach");
        a_container_that_is_to_stay: leaves_podman_consistent(new, "--detach");
        conmon_elsewhere: leaves_podman_consistent(with_conmon_elsewhere, "--detach");
        a_container_without_a_pid_namespace: leaves_podman_consistent(new, "--detach --pid host");
        a_container_that_is_always_restarted: leaves_podman_consistent(new, "--detach --restart always");
        cgrun_is_killed: is_consistent_after_a_kill(new, "");
        cgrun_is_killed_and_conmon_elsewhere: is_consistent_after_a_kill(with_conmon_elsewhere, "");
        cgrun_is_killed_and_no_pid_namespace: is_consistent_after_a_kill(new, "--pid host");
        cgrun_is_killed_and_the_container_restarts: is_consistent_after_a_kill(with_conmon_elsewhere, "--restart always");
        two_interrupts: is_consistent_after_two_interrupts(new, "");
        two_interrupts_and_conmon_elsewhere: is_consistent_after_two_interrupts(with_conmon_elsewhere, "");
        both_are_killed: is_consistent_after_a_sweep(new, "");
        both_are_killed_and_conmon_elsewhere: is_consistent_after_a_sweep(with_conmon_elsewhere, "");
        both_are_killed_and_the_container_restarts: is_consistent_after_a_sweep(with_conmon_elsewhere, "--restart always");
    }
}

mod without_root {
    each! { RootlessPodman:
        podman_run: leaves_podman_consistent(new, "--rm");
        a_detached_podman_run: leaves_podman_consistent(new, "--rm --detach");
        conmon_elsewhere: leaves_podman_consistent(with_conmon_elsewhere, "--detach");
        cgrun_is_killed: is_consistent_after_a_kill(new, "");
        cgrun_is_killed_and_conmon_elsewhere: is_consistent_after_a_kill(with_conmon_elsewhere, "");
        two_interrupts: is_consistent_after_two_interrupts(new, "");
        both_are_killed: is_consistent_after_a_sweep(new, "");
    }
}
