//! Limits of the number of processes: fork bombs.

use super::{IN_SESSION, numbers};
use crate::harness::{Place, Session, cgrun_program, helpers};

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_fork_bomb_is_bounded() {
    for place in Place::ALL {
        let session = Session::at(place).options(["--pids", "50", "--grace", "1s"]);
        let run = session.helper("hungry.py", &["forks", "500"]).run();
        run.assert_code(0).assert_nothing_left();
        assert_eq!(run.stdout(), "refused\n", "{}", run.stderr());
        run.assert_said("too many processes: the session reached its limit of 50, and ");
        run.assert_said("most processes belonged to the command");
        let [leaked] = numbers(r"leaked (\d+) processes, found and stopped", &run.stderr());
        assert!((40.0..50.0).contains(&leaked), "{}", run.stderr());
    }
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_fork_bomb_in_a_service_leaves_the_command_alone() {
    let config = "[session]\ngrace = '1s'\n[services.bomb]\n\
         command = ['python3', '{helpers}/hungry.py', 'then', 'forks', '200']\n\
         critical = false\nlimits = { pids = 20 }\n";
    let script = format!(
        "{IN_SESSION}until grep -q 'max [1-9]' service.bomb/pids.events; do sleep 0.1; done; \
         sleep 0 & sleep 0 & wait"
    );
    let run = Session::at(Place::Root).config(config).sh(&script).run();
    run.assert_code(0).assert_nothing_left();
    run.assert_said("too many processes: service bomb reached its limit of 20, and ");
}

#[test]
#[ignore = "needs systemd and cgroup v2 controllers: run scripts/vm-test"]
fn a_fork_bomb_leaves_no_room_for_the_command() {
    let config = "[session]\ngrace = '500ms'\n[limits]\npids = 10\n[services.bomb]\n\
         ready = { log = 'refused' }\n\
         command = ['python3', '-u', '{helpers}/hungry.py', 'stay', 'forks', '100']\n";
    let session = || Session::at(Place::Root).config(config).command(["true"]);
    let launcher = helpers().join("launch.py");
    let cgrun = cgrun_program();
    let cgrun = cgrun.to_str().unwrap();
    // The same if a process joins its cgroup only after it has started.
    let late = ["python3", launcher.to_str().unwrap(), "without-clone3", "ENOSYS"];
    for how in [&[cgrun][..], &late] {
        let run = session().start_through(how).finish();
        run.assert_code(125).assert_nothing_left();
        run.assert_said("true could not be executed: cannot create a process: process limit reached");
        run.assert_said("too many processes: the session reached its limit of 10, and ");
        run.assert_said("most processes belonged to service bomb");
    }
}
