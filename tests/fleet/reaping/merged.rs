//! The listings of many hosts become one.

use crate::harness::{Finished, OwnHost, Session, cgrun_program};

use super::{end, live, output, stale};

/// What a host of this name lists, with the sessions of this one.
fn listing_of(host: &str) -> String {
    let script = "echo \"$1\" >/proc/sys/kernel/hostname; exec \"$2\" sessions --json";
    let mut command = std::process::Command::new("unshare");
    let done = output(command.args(["-u", "sh", "-c", script, "sh", host]).arg(cgrun_program()));
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn write(run: &Finished, name: &str, text: &str) {
    std::fs::write(run.path().join(name), text).unwrap();
}

#[test]
fn the_sessions_of_many_hosts_are_one_table() {
    let _host = OwnHost::enter();
    let run = Session::new().command(["true"]).run();
    write(&run, "empty.json", &listing_of("ci-9"));
    let living = live(Session::again());
    write(&run, "b.json", &listing_of("ci-2"));
    let dead = stale(Session::again());
    write(&run, "a.json", &listing_of("ci-1"));

    let merged = run.cgrun(&["sessions", "--merge", "a.json", "b.json", "empty.json"]);
    merged.assert_code(0).assert_silent();
    let rows: Vec<Vec<_>> = merged.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["HOST", "ID", "STATE", "PID", "USER", "COMMAND"]);
    let mut states: Vec<_> = rows[1..4].iter().map(|row| (row[0], row[2])).collect();
    states.sort();
    assert_eq!(states, [("ci-1", "live"), ("ci-1", "stale"), ("ci-2", "live")]);
    assert!(merged.stdout.ends_with("3 hosts: 2 sessions live, 1 stale, 0 unknown\n"), "{}", merged.stdout);

    // All in one file, one after the other.
    let all = ["a.json", "b.json", "empty.json"].map(|name| run.read(name)).concat();
    write(&run, "all.json", &all);
    let json = run.cgrun(&["sessions", "--json", "--output", "out.json", "--merge", "all.json"]);
    json.assert_code(0).assert_silent();
    assert_eq!(json.stdout, "");
    let json: serde_json::Value = serde_json::from_str(&run.read("out.json")).unwrap();
    let hosts: Vec<_> =
        json["hosts"].as_array().unwrap().iter().map(|it| it["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["ci-1", "ci-2", "ci-9"]);
    assert_eq!(json["hosts"][1]["sessions"][0]["state"], "live");
    assert!(json["hosts"][1]["sessions"][0]["cgroup"].as_str().unwrap().starts_with('/'));

    run.cgrun(&["sweep"]).assert_code(0);
    end(living);
    dead.assert_nothing_left();
}

/// A host that could not be asked leaves an empty file, or an error.
#[test]
fn a_host_that_could_not_be_asked_is_named() {
    let _host = OwnHost::enter();
    let run = Session::new().command(["true"]).run();
    write(&run, "good.json", &listing_of("ci-1"));
    write(&run, "empty.json", "");
    write(&run, "broken.json", "ssh: connect to host ci-3 port 22: Connection refused\n");
    let merged = run.cgrun(&["sessions", "--merge", "good.json", "empty.json", "broken.json", "none.json"]);
    merged.assert_code(1).assert_said("empty.json is left out: it is empty");
    merged.assert_said("broken.json is left out: it is truncated, or not JSON");
    merged.assert_said("none.json is left out: it cannot be read: No such file or directory");
    assert!(merged.stdout.contains("1 host: 0 sessions live"), "{}", merged.stdout);
    let json = run.cgrun(&["sessions", "--json", "--merge", "good.json", "empty.json"]).assert_code(1).json();
    assert_eq!(json["left_out"][0]["file"], "empty.json");

    run.cgrun(&["sessions", "--merge", "empty.json"]).assert_code(125).assert_said("no listing can be read");
    run.cgrun(&["sessions", "--format", "prometheus", "--merge", "good.json"])
        .assert_code(125)
        .assert_said("each host has metrics of its own");
    run.cgrun(&["sessions", "--output", "no/such/\n/"]).assert_code(125).assert_said("cannot write");
}
