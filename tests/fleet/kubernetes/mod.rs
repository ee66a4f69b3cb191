//! Kubernetes: the manifests of the documentation, run by podman and by runc as the kubelet would run them.

mod deaths;
mod node;
mod pod;
mod runc;

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::engines::host::{output, text};
use crate::harness::until;
use node::{Kind, Node};
use pod::{Pod, manifests};

/// Long enough for everything that is asked to exit.
const GRACE: Duration = Duration::from_secs(30);

macro_rules! with {
    ($place:ident, $kind:ident: $($scenario:ident),* $(,)?) => {
        mod $place { $(#[test] fn $scenario() { super::$scenario(&super::Node::start(super::Kind::$kind)) })* }
    };
}

with! { podman, Podman:
    the_shards_of_a_job_become_one_report,
    a_restricted_pod_ends_its_leaks,
    a_deleted_pod_ends_in_time_and_reports,
    a_sidecar_is_not_part_of_the_session,
}

with! { like_the_kubelet, Runc:
    the_shards_of_a_job_become_one_report,
    a_restricted_pod_ends_its_leaks,
    a_deleted_pod_ends_in_time_and_reports,
    a_pod_without_enough_time_leaves_nothing_and_runs_again,
    a_killed_cgrun_is_reported_by_its_guardian,
    a_hook_before_the_end_is_not_part_of_the_session,
}

fn kill(pid: i32) {
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// The schemas of Kubernetes itself.
#[test]
fn the_manifests_are_valid() {
    let mut count = 0;
    for entry in std::fs::read_dir(manifests()).unwrap() {
        let mut command = Command::new(super::program("kubernetes-validate"));
        let done = output(command.args(["--strict"]).arg(entry.unwrap().path()));
        assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
        count += 1;
    }
    assert_eq!(count, 3);
}

/// The Pod Security Standard `restricted`, and more: the root file system is read-only.
#[test]
fn the_pods_are_restricted() {
    for manifest in ["job.yaml", "merge.yaml"] {
        let spec = &pod::of_job(manifest, 0)["spec"];
        let rights = &spec["securityContext"];
        assert_eq!(
            (&rights["runAsNonRoot"], &rights["seccompProfile"]["type"]),
            (&true.into(), &"RuntimeDefault".into())
        );
        for key in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(spec.get(key).is_none(), "{key}");
        }
        for volume in spec["volumes"].as_array().unwrap() {
            assert!(
                ["emptyDir", "persistentVolumeClaim"].iter().any(|it| volume.get(it).is_some()),
                "{volume}"
            );
        }
        for container in
            ["initContainers", "containers"].iter().filter_map(|it| spec[it].as_array()).flatten()
        {
            let expected = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] }
            });
            assert_eq!(container["securityContext"], expected, "{manifest}: {}", container["name"]);
        }
    }
}

/// Four test files, of which one leaks and one fails, and the pytest that runs them.
fn write_tests(node: &Node) {
    let src = node.home().join("src");
    std::fs::create_dir(src.join("tests")).unwrap();
    for (file, body) in [
        ("test_a.py", "pass"),
        ("test_b.py", "__import__('subprocess').Popen(['sleep', '900'])"),
        ("test_c.py", "assert False"),
        ("test_d.py", "pass"),
    ] {
        std::fs::write(src.join("tests").join(file), format!("def test_it():\n    {body}\n")).unwrap();
    }
    let packages = super::root().join("target/fleet/venv/lib");
    let python = std::fs::read_dir(packages).unwrap().next().unwrap().unwrap().path().join("site-packages");
    let site = src.join("site");
    std::fs::create_dir(&site).unwrap();
    for package in ["pytest", "_pytest", "py.py", "pluggy", "iniconfig", "packaging", "pygments"] {
        let done = output(Command::new("cp").arg("-r").arg(python.join(package)).arg(&site));
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    std::fs::create_dir(src.join("bin")).unwrap();
    let program = src.join("bin/pytest");
    std::fs::write(
        &program,
        "#!/bin/sh\nPYTHONPATH=/src/site exec python3 -B -m pytest -p no:cacheprovider \"$@\"\n",
    )
    .unwrap();
    pod::set_mode(&program, 0o755);
}

fn the_shards_of_a_job_become_one_report(node: &Node) {
    write_tests(node);
    let pods: Vec<_> = (0..4).map(|index| Pod::of("job.yaml", index, node.home())).collect();
    let mut played: Vec<_> = pods.iter().map(|pod| node.play(pod)).collect();
    let codes: Vec<_> = played.iter_mut().map(|it| (it.exit_code(), it.log())).collect();
    // awk counts from 1.
    for (index, (code, message)) in
        [(0, "clean: "), (0, "clean: "), (121, "clean now: "), (1, "clean: ")].iter().enumerate()
    {
        assert_eq!(codes[index].0, *code, "{index}: {}", codes[index].1);
        assert!(pods[index].message().starts_with(message), "{index}: {}", pods[index].message());
    }
    assert!(pods[2].message().ends_with("; leaked 1 process\n"), "{}", pods[2].message());
    drop(played);

    let merge = Pod::of("merge.yaml", 0, node.home());
    let mut played = node.play(&merge);
    assert_eq!(played.exit_code(), 121, "{}", played.log());
    assert!(played.log().contains("test_b.py::test_it"), "{}", played.log());
    let night: Value =
        serde_json::from_slice(&std::fs::read(merge.reports.join("night.json")).unwrap()).unwrap();
    assert_eq!(night["totals"]["sessions"], 4, "{night:#}");
    drop(played);

    // A shard that wrote no report is missed.
    std::fs::remove_file(merge.reports.join("0.json")).unwrap();
    std::fs::remove_file(merge.reports.join("2.json")).unwrap();
    let mut played = node.play(&merge);
    assert_eq!(played.exit_code(), 1, "{}", played.log());
    assert!(played.log().contains("/reports/0.json"), "{}", played.log());
}

fn a_restricted_pod_ends_its_leaks(node: &Node) {
    let script = "id -u; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x || echo read-only; \
        setsid env -i sleep 900 & (sleep 901 &); (setsid sh -c \"trap '' TERM; sleep 902\" &); exit 3";
    let pod = Pod::of("job.yaml", 0, node.home()).options(&["--grace=300ms", "-v"]).script(script);
    let mut played = node.play(&pod);
    assert_eq!(played.exit_code(), 3, "{}", played.log());
    let log = played.log();
    for line in ["1000\n", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n", "read-only\n"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
    let report = pod.report(0).unwrap();
    assert_eq!(
        (&report["containment"]["kind"], &report["leaked_process_count"]),
        (&"tree".into(), &4.into()),
        "{report:#}"
    );
    assert_eq!(report["outcome"]["verified_empty"], true, "{report:#}");
    assert!(pod.message().starts_with("clean now: the command ended; exit code 3;"), "{}", pod.message());
    assert!(
        pod.message().ends_with("contained by a process tree; leaked 4 processes\n"),
        "{}",
        pod.message()
    );
    assert!(is_empty_of_sleeps(node), "{log}");
}

fn is_empty_of_sleeps(node: &Node) -> bool {
    node.host().named("sleep").is_empty()
}

/// Runs a suite that ignores the signal.
fn a_deleted_pod_ends_in_time_and_reports(node: &Node) {
    let script = "trap '' TERM; touch /reports/running; while :; do sleep 1; done";
    let pod = Pod::of("job.yaml", 0, node.home())
        .without("--stop-within")
        .options(&["--stop-within=2s"])
        .script(script);
    let running = pod.reports.join("running");
    let mut played = node.play(&pod);
    until("the suite runs", || running.exists());
    played.delete(GRACE);
    assert_eq!(played.exit_code(), 143, "{}", played.log());
    let report = pod.report(0).unwrap();
    assert_eq!(
        (&report["outcome"]["signal"], &report["outcome"]["verified_empty"]),
        (&"SIGTERM".into(), &true.into())
    );
    assert!(report["session"]["duration_seconds"].as_f64().unwrap() < 20.0, "{report:#}");
    assert!(pod.message().contains("SIGTERM"), "{}", pod.message());
    assert!(is_empty_of_sleeps(node));
}

/// The second attempt gets the same volumes.
fn a_pod_without_enough_time_leaves_nothing_and_runs_again(node: &Node) {
    let script = "touch /tmp/of-the-first; trap '' TERM; touch /reports/running; sleep 900 & while :; do sleep 1; done";
    let pod = Pod::of("job.yaml", 0, node.home()).script(script);
    std::fs::write(pod.reports.join("0.json"), "of another night").unwrap();
    pod::set_mode(&pod.reports.join("0.json"), 0o666);
    let running = pod.reports.join("running");
    let mut played = node.play(&pod);
    until("the suite runs", || running.exists());
    played.delete(Duration::from_secs(1));
    assert_eq!(played.exit_code(), 137, "{}", played.log());
    until("the kernel has killed all of the container", || {
        is_empty_of_sleeps(node) && node.host().cgruns().is_empty()
    });
    // Kubernetes shows the log instead.
    assert_eq!(pod.message(), "");
    drop(played);

    let pod = Pod::of("job.yaml", 0, node.home()).script("ls /tmp/of-the-first");
    let mut played = node.play(&pod);
    assert_eq!(played.exit_code(), 0, "{}", played.log());
    assert_eq!(pod.report(0).unwrap()["outcome"]["clean"], true);
    let names =
        std::fs::read_dir(&pod.reports).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    // A draft of the first attempt stays, unless the second cgrun has the same pid.
    let mut names: Vec<_> = names.filter(|name| !name.starts_with(".0.json.cgrun-")).collect();
    names.sort();
    assert_eq!(names, ["0.json", "running"]);
}

/// As the kernel does if it runs out of memory, and `singleProcessOOMKill` is set.
fn a_killed_cgrun_is_reported_by_its_guardian(node: &Node) {
    let pod = Pod::of("job.yaml", 0, node.home())
        .script("touch /reports/running; setsid env -i sleep 900 & exec sleep 901");
    let running = pod.reports.join("running");
    let mut played = node.play(&pod);
    until("the suite runs", || running.exists());
    kill(played.cgruns(3)[1]);
    assert_eq!(played.exit_code(), 137, "{}", played.log());
    assert_eq!(pod.report(0).unwrap()["session"]["written_by"], "guardian");
    assert!(pod.message().starts_with("clean now: cgrun was killed"), "{}", pod.message());
    assert!(is_empty_of_sleeps(node));
}

/// A database that starts before the suite and goes on after it, until the kubelet stops it.
fn a_sidecar_is_not_part_of_the_session(node: &Node) {
    let mut pod = Pod::of("job.yaml", 0, node.home()).script("exit 0");
    let mut sidecar = pod.value["spec"]["containers"][0].clone();
    sidecar["name"] = "db".into();
    sidecar["command"] = json!(["sleep", "903"]);
    sidecar["args"] = json!([]);
    pod.value["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
    let mut played = node.play(&pod);
    assert_eq!(played.exit_code(), 0, "{}", played.log());
    let report = pod.report(0).unwrap();
    assert_eq!(
        (&report["outcome"]["clean"], node.host().named("sleep").len()),
        (&true.into(), 1),
        "{report:#}"
    );
    drop(played);
    until("the sidecar has ended with its pod", || is_empty_of_sleeps(node));
}

/// The kubelet runs `preStop` beside the first process, before it sends SIGTERM.
fn a_hook_before_the_end_is_not_part_of_the_session(node: &Node) {
    let pod = Pod::of("job.yaml", 0, node.home()).script("touch /reports/running; exec sleep 901");
    let running = pod.reports.join("running");
    let mut played = node.play(&pod);
    until("the suite runs", || running.exists());
    played.exec(&["sh", "-c", "(setsid sleep 902 >/dev/null 2>&1 &)"]);
    played.delete(GRACE);
    assert_eq!(played.exit_code(), 143, "{}", played.log());
    let report = pod.report(0).unwrap();
    assert_eq!(
        (&report["outcome"]["clean"], &report["leaked_process_count"]),
        (&true.into(), &0.into()),
        "{report:#}"
    );
    until("the kernel has killed what the hook has left", || is_empty_of_sleeps(node));
}
