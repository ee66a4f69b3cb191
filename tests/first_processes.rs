//! The first process of a container often is a program that does not reap, or cgrun itself.

use crate::harness::{Finished, Session, helpers};

/// Runs a command as the first process of a PID namespace.
fn run_as_first(session: Session, command: &[&str]) -> Finished {
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    session.start_through(&[&unshare, command].concat()).finish()
}

#[test]
fn sessions_leave_no_zombie_if_the_first_process_does_not_reap() {
    let helper = helpers().join("first_process.py");
    let command = ["python3", helper.to_str().unwrap(), "20", "sh", "-c", "exec $CGRUN \"$@\"", "sh"];
    for script in ["true", "setsid -f sleep 900; (sleep 900 &)"] {
        let run = run_as_first(Session::new().sh(script), &command);
        run.assert_code(0).assert_nothing_left();
        assert_eq!(run.stdout(), "");
    }
}

#[test]
fn a_replaced_guardian_leaves_no_zombie() {
    let helper = helpers().join("first_process.py");
    let command = ["python3", helper.to_str().unwrap(), "3", "sh", "-c", "exec $CGRUN \"$@\"", "sh"];
    let kill = "for stat in /proc/[0-9]*/stat; do \
        if [ \"$(cut -d' ' -f2,4,6 $stat 2>/dev/null)\" = \"(cgrun) $PPID ${stat//[!0-9]/}\" ]; then \
        kill -9 ${stat//[!0-9]/}; touch killed; fi; done; sleep 0.2";
    let run = run_as_first(Session::new().command(["bash", "-c", kill]), &command);
    run.assert_code(0).assert_nothing_left().assert_said("another one takes its place");
    assert!(run.path().join("killed").exists());
    assert_eq!(run.stdout(), "");
}
