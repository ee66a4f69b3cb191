//! Tests which controllers a place grants, and that the cgroups around a session are restored.

use std::collections::BTreeSet;

use regex::Regex;

use super::{IN_SESSION, LIMIT_OF_EACH_CONTROLLER};
use crate::harness::{Place, Session};

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_controller_that_was_not_delegated_is_refused() {
    let session = |config: &str| Session::at(Place::User).config(config);
    let run = session("[limits]\ncpuset = '0'\n").command(["true"]).run();
    run.assert_code(125).assert_nothing_left();
    run.assert_said(
        "cannot limit cpuset: the cpuset controller is not delegated to /sys/fs/cgroup/user.slice",
    );
    run.assert_said("Delegate=memory pids cpu cpuset");
    // With best effort, the limits that can be set are set.
    let session = session("[limits]\ncpuset = '0'\npids = 77\nbest_effort = true\n");
    let run = session.sh(&format!("{IN_SESSION}cat pids.max")).run();
    run.assert_code(0).assert_said("running without a limit on cpuset: ").assert_nothing_left();
    assert_eq!(run.stdout(), "77\n");
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn doctor_shows_which_limits_are_available() {
    let mut counts = Vec::new();
    for place in Place::ALL {
        let doctor = Session::at(place).command(["true"]).run().cgrun(&["doctor", "--json"]).json();
        let list = |key: &str| doctor["cgroup"][key].as_array().unwrap().clone();
        let refused = list("unavailable_limits");
        let available = list("available_limits");
        let names = refused.iter().map(|it| &it["controller"]).chain(&available);
        let names: Vec<_> = names.map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names.len(), LIMIT_OF_EACH_CONTROLLER.len(), "{doctor}");
        assert_eq!(
            BTreeSet::from_iter(names),
            BTreeSet::from_iter(LIMIT_OF_EACH_CONTROLLER.map(|(name, _)| name)),
            "{doctor}"
        );
        for (controller, key) in LIMIT_OF_EACH_CONTROLLER {
            let run = Session::at(place).config(&format!("[limits]\n{key}\n")).command(["true"]).run();
            let Some(refusal) = refused.iter().find(|it| it["controller"] == controller) else {
                run.assert_code(0).assert_nothing_left();
                continue;
            };
            run.assert_code(125).assert_nothing_left().assert_said(refusal["remedy"].as_str().unwrap());
            run.assert_matches(&without_scope(refusal["reason"].as_str().unwrap()));
        }
        counts.push(refused.len());
    }
    assert!(counts[0] == 0 && counts[1] > 0, "{counts:?}");
    // None if another process is in the cgroup that was delegated to us.
    let run = Session::at(Place::Delegated).start_through(&["sh", "-c", "$CGRUN doctor; true"]).finish();
    run.assert_code(0).assert_nothing_left();
    let none =
        r"(?m)^limits +none\n +not available for memory pids cpu cpuset io: .* has processes of its own";
    assert!(Regex::new(none).unwrap().is_match(&run.stdout()), "{}", run.stdout());
}

/// A regular expression for a text in which the name of a scope differs each time.
fn without_scope(text: &str) -> String {
    let scope = Regex::new(r"cgrun\\-[^ /]*").unwrap();
    scope.replace_all(&regex::escape(text), "[^ ]*").into_owned()
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_cgroup_with_other_processes_is_left_alone() {
    for place in [Place::Delegated, Place::DelegatedToUser] {
        let script = "$CGRUN --pids 50 true; echo $?; \
             $CGRUN --pids 50 --limits-best-effort true; echo $?; $CGRUN true";
        let run = Session::at(place).start_through(&["sh", "-c", script]).finish();
        run.assert_code(0).assert_nothing_left();
        assert_eq!(run.stdout(), "125\n0\n", "{}", run.stderr());
        run.assert_matches(r"has processes of its own \(pid \d+, /usr/bin/sh -c ");
        run.assert_said("--scope -p Delegate=yes cgrun COMMAND")
            .assert_said("running without a limit on pids: ");
    }
    // The suggested remedy works.
    let remedy =
        ["systemd-run", "--quiet", "--scope", "-p", "Delegate=yes", "sh", "-c", "exec $CGRUN --pids 50 true"];
    Session::at(Place::Root).start_through(&remedy).finish().assert_code(0).assert_nothing_left();
}

/// systemd could not start anything more in a unit whose cgroup has controllers for its children.
#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn the_cgroup_of_our_unit_is_restored() {
    let script = "unit=/run/systemd/system/twice.service\n\
        trap 'rm $unit; systemctl daemon-reload' EXIT\n\
        look=\"/bin/sh -c 'cd /sys/fs/cgroup/system.slice/twice.service && cat cgroup.subtree_control && \
            ls -d */ >$PWD/found; exit 0'\"\n\
        printf '%s\\n' [Service] Type=oneshot Delegate=yes \
            \"ExecStart=$CGRUN --pids 50 --memory 64M true\" \"ExecStart=$look\" \
            \"ExecStart=$CGRUN --pids 50 true\" \"ExecStart=$look\" >$unit\n\
        systemctl daemon-reload && systemctl start twice";
    let run = Session::at(Place::Root).start_through(&["sh", "-c", script]).finish();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.read("found"), "");
}

/// Two of them do not pass controllers down yet, and the session's cgroup is created below the second one.
#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn the_cgroups_above_are_restored() {
    let script = "cd \"/sys/fs/cgroup$(sed s/^0::// /proc/self/cgroup)\" && mkdir -p a/b aside && \
             echo 0 >aside/cgroup.procs\n\
         within() {\n\
             sh -c \"echo 0 >a/b/cgroup.procs; $1\"; echo $?; cat cgroup.subtree_control a/cgroup.subtree_control\n\
         }\n\
         within 'exec $CGRUN --pids 50 true'\n\
         within '$CGRUN --pids 50 true; exit $?'\n\
         within 'exec $CGRUN --memory 64M true'\n";
    for place in [Place::Delegated, Place::DelegatedToUser] {
        let run = Session::at(place).start_through(&["sh", "-c", script]).finish();
        run.assert_code(0).assert_said("has processes of its own").assert_nothing_left();
        // The second time, a shell in the cgroup prevents it.
        assert_eq!(
            run.stdout().split_whitespace().collect::<Vec<_>>(),
            ["0", "125", "0"],
            "{}",
            run.stderr()
        );
    }
}
