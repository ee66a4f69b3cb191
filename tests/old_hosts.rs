//! Kernels and hosts that lack something: cgrun does without it, or says in words what is missing.

use serde_json::Value;

use crate::harness::{Finished, Session};

/// A debug build acts as if the kernel were older than Linux 5.14.
fn without_cgroup_kill(session: Session) -> Session {
    session.env("CGRUN_FAILPOINT", "absent:cgroup.kill")
}

fn json(run: &Finished) -> Value {
    run.assert_code(0).assert_silent();
    serde_json::from_str(&run.stdout()).unwrap()
}

#[test]
fn doctor_does_not_promise_cgroup_kill_before_linux_5_14() {
    let said = json(&without_cgroup_kill(Session::new().options(["doctor", "--json"])).run());
    assert_eq!((&said["containment"], &said["cgroup"]["cgroup_kill"]), (&"cgroup".into(), &false.into()));
    assert!(said["guarantee"].as_str().unwrap().contains("killed one by one"), "{said}");
    let run = without_cgroup_kill(Session::again().options(["doctor"])).run();
    assert!(
        run.stdout().starts_with("containment   cgroup: the processes of the cgroup are killed"),
        "{}",
        run.stdout()
    );
}

/// Twenty chains in which each process lives for a millisecond and is followed by its child.
#[test]
fn processes_that_keep_forking_are_killed_without_cgroup_kill() {
    let chains = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
        for _ in range(20):\n  if os.fork() == 0:\n    while True:\n      time.sleep(0.001)\n      \
        if os.fork() != 0: os._exit(0)\nopen('up', 'w').close()\nsignal.pause()\n";
    let script = "python3 chains.py & until [ -e up ]; do sleep 0.01; done; sleep 0.1";
    let session = without_cgroup_kill(Session::new().file("chains.py", chains));
    let run = session.options(["--grace", "100ms", "--on-leak", "fail"]).sh(script).run();
    run.assert_code(121).assert_said("found and stopped").assert_nothing_left();
}

#[test]
fn a_session_with_services_is_clean_without_cgroup_kill() {
    let config = "[services.web]\ncommand = ['sh', '-c', \"trap '' TERM; setsid sleep 900; sleep 901\"]\ngrace = '100ms'\n";
    let run = without_cgroup_kill(Session::new().config(config)).sh("setsid -f sleep 902").run();
    run.assert_code(0).assert_said("found and stopped").assert_nothing_left();
}

#[test]
fn wsl_1_is_named() {
    let version =
        "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com) (gcc version 5.4.0 (GCC) )\n";
    let script = "mount --make-rprivate / && umount -a -l -t cgroup2 && mount --bind version /proc/version && \
                  exec python3 \"$HELPERS/launch.py\" without-own-mount \"$CGRUN\" \"$@\"";
    let session = Session::new().file("version", version).options(["doctor", "--json"]);
    let said = json(&session.start_through(&["unshare", "-m", "sh", "-c", script, "sh"]).finish());
    let advice = said["unavailable"][0]["remedy"].as_str().unwrap();
    assert!(advice.starts_with("WSL 1 has no Linux kernel and therefore no cgroups; convert"), "{said}");
    assert_eq!(said["next_step"], advice);
}

#[test]
fn a_kernel_without_pidfds_is_refused_in_words() {
    let session = Session::new().command(["touch", "ran"]);
    let run = session.start_launched(&["without-pidfds"]).finish();
    run.assert_code(125)
        .assert_said("cgrun needs Linux 5.4 or newer, and this is Linux ")
        .assert_nothing_left();
    assert!(!run.path().join("ran").exists());
    let session = Session::again().options(["doctor", "--json"]);
    let said = json(&session.start_launched(&["without-pidfds"]).finish());
    assert!(said["next_step"].as_str().unwrap().starts_with("cgrun needs Linux 5.4 or newer"), "{said}");
}

#[test]
fn a_program_that_sudo_hides_is_explained() {
    let run = Session::new().env("SUDO_UID", "1000").command(["no-such-program"]).run();
    run.assert_code(127).assert_said(
        "no-such-program: command not found in PATH, which sudo replaces; keep yours: sudo env PATH=\"$PATH\" cgrun ...",
    );
}
