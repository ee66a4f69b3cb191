//! `cgrun doctor` describes the host as it is.

use crate::harness::{Finished, Session};
use crate::limits::LIMIT_OF_EACH_CONTROLLER;

const CGRUN: &str = env!("CARGO_BIN_EXE_cgrun");

fn doctor(launcher: &[&str]) -> (serde_json::Value, Finished) {
    let session = Session::new().options(["doctor", "--json"]);
    let run = match launcher {
        [] => session.start().finish(),
        launcher => session.start_launched(&[launcher, &[CGRUN]].concat()).finish(),
    };
    run.assert_code(0).assert_silent().assert_nothing_left();
    (serde_json::from_str(&run.stdout()).unwrap(), run)
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_string()
}

#[test]
fn describes_a_host_with_cgroups() {
    let (said, _) = doctor(&[]);
    assert_eq!(said["schema_version"], 1);
    assert_eq!(said["containment"], "cgroup");
    assert_eq!(said["kernel"], kernel());
    assert_eq!(said["user"], "root");
    for found in ["cgroup_kill", "extended_attributes"] {
        assert_eq!(said["cgroup"][found], true, "{said}");
    }
    assert_eq!((&said["clone3"], &said["sock_diag"]), (&true.into(), &true.into()));
    assert_eq!(said["namespaces"], serde_json::json!({ "pid": true, "user": true }));
    assert!(said["capabilities"].as_array().unwrap().iter().any(|it| it == "CAP_SYS_ADMIN"));
    assert_eq!(said["unavailable"].as_array().unwrap().len(), 0, "{said}");
    assert_limits_are_as_reported(&said);
    assert!(said["next_step"].as_str().unwrap().contains("--user NAME"));
    assert!(
        std::path::Path::new(said["cgroup"]["mount_point"].as_str().unwrap()).join("cgroup.procs").exists()
    );
}

/// For each controller, a session that needs it either runs or is refused for the reported reason.
fn assert_limits_are_as_reported(said: &serde_json::Value) {
    let refused = said["cgroup"]["unavailable_limits"].as_array().unwrap();
    let limits = said["cgroup"]["available_limits"].as_array().unwrap();
    assert_eq!(refused.len() + limits.len(), 5, "{said}");
    for (controller, key) in LIMIT_OF_EACH_CONTROLLER {
        let run = Session::again().config(&format!("[limits]\n{key}\n")).command(["true"]).run();
        match refused.iter().find(|it| it["controller"] == controller) {
            Some(it) => {
                run.assert_code(125).assert_said(it["reason"].as_str().unwrap());
                run.assert_said(it["remedy"].as_str().unwrap())
            }
            None => run.assert_code(0),
        };
        run.assert_nothing_left();
    }
}

#[test]
fn describes_a_host_with_read_only_cgroups() {
    let (said, run) = doctor(&["with-read-only-cgroups"]);
    assert_eq!(said["containment"], "cgroup");
    assert_eq!(said["cgroup"]["session_parent_source"], "own-mount");
    assert_eq!(said["cgroup"]["session_parent"], said["cgroup"]["current"]);
    assert_eq!(said["unavailable"].as_array().unwrap().len(), 0, "{said}");
    drop(run);
}

#[test]
fn does_not_take_a_leftover_file_for_a_container() {
    // As in the image of a virtual machine that was made from a container.
    let script = "mkdir root && mount --rbind / root && mount -t tmpfs none root/run && touch root/run/.containerenv && \
                  exec chroot root \"$CGRUN\" \"$@\"";
    let session = Session::new().options(["doctor", "--json"]);
    let run = session.start_through(&["unshare", "-m", "sh", "-c", script, "sh"]).finish();
    run.assert_code(0);
    let said: serde_json::Value = serde_json::from_str(&run.stdout()).unwrap();
    assert_eq!(said["container"], serde_json::Value::Null, "{said}");
}

#[test]
fn recommends_what_makes_the_mount_writable() {
    let (said, _) = doctor(&["without-cgroups"]);
    assert_eq!(said["containment"], "pidns");
    let missing = &said["unavailable"][0];
    assert_eq!(missing["containment"], "cgroup");
    assert!(missing["reason"].as_str().unwrap().contains("Read-only file system"), "{said}");
    assert!(missing["remedy"].as_str().unwrap().contains("mount -o remount,bind,rw /"), "{said}");
    assert_eq!(said["next_step"], missing["remedy"]);
}

#[test]
fn describes_a_host_without_cgroups_or_namespaces() {
    let (said, _) = doctor(&["without-namespaces"]);
    assert_eq!(said["containment"], "tree");
    assert_eq!(said["namespaces"], serde_json::json!({ "pid": false, "user": false }));
    assert_eq!(said["clone3"], false);
    assert_eq!(said["unavailable"][1]["containment"], "pidns");
    assert!(said["unavailable"][1]["reason"].as_str().unwrap().contains("Operation not permitted"), "{said}");
}

#[test]
fn prints_text_for_people() {
    let run = Session::new().options(["doctor"]).run();
    run.assert_code(0).assert_silent();
    let said = run.stdout();
    assert!(said.starts_with("containment   cgroup: one write to cgroup.kill"), "{said}");
    assert!(said.lines().last().unwrap().starts_with("next step"), "{said}");
}

#[test]
fn runs_a_program_called_doctor_after_a_double_dash() {
    let run = Session::new().command(["--", "doctor"]).run();
    run.assert_code(127).assert_said("doctor: command not found");
    for mistyped in ["doctr", "dcotor", "doctors"] {
        let run = Session::again().command([mistyped]).run();
        run.assert_code(127).assert_said("did you mean: cgrun doctor?");
    }
}
