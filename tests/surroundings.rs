//! cgrun runs wherever a plain program runs: in a directory that the user cannot enter, without a home.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::fixtures::NOBODY;
use crate::harness::{Finished, Session, cgrun_program};

const AS_NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A session with a cgrun that every user can execute. `closed` belongs to root alone, and `closed/below` is
/// open to everybody.
fn session() -> Session {
    let session = Session::new().file("closed/below/program", "#!/bin/sh\necho ran as $(id -u)\n");
    let cgrun = session.path().join("cgrun");
    std::fs::copy(cgrun_program(), &cgrun).unwrap();
    for (name, mode) in
        [("", 0o755), ("closed", 0o700), ("closed/below", 0o755), ("closed/below/program", 0o755)]
    {
        set_mode(&session.path().join(name), mode);
    }
    session.env("CGRUN", cgrun)
}

/// Runs `with` cgrun after `before`, which may mount file systems.
fn run_after(session: Session, before: &str, with: &str) -> Finished {
    let script = format!("{before} && exec {with} \"$CGRUN\" \"$@\"");
    session.start_through(&["unshare", "-m", "sh", "-c", &script, "sh"]).finish()
}

#[track_caller]
fn assert_ran_as(run: &Finished, uid: u32) {
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), format!("ran as {uid}\n"), "{}", run.stderr());
}

const COMMAND: [&str; 3] = ["sh", "-c", "echo ran as $(id -u)"];

mod a_working_directory {
    use super::*;

    #[test]
    fn that_the_user_cannot_enter_is_good_enough() {
        for directory in ["closed", "closed/below"] {
            let run = run_after(session().command(COMMAND), &format!("cd {directory}"), AS_NOBODY);
            assert_ran_as(&run, NOBODY);
        }
    }

    #[test]
    fn that_the_user_of_the_session_cannot_enter_is_good_enough() {
        for directory in ["closed", "closed/below"] {
            let session = session().options(["--user", "nobody"]).command(COMMAND);
            assert_ran_as(&run_after(session, &format!("cd {directory}"), ""), NOBODY);
        }
    }

    #[test]
    fn that_the_user_of_the_session_cannot_enter_is_good_enough_in_a_pid_namespace() {
        let options = ["--user", "nobody", "--require", "cgroup+pidns"];
        let session = session().options(options).command(COMMAND);
        assert_ran_as(&run_after(session, "cd closed/below", ""), NOBODY);
    }

    #[test]
    fn below_one_that_the_user_cannot_enter_has_programs_and_a_config() {
        let run = run_after(session().command(["./program"]), "cd closed/below", AS_NOBODY);
        assert_ran_as(&run, NOBODY);
        let user = session().options(["--user", "nobody"]).command(["./program"]);
        assert_ran_as(&run_after(user, "cd closed/below", ""), NOBODY);
        let session = session().file("closed/below/cgrun.toml", "[session]\nnear = 1\n").command(COMMAND);
        let run = run_after(session, "cd closed/below", AS_NOBODY);
        run.assert_code(125).assert_said("cgrun.toml:2:1: unknown key `near`");
    }

    #[test]
    fn has_no_config_above_that_the_user_cannot_reach() {
        let session = session().file("closed/cgrun.toml", "[session]\nfar = 1\n").command(COMMAND);
        for (name, mode) in [("closed/cgrun.toml", 0o644), ("closed/below", 0o755)] {
            set_mode(&session.path().join(name), mode);
        }
        assert_ran_as(&run_after(session, "cd closed/below", AS_NOBODY), NOBODY);
    }

    #[test]
    fn has_no_config_above_that_the_user_cannot_read() {
        let session =
            session().file("cgrun.toml", "[session]\nfar = 1\n").file("open/here", "").command(COMMAND);
        for (name, mode) in [("cgrun.toml", 0o600), ("open", 0o755)] {
            set_mode(&session.path().join(name), mode);
        }
        assert_ran_as(&run_after(session, "cd open", AS_NOBODY), NOBODY);
    }

    #[test]
    fn can_be_deeper_than_path_max() {
        const DEEP: &str = "import os, shutil, sys\n\
            program = os.path.abspath('closed/below/program')\n\
            for _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)\n\
            shutil.copy(program, 'program')\n\
            os.execv(os.environ['CGRUN'], sys.argv)";
        for options in [&[][..], &["--user", "nobody"], &["--require", "cgroup+pidns"]] {
            let session = session().options(options).command(["./program"]);
            let run = session.start_through(&["python3", "-c", DEEP]).finish();
            assert_ran_as(&run, if options.contains(&"nobody") { NOBODY } else { 0 });
        }
    }
}

mod a_home {
    use super::*;

    /// A session with a service, which needs a place for its log. `TMPDIR` is `tmp`.
    fn with_service() -> Session {
        let config =
            "[services.web]\nready = { log = 'up' }\ncommand = ['sh', '-c', 'echo up; exec sleep 900']\n";
        let session = session().file("tmp/here", "").file("open/cgrun.toml", config).command(COMMAND);
        for (name, mode) in [("tmp", 0o1777), ("open", 0o755), ("open/cgrun.toml", 0o644)] {
            set_mode(&session.path().join(name), mode);
        }
        let temporary = session.path().join("tmp");
        session.env("TMPDIR", temporary).env("XDG_STATE_HOME", "")
    }

    fn logs(directory: &Path) -> usize {
        std::fs::read_dir(directory.join("logs")).map_or(0, |entries| entries.count())
    }

    #[test]
    fn that_is_missing_or_cannot_be_written_to_is_not_needed() {
        for home in [
            "unset HOME",
            "export HOME=",
            "export HOME=/",
            "export HOME=/nonexistent",
            "mkdir read-only && mount -t tmpfs -o ro none read-only && export HOME=$PWD/read-only",
        ] {
            for (user, uid) in [(AS_NOBODY, NOBODY), ("", 0)] {
                if uid == 0 && home.ends_with('/') {
                    // Root could write there, but the test must not.
                    continue;
                }
                let run = run_after(with_service(), &format!("{home}; cd open"), user);
                assert_ran_as(&run, uid);
                let state = run.path().join(format!("tmp/cgrun-{uid}"));
                assert_eq!(logs(&state), 1, "{home}\n{}", run.stderr());
                let mode = std::fs::metadata(&state).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o700, "{home}");
            }
        }
    }

    #[test]
    fn of_another_user_is_not_used_by_root() {
        let session = with_service().file("home/here", "");
        let home = session.path().join("home");
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        let run = run_after(session.env("HOME", &home), "cd open", "");
        assert_ran_as(&run, 0);
        assert_eq!(logs(&run.path().join("tmp/cgrun-0")), 1);
        assert!(!home.join(".local").exists());
    }

    /// As `sudo -E cgrun` does, which keeps `XDG_STATE_HOME`.
    #[test]
    fn is_used_if_root_has_made_directories_in_the_one_for_state() {
        for (made, of_the_user) in
            [("xdg/cgrun", "xdg"), ("xdg/cgrun/logs", "xdg/cgrun"), ("xdg/cgrun/ended", "xdg/cgrun")]
        {
            let session = with_service().file("home/here", "");
            let home = session.path().join("home");
            chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
            let prepare = format!(
                "mkdir -p {of_the_user} && chown -R nobody xdg && mkdir -m 700 {made} \
                 && export XDG_STATE_HOME=$PWD/xdg HOME=$PWD/home && cd open"
            );
            let run = run_after(session, &prepare, AS_NOBODY);
            assert_ran_as(&run, NOBODY);
            assert_eq!(logs(&home.join(".local/state/cgrun")), 1, "{made}");
        }
    }

    #[test]
    fn is_not_replaced_by_a_directory_that_another_user_planted() {
        let plants = [
            "mkdir -m 777 tmp/cgrun-0",
            "mkdir tmp/cgrun-0 && chown nobody tmp/cgrun-0",
            "mkdir -m 700 elsewhere && ln -s ../elsewhere tmp/cgrun-0",
            "mkfifo tmp/cgrun-0",
        ];
        for plant in plants {
            let run = run_after(with_service(), &format!("unset HOME; {plant} && cd open"), "");
            assert_ran_as(&run, 0);
            assert_eq!(logs(&run.path().join("tmp/cgrun-0")), 0, "{plant}");
            // Another one has a name that nobody could foresee.
            let made = std::fs::read_dir(run.path().join("tmp")).unwrap().map(|it| it.unwrap().path());
            assert_eq!(made.map(|path| logs(&path)).sum::<usize>(), 1, "{plant}");
            let warning = format!(
                "cannot keep logs and records in {}/tmp/cgrun-0: it belongs to another user",
                run.path().display()
            );
            assert_eq!(run.stderr().matches(&warning).count(), 1, "{plant}\n{}", run.stderr());
        }
    }

    #[test]
    fn of_one_user_does_not_stop_another() {
        let run = run_after(with_service(), "unset HOME; cd open", "");
        assert_ran_as(&run, 0);
        let next = Session::again().env("XDG_STATE_HOME", "").env("TMPDIR", run.path().join("tmp"));
        let next = next.env("CGRUN", run.path().join("cgrun")).command(COMMAND);
        let next = run_after(next, &format!("unset HOME; cd {}/open", run.path().display()), AS_NOBODY);
        assert_ran_as(&next, NOBODY);
        assert_eq!(logs(&run.path().join("tmp/cgrun-65534")), 1);
    }

    #[test]
    fn is_left_alone_by_a_session_that_has_nothing_to_keep() {
        let session = session().file("tmp/here", "").command(COMMAND).env("XDG_STATE_HOME", "");
        let temporary = session.path().join("tmp");
        let run = run_after(session.env("TMPDIR", &temporary), "unset HOME; cd tmp", "");
        assert_ran_as(&run, 0);
        assert!(!temporary.join("cgrun-0").exists());
    }
}

mod scarcity {
    use super::*;

    const WEB: &str =
        "[services.web]\nready = { log = 'up' }\ncommand = ['sh', '-c', 'echo up; exec sleep 900']\n";

    #[test]
    fn of_descriptors_is_remedied_if_the_hard_limit_permits_and_does_not_affect_programs() {
        let session = session().config(WEB).command(["sh", "-c", "ulimit -Sn; [ $(ulimit -Hn) -gt 99 ]"]);
        let run = run_after(session, "ulimit -Sn 8", "");
        run.assert_code(0).assert_nothing_left();
        assert_eq!(run.stdout(), "8\n");
    }

    #[test]
    fn of_descriptors_is_named() {
        for limit in [5, 6, 8] {
            let session = session().command(["touch", "ran"]);
            let run = run_after(session, &format!("ulimit -n {limit}"), AS_NOBODY);
            run.assert_said("too many open files: the limit is").assert_said("raise it with ulimit -n");
            run.assert_nothing_left();
            assert!(
                !run.path().join("ran").exists() && !run.stderr().contains("os error"),
                "{}",
                run.stderr()
            );
        }
    }

    #[test]
    fn of_processes_is_named() {
        // No other test's processes belong to this user.
        let user =
            "setpriv --reuid=47121 --regid=47121 --clear-groups bash -c 'ulimit -u 1; exec \"$0\" \"$@\"'";
        let run = run_after(session().command(["touch", "ran"]), "true", user);
        run.assert_code(125).assert_nothing_left();
        run.assert_said("cannot fork the guardian: process limit reached (--pids, the limits of this user");
    }

    #[test]
    fn of_devices_is_no_obstacle() {
        for kind in ["cgroup", "cgroup+pidns"] {
            let session = session().config(WEB).options(["--require", kind]).command(COMMAND);
            let run = run_after(session, "mount -t tmpfs none /dev", "");
            assert_ran_as(&run, 0);
        }
    }
}

mod a_cgroup_that_the_user_cannot_list {
    use super::*;

    /// Closes the test's own cgroup to everybody but root.
    const CLOSE: &str = "mount=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/self/mounts); \
        chmod 700 $mount$(sed -n s/^0:://p /proc/self/cgroup)";

    #[test]
    fn leads_to_the_next_containment() {
        let run = run_after(session().command(COMMAND), CLOSE, AS_NOBODY);
        assert_ran_as(&run, NOBODY);
        run.assert_matches("contained only by a (PID namespace|process tree)");
    }

    #[test]
    fn is_named_if_there_could_be_sessions() {
        for (command, code) in [("sessions", 0), ("sweep", 0), ("check", 125)] {
            let run = run_after(session().options([command]), CLOSE, AS_NOBODY);
            run.assert_code(code).assert_said("cannot look for sessions in /").assert_nothing_left();
        }
    }
}
