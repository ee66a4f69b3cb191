//! Munge, slurmctld and two slurmd, in namespaces below one cgroup of the test. They are in a PID namespace, so that
//! whatever they have started ends with the test, however that ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::engines::host::{EngineHost, output, shell, text};
use crate::harness::{cgrun_program, is_listening, until};

const CONTROLLER: &str = "slurmctld";
/// The first process of the namespace reaps orphans.
const INIT: &str = "touch ready; while :; do sleep 3600 & wait $!; done";
const NETWORK: &str = "ip link add slurm0 type veth peer name slurm1 && ip address add 10.77.0.1/24 dev slurm0 && \
                       ip link set slurm0 up && ip link set slurm1 up && mkdir /sys/fs/cgroup/system.slice";

pub(super) struct Cluster {
    init: Child,
    /// By name. Each dies with this test's thread.
    daemons: RefCell<HashMap<String, Child>>,
    host: EngineHost,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let host = EngineHost::enter();
        shell(NETWORK);
        let directory = host.path();
        std::fs::set_permissions(directory, PermissionsExt::from_mode(0o777)).unwrap();
        write_config(directory);
        let init = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--mount-proc",
            ])
            .args(["sh", "-c", INIT])
            .current_dir(directory)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Self { init, daemons: RefCell::default(), host };
        until("the namespace of the cluster is ready", || cluster.path().join("ready").exists());
        cluster.start_daemon("munged");
        until("munged listens", || Path::new("/run/munge/socket").exists());
        for name in [CONTROLLER, "n0", "n1"] {
            cluster.start_daemon(name);
        }
        cluster.until_idle();
        cluster
    }

    pub(super) fn path(&self) -> &Path {
        self.host.path()
    }

    /// Kills slurmctld, or the slurmd of a node, and starts it again.
    pub(super) fn kill_and_restart(&self, daemon: &str) {
        self.kill(daemon);
        self.start_daemon(daemon);
        until("the controller answers", || self.client(&["scontrol", "ping"]).status.success());
    }

    /// Kills it with SIGKILL.
    pub(super) fn kill(&self, daemon: &str) {
        let mut killed = self.daemons.borrow_mut().remove(daemon).unwrap();
        // nsenter; what it has started dies with it.
        killed.kill().unwrap();
        killed.wait().unwrap();
        until(&format!("{daemon} is dead"), || !is_listening(port(daemon)));
    }

    pub(super) fn start_daemon(&self, name: &str) {
        let directory = self.path().display();
        let words = match name {
            "munged" => "munged --foreground --force --key-file=/run/munge/key --pid-file=/run/munge/pid \
                         --log-file=/run/munge/log --seed-file=/run/munge/seed --socket=/run/munge/socket"
                .into(),
            CONTROLLER => "slurmctld -D".into(),
            node => format!("env LD_PRELOAD={directory}/unified.so slurmd -D -N {node}"),
        };
        let log = std::fs::File::create(self.path().join(format!("{name}.out"))).unwrap();
        let child = self
            .inside(&["setpriv", "--pdeathsig", "KILL"], words.split_whitespace())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.daemons.borrow_mut().insert(name.to_string(), child.unwrap());
    }

    /// Waits until both nodes take jobs.
    pub(super) fn until_idle(&self) {
        let states = || text(&self.client(&["sinfo", "-h", "-N", "-p", "night", "-o", "%T"]).stdout);
        until("both nodes are idle", || states() == "idle\nidle\n");
    }

    /// A client of Slurm's, or another program, as root.
    pub(super) fn client(&self, words: &[&str]) -> std::process::Output {
        output(&mut self.inside(words, []))
    }

    /// The same, which must succeed. Returns its standard output.
    pub(super) fn ask(&self, words: &[&str]) -> String {
        let done = self.client(words);
        assert!(done.status.success(), "{words:?}: {}{}", text(&done.stdout), text(&done.stderr));
        text(&done.stdout).trim().to_string()
    }

    fn inside<'a>(&self, launcher: &[&str], words: impl IntoIterator<Item = &'a str>) -> Command {
        let namespaces = format!("/proc/{}/ns", self.init.id());
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "nsenter"])
            .args([format!("--mount={namespaces}/mnt"), format!("--pid={namespaces}/pid_for_children")])
            .args([&format!("--wdns={}", self.path().display()), "--"])
            .args(launcher)
            .args(words)
            .env("SLURM_CONF", self.path().join("slurm.conf"))
            .env("PATH", format!("{}:{}", self.path().join("bin").display(), std::env::var("PATH").unwrap()))
            .env("XDG_STATE_HOME", self.path().join("records"))
            .env_remove("CGRUN_SESSION")
            .stdin(Stdio::null());
        command
    }

    /// What the daemons have logged, for a test that fails.
    pub(super) fn logs(&self) -> String {
        let files = ["munged.out", "slurmctld.out", "slurmctld.log", "slurmd-n0.log", "slurmd-n1.log"];
        let read = |name| std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
        files.map(|name| format!("{name}:\n{}", read(name))).join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        // unshare; the first process of the namespace dies with it, and everything in the namespace with that.
        let _ = self.init.kill();
        let _ = self.init.wait();
        for child in self.daemons.get_mut().values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn port(daemon: &str) -> u16 {
    match daemon {
        CONTROLLER => 6817,
        node => 17000 + node.strip_prefix('n').unwrap().parse::<u16>().unwrap(),
    }
}

/// A file of `docs/examples/fleet/slurm`.
pub(super) fn example(name: &str) -> String {
    let path = super::super::root().join("docs/examples/fleet/slurm").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn write_config(directory: &Path) {
    let path = |name: &str| -> PathBuf { directory.join(name) };
    let at = directory.to_str().unwrap();
    let own = super::super::root().join("tests/fleet/slurm");
    std::fs::create_dir(path("bin")).unwrap();
    std::fs::create_dir(path("state")).unwrap();
    std::fs::write(path("bin/cgrun"), "").unwrap();
    shell(&format!(
        "mount --bind {} {at}/bin/cgrun && mkdir /run/munge && \
         (umask 077 && head -c 128 /dev/urandom >/run/munge/key) && cc -shared -fPIC -o {at}/unified.so {}/unified.c",
        cgrun_program().display(),
        own.display(),
    ));
    let epilog = example("epilog.sh").replace(
        "\nexport PATH\n",
        &format!("\nPATH={at}/bin:$PATH XDG_STATE_HOME={at}/records\nexport PATH XDG_STATE_HOME\n"),
    );
    std::fs::write(path("epilog.sh"), epilog).unwrap();
    std::fs::set_permissions(path("epilog.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    let config = std::fs::read_to_string(own.join("slurm.conf")).unwrap();
    let config = config.replace("@DIRECTORY@", at).replace("@EPILOG@", &format!("{at}/epilog.sh"));
    std::fs::write(path("slurm.conf"), config).unwrap();
    std::fs::write(path("cgroup.conf"), "CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n").unwrap();
}
