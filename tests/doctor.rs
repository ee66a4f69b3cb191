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
    assert_eq!(said["private"], serde_json::json!({ "available": true, "reason": null, "pasta": true }));
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
fn says_why_no_session_can_be_private() {
    let (said, _) = doctor(&["without-any-namespace"]);
    assert_eq!(said["private"]["available"], false);
    let reason = said["private"]["reason"].as_str().unwrap();
    assert!(
        reason.ends_with(": the kernel refuses to create its namespaces: Operation not permitted"),
        "{reason}"
    );
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

/// One paste is enough for a bug report, and gives nothing away.
#[test]
fn the_text_is_complete_and_can_be_posted_in_public() {
    let session = Session::new().options(["doctor"]);
    let home = session.path().join("ann");
    std::fs::create_dir(&home).unwrap();
    let session = session.env("HOME", &home).env("XDG_STATE_HOME", "").env("SECRET", "xyzzy");
    let session = session.env("GITHUB_ACTIONS", "true");
    let run = session.start_through(&["sh", "-c", "ulimit -n 1000; exec \"$CGRUN\" \"$@\"", "sh"]).finish();
    run.assert_code(0).assert_silent();
    let said = run.stdout();
    let row = |name: &str| {
        let row = said.lines().find(|line| line.split("  ").next() == Some(name));
        row.unwrap_or_else(|| panic!("no row {name}\n{said}")).to_string()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        row("cgrun")
            .contains(&format!("{version}, dynamic, {}-linux-gnu, debug build", std::env::consts::ARCH))
    );
    let release = std::fs::read_to_string("/etc/os-release").unwrap();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap().trim_matches('"');
    assert!(
        row("host").contains(&format!("Linux {}, {}, {name}", kernel(), std::env::consts::ARCH)),
        "{said}"
    );
    assert!(row("CI").ends_with("GitHub Actions"), "{said}");
    assert!(row("ulimits").contains("files (-n) 1000"), "{said}");
    assert!(row("state in").ends_with("~/.local/state/cgrun"), "{said}");
    assert!(row("user").contains("root, "), "{said}");
    row("restrictions");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    for line in mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2")) {
        let shown: Vec<_> = line.split(' ').skip(1).take(3).collect();
        assert!(said.contains(&shown.join(" ")), "{line}\n{said}");
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for secret in ["xyzzy", "/ann", &host] {
        assert!(!said.contains(secret), "{secret:?}\n{said}");
    }
}

#[test]
fn json_gives_no_more_away_than_the_text() {
    for slash in ["", "/"] {
        for options in [&["doctor"][..], &["doctor", "--json"]] {
            let session = Session::new().options(options);
            let home = session.path().join("ann");
            std::fs::create_dir(&home).unwrap();
            let home = format!("{}{slash}", home.display());
            let run = session.env("HOME", home).env("XDG_STATE_HOME", "").run();
            let said = run.assert_code(0).stdout();
            assert!(said.contains("~/.local/state/cgrun") && !said.contains("/ann"), "{slash:?}\n{said}");
        }
    }
}

/// GitHub builds the form for a bug report from it.
#[test]
fn the_form_for_a_bug_report_asks_for_the_text() {
    let form =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.github/ISSUE_TEMPLATE/bug.yml"))
            .unwrap();
    let doctor = form.split("  - type: ").find(|part| part.contains("id: doctor\n")).unwrap();
    assert!(doctor.starts_with("textarea\n") && doctor.contains("required: true"), "{doctor}");
    assert!(doctor.contains("label: The output of `cgrun doctor`\n"), "{doctor}");
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

#[test]
fn says_why_there_is_no_container_engine_without_naming_hosts() {
    let run = Session::new().env("DOCKER_HOST", "tcp://build.example:2376").options(["doctor"]).run();
    run.assert_code(0).assert_silent();
    let row = "\nengine        none for --containers: DOCKER_HOST does not lead to a Unix socket\n";
    assert!(run.stdout().contains(row) && !run.stdout().contains("build.example"), "{}", run.stdout());
    let run = Session::again().options(["doctor", "--user", "nobody-of-this-name"]).run();
    run.assert_code(125).assert_said("there is no user \"nobody-of-this-name\"");
}
