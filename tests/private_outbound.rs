//! `net = "outbound"` and `forward`: what connects a private network to the outside.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal::{SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::signal::kill;
use rustix::process::Pid;

use crate::containments::Host;
use crate::fixtures::NOBODY;
use crate::harness::{Finished, Running, Session, Stranger, cgrun_program, is_listening, until};

const OUTBOUND: [&str; 2] = ["--private", "net=outbound"];
const FETCH: &str = "curl --silent --show-error --max-time 20";
const UNTIL_GO: &str = "touch running; until [ -e go ]; do sleep 0.02; done";
const SERVER: &str = "[services.backend]\nport = 8000\n\
    command = ['/usr/bin/python3', '{helpers}/server.py', '8000', '--name', 'backend']\n";
const FORWARD: &str = "[private]\nnet = true\nforward = ['8080:8000']\n";

everywhere!(
    an_address_outside_is_reached_by_both_protocols_and_by_name,
    a_port_of_the_host_leads_to_a_service,
    nothing_is_left_of_a_killed_session,
);

/// A world that this test's network is connected to, over the interface `v0`.
struct World(Child);

impl World {
    fn new() -> Self {
        Session::new();
        Self::connected()
    }

    /// Connects the network of this test.
    fn connected() -> Self {
        let helper = crate::harness::helpers().join("outside.py");
        let mut child = Command::new("unshare")
            .args(["--net", "--kill-child", "/usr/bin/python3"])
            .arg(helper)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (output, mut input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let world = Self(child);
        let mut said = BufReader::new(output).lines();
        assert_eq!(said.next().unwrap().unwrap(), "waiting");
        ip(&format!("link add v0 type veth peer name outside netns {}", world.0.id()));
        ip("address add 10.9.0.1/24 dev v0");
        ip("-6 address add fd09::1/64 dev v0 nodad");
        ip("link set v0 up");
        input.write_all(b"\n").unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        ip("route add default via 10.9.0.2");
        ip("-6 route add default via fd09::2");
        resolve_by("nameserver 10.9.0.2\n");
        // Until the link is up on both sides.
        until("the world is reached", || {
            let get =
                Command::new("curl").args(["--silent", "--max-time", "1", "http://10.9.0.2:8000"]).output();
            get.unwrap().status.success()
        });
        world
    }

    /// Ends, so that nothing that this test has started is alive except what the session left.
    fn leave(self, run: &Finished) {
        drop(self);
        run.assert_nothing_left();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

/// Gives this test its own /etc/resolv.conf, and a /dev/net/tun that is for everybody, as on most hosts.
fn resolve_by(text: &str) {
    let nothing: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
    nix::mount::mount(nothing, "/", nothing, flags, nothing).unwrap();
    let files = tempfile::tempdir().unwrap().keep();
    nix::mount::mount(Some("tmpfs"), &files, Some("tmpfs"), nix::mount::MsFlags::empty(), nothing).unwrap();
    let bind = |from: &Path, to: &str| {
        nix::mount::mount(Some(from), to, nothing, nix::mount::MsFlags::MS_BIND, nothing).unwrap();
    };
    let (conf, tun) = (files.join("resolv.conf"), files.join("tun"));
    std::fs::write(&conf, text).unwrap();
    std::fs::set_permissions(&conf, PermissionsExt::from_mode(0o644)).unwrap();
    bind(&conf, "/etc/resolv.conf");
    let device = nix::sys::stat::makedev(10, 200);
    let for_all = nix::sys::stat::Mode::from_bits_truncate(0o666);
    nix::sys::stat::mknod(&tun, nix::sys::stat::SFlag::S_IFCHR, for_all, device).unwrap();
    std::fs::set_permissions(&tun, PermissionsExt::from_mode(0o666)).unwrap();
    bind(&tun, "/dev/net/tun");
    nix::mount::umount2(&files, nix::mount::MntFlags::MNT_DETACH).unwrap();
    std::fs::remove_dir(&files).unwrap();
}

fn let_go(run: Running) -> Finished {
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish()
}

/// Over the port that is forwarded.
fn fetch_from_host() -> Output {
    let address = "http://127.0.0.1:8080";
    Command::new("curl").args(["--silent", "--max-time", "20", address]).output().unwrap()
}

fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|it| it.parse().unwrap()).collect()
}

fn name(pid: &i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// The processes beside cgrun: its guardian, and the keeper of pasta.
fn aides(run: &Running) -> Vec<i32> {
    children(run.pid().as_raw()).into_iter().filter(|pid| name(pid) == "cgrun\n").collect()
}

fn pastas(run: &Running) -> Vec<Pid> {
    let below = aides(run).into_iter().flat_map(children);
    below.filter(|pid| name(pid).starts_with("pas")).filter_map(Pid::from_raw).collect()
}

fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn fetch_all() -> String {
    ["10.9.0.2", "[fd09::2]", "server.example"].map(|it| format!("{FETCH} -g http://{it}:8000")).join(" && ")
}

fn assert_fetched(run: &Finished) {
    run.assert_code(0);
    assert_eq!(run.stdout(), "outside\noutside\noutside\n");
}

fn an_address_outside_is_reached_by_both_protocols_and_by_name(host: Host) {
    let world = World::new();
    let run = host.run(Session::again().options(OUTBOUND).sh(&fetch_all()));
    assert_fetched(&run);
    world.leave(&run);
}

fn a_port_of_the_host_leads_to_a_service(host: Host) {
    let world = World::new();
    let config = format!("{FORWARD}{SERVER}");
    let run = host.start(Session::again().config(&config).sh(UNTIL_GO));
    run.until_file("running");
    let got = fetch_from_host();
    assert!(got.status.success() && !is_listening(8000), "{got:?}");
    let run = let_go(run);
    run.assert_code(0);
    // At the moment when cgrun exits.
    assert!(!is_listening(8080));
    world.leave(&run);
}

fn nothing_is_left_of_a_killed_session(host: Host) {
    let world = World::new();
    let run = host.start(Session::again().options(OUTBOUND).sh(UNTIL_GO));
    run.until_file("running");
    let pastas = pastas(&run);
    assert_eq!(pastas.len(), 1);
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL);
    until("pasta is gone", || !is_alive(pastas[0]));
    world.leave(&run);
}

#[test]
fn the_kernel_ends_pasta_if_cgrun_its_guardian_and_the_keeper_are_killed() {
    let world = World::new();
    let run = Session::again().options(OUTBOUND).sh(UNTIL_GO).start();
    run.until_file("running");
    let pasta = pastas(&run)[0];
    let aides = aides(&run);
    assert_eq!(aides.len(), 2);
    for signal in [SIGSTOP, SIGKILL] {
        run.signal(signal);
        aides.iter().for_each(|&pid| kill(nix::unistd::Pid::from_raw(pid), signal).unwrap());
    }
    until("pasta is gone", || !is_alive(pasta));
    let run = run.finish();
    run.assert_signal(SIGKILL);
    run.cgrun(&["sweep"]).assert_said("ended session");
    world.leave(&run);
}

#[test]
fn an_ordinary_user_has_both() {
    let _world = World::new();
    let config = format!("[private]\nnet = 'outbound'\nforward = ['8080:8000']\n{SERVER}");
    for how in ["unprivileged", "unprivileged-without-cgroups"] {
        let script = format!("{} && {UNTIL_GO}", fetch_all());
        let run = Session::again().config(&config).sh(&script).start_launched(&[how]);
        run.until_file("running");
        assert!(fetch_from_host().status.success());
        assert_fetched(&let_go(run));
        assert!(!is_listening(8080));
    }
}

#[test]
fn a_user_that_root_chooses_has_it() {
    let world = World::new();
    let session = Session::again().options(OUTBOUND).options(["--user", "nobody"]);
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let run = session.sh(&fetch_all()).run();
    assert_fetched(&run);
    world.leave(&run);
}

#[test]
fn everything_else_can_be_private_too() {
    let world = World::new();
    let run = Session::again().options(["--private", "all,net=outbound"]).sh(&fetch_all()).run();
    assert_fetched(&run);
    world.leave(&run);
}

#[test]
fn what_the_host_listens_on_is_out_of_reach() {
    let _world = World::new();
    let elsewhere = Session::again();
    let _stranger = Stranger::serve(elsewhere.path(), 8001, &[]);
    let script = format!(
        "{FETCH} http://10.9.0.2:8000; for at in 127.0.0.1 10.9.0.1 10.9.0.2; do {FETCH} --max-time 2 http://$at:8001 && echo reached; done; true"
    );
    let run = Session::again().options(OUTBOUND).sh(&script).run();
    run.assert_code(0);
    assert_eq!(run.stdout(), "outside\n");
}

#[test]
fn nothing_is_started_or_left_where_there_can_be_no_namespace() {
    let _world = World::new();
    let cgrun = cgrun_program();
    let session = Session::again().options(OUTBOUND).command(["touch", "ran"]);
    let run = session.start_launched(&["without-any-namespace", cgrun.to_str().unwrap()]).finish();
    run.assert_code(125).assert_said("cannot create and enter its network: ");
    assert!(!run.path().join("ran").exists() && run.members().is_empty());
}

/// As systemd-resolved's server is.
#[test]
fn a_server_for_names_on_the_loopback_of_the_host_is_reached() {
    let _world = World::new();
    let elsewhere = Session::again();
    let relay = "import socket\nhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        here.bind(('127.0.0.53', 53))\nopen('ready', 'w')\nwhile True:\n    \
        question, asker = here.recvfrom(512)\n    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    \
        there.sendto(question, ('10.9.0.2', 53))\n    here.sendto(there.recv(512), asker)\n";
    let mut relay =
        Command::new("python3").args(["-c", relay]).current_dir(elsewhere.path()).spawn().unwrap();
    until("the relay is ready", || elsewhere.path().join("ready").exists());
    resolve_by("# a comment\noptions edns0\nnameserver 127.0.0.53\n");
    for private in ["net=outbound", "all,net=outbound"] {
        let session = Session::again().options(["--private", private]).sh(&fetch_all());
        assert_fetched(&session.start_launched(&["unprivileged"]).finish());
        let run = Session::again().options(["--private", private]).command(["cat", "/etc/resolv.conf"]).run();
        assert_eq!(run.stdout(), "# a comment\noptions edns0\nnameserver 169.254.1.1\n");
    }
    let seen = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    assert!(seen.ends_with("nameserver 127.0.0.53\n"), "the host sees {seen}");
    relay.kill().unwrap();
    relay.wait().unwrap();
}

#[test]
fn each_shard_has_a_way_out() {
    let world = World::new();
    let session = Session::again().options(["--shards", "2"]).config("[private]\nnet = 'outbound'\n");
    let run = session.sh(&format!("{FETCH} http://10.9.0.2:8000")).run();
    run.assert_code(0);
    assert_eq!(run.stdout().matches("outside").count(), 2, "{}", run.stdout());
    world.leave(&run);
}

#[test]
fn an_option_without_a_network_needs_no_forward() {
    let run = Session::new().config(FORWARD).options(["--private", "ipc"]).command(["true"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
}

#[test]
fn pasta_gets_none_of_our_variables() {
    let _world = World::new();
    let run = Session::again().options(OUTBOUND).env("SECRET", "token").sh(UNTIL_GO).start();
    let pastas = pastas(run.until_file("running"));
    for pid in [pastas[0].as_raw_nonzero().get()].into_iter().chain(aides(&run)) {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environ).contains("SECRET"), "{pid}");
    }
    let_go(run).assert_code(0);
}

/// A session's user could have put it there.
#[test]
fn root_runs_no_pasta_that_another_user_can_replace() {
    let _world = World::new();
    let session = Session::again().options(OUTBOUND);
    let bin = session.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("pasta"), "#!/bin/sh\ntouch /tmp/no; exit 3\n").unwrap();
    std::fs::set_permissions(bin.join("pasta"), PermissionsExt::from_mode(0o755)).unwrap();
    chown(&bin, Some(NOBODY), Some(NOBODY)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let run = session.env("PATH", path).sh(&format!("{FETCH} http://10.9.0.2:8000")).run();
    run.assert_code(0);
    assert_eq!(run.stdout(), "outside\n");
}

#[test]
fn a_pasta_that_dies_is_told() {
    let world = World::new();
    let run = Session::again().options(OUTBOUND).sh(UNTIL_GO).start();
    run.until_file("running");
    let pasta = pastas(&run)[0];
    rustix::process::kill_process(pasta, rustix::process::Signal::KILL).unwrap();
    until("pasta is gone", || !is_alive(pasta));
    let run = let_go(run);
    run.assert_code(0).assert_said("pasta exited while the session ran");
    world.leave(&run);
}

#[test]
fn a_signal_ends_it_as_any_other() {
    let world = World::new();
    let run = Session::again().options(OUTBOUND).sh(UNTIL_GO).start();
    let pastas = pastas(run.until_file("running"));
    run.signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM);
    assert!(!is_alive(pastas[0]));
    world.leave(&run);
}

#[test]
fn a_port_that_is_taken_on_the_host_is_told_with_its_holder() {
    let _world = World::new();
    let elsewhere = Session::again();
    let _stranger = Stranger::serve(elsewhere.path(), 8080, &[]);
    let run = Session::again().config(FORWARD).command(["touch", "ran"]).run();
    run.assert_code(125)
        .assert_said("port 8080 is taken by pid")
        .assert_said("forward needs the port: end what uses it, or forward another port");
    assert!(!run.path().join("ran").exists());
}

#[test]
fn nothing_is_started_without_pasta() {
    let session = Session::new().options(OUTBOUND);
    let bin = session.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink("/usr/bin/touch", bin.join("touch")).unwrap();
    let run = session.env("PATH", &bin).command(["touch", "ran"]).run();
    run.assert_code(125).assert_said("need pasta, which is not in PATH; install it (package passt)");
    assert!(!run.path().join("ran").exists());
}

#[test]
fn nothing_is_started_where_there_is_no_way_out() {
    let run = Session::new().options(OUTBOUND).command(["touch", "ran"]).run();
    run.assert_code(125).assert_said("pasta cannot connect it: ").assert_nothing_left();
    assert!(!run.path().join("ran").exists());
}

#[test]
fn a_forward_that_leads_nowhere_is_refused() {
    Session::new();
    for (config, options, said) in [
        ("[private]\nforward = ['8080:8000']\n", &[][..], "set net = true in [private]"),
        (
            "[private]\nnet = true\nforward = ['8080:8000', '8080']\n",
            &[][..],
            "port 8080 of the host cannot lead to two ports",
        ),
        (FORWARD, &["--shards", "2"][..], "port 8080 of the host cannot lead into several sessions"),
        ("[private]\nnet = true\nforward = ['8080:0']\n", &[][..], "\"0\" is not a port"),
        ("[private]\nnet = 'out'\n", &[][..], "true, false, or \"outbound\""),
    ] {
        let run =
            Session::again().config(config).options(options.iter().copied()).command(["touch", "ran"]).run();
        run.assert_code(125).assert_said(said).assert_nothing_left();
        assert!(!run.path().join("ran").exists());
    }
}
