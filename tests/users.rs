//! `--user NAME`: root starts the session, and nothing in it is root.

use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;

use crate::harness::{Finished, Session, cgrun_program};

const NOBODY: u32 = 65534;

/// A session in a directory of that user's.
fn as_nobody() -> Session {
    let session = Session::new().options(["--user", "nobody"]);
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    session
}

/// Also a program in it that makes whoever runs it root: `./as-root COMMAND`.
fn with_setuid(session: Session) -> Session {
    let program = session.path().join("as-root");
    let setpriv = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|directory| directory.join("setpriv"))
        .find(|path| path.exists());
    std::fs::copy(setpriv.expect("setpriv (util-linux)"), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    session
}

fn status_lines(run: &Finished, prefix: &str) -> Vec<String> {
    let lines = run.stdout();
    lines.lines().filter(|line| line.starts_with(prefix)).map(str::to_string).collect()
}

#[test]
fn no_capability_is_left() {
    let run = as_nobody().command(["cat", "/proc/self/status"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status_lines(&run, set), [format!("{set}:\t0000000000000000")]);
    }
    assert_eq!(status_lines(&run, "Uid"), ["Uid:\t65534\t65534\t65534\t65534"]);
    assert_eq!(status_lines(&run, "Gid"), ["Gid:\t65534\t65534\t65534\t65534"]);
    assert_eq!(status_lines(&run, "Groups"), ["Groups:\t65534 "]);
}

#[test]
fn services_are_that_users_too() {
    let config = "[session]\nuser = 'nobody'\n[services.who]\nready = { log = '^65534$' }\n\
        command = ['sh', '-c', 'id -u; exec sleep 900']\n";
    Session::new().config(config).command(["true"]).run().assert_code(0).assert_nothing_left();
}

#[test]
fn a_setuid_program_works_as_it_does_after_a_login() {
    let run = with_setuid(as_nobody()).sh("./as-root --reuid=0 --regid=0 --clear-groups id -u").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), "0\n");
}

#[test]
fn no_new_privileges_where_that_is_asked_for() {
    let session = with_setuid(as_nobody()).options(["--no-new-privs"]);
    let run = session.sh("cat /proc/self/status; ./as-root --reuid=0 id -u").run();
    assert_ne!(run.status.code(), Some(0));
    run.assert_said("Operation not permitted").assert_nothing_left();
    assert_eq!(status_lines(&run, "NoNewPrivs"), ["NoNewPrivs:\t1"]);
    assert_eq!(status_lines(&run, "CapBnd"), ["CapBnd:\t0000000000000000"]);
}

#[test]
fn the_kernel_refuses_to_let_it_leave_the_cgroup() {
    let script = "mount=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/self/mounts)\n\
        own=$mount$(sed -n s/^0:://p /proc/self/cgroup)\n\
        for d in $mount $own/../.. $own/.. $own; do echo 0 >$d/cgroup.procs && exit 1; done\n\
        grep -q cgrun-.*/command /proc/self/cgroup";
    let run = as_nobody().sh(script).run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stderr().matches("Permission denied").count(), 4, "{}", run.stderr());
}

#[test]
fn the_environment_says_who_it_is_and_the_rest_is_kept() {
    let run = as_nobody().env("OTHER", "kept").sh("echo $USER $LOGNAME $HOME $OTHER").run();
    assert_eq!(run.stdout(), "nobody nobody /nonexistent kept\n");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn the_environment_is_cleaned_where_that_is_wanted() {
    let session = as_nobody().options(["--clean-env"]).env("OTHER", "kept").env("LC_ALL", "C");
    let run = session.sh("echo $USER ${OTHER-gone} $LC_ALL").run();
    assert_eq!(run.stdout(), "nobody gone C\n");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn it_is_ended_like_any_other() {
    let options = ["--grace", "300ms"];
    let run = as_nobody().options(options).sh("trap '' TERM; touch running; sleep 900").start();
    run.until_file("running").signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(Duration::from_secs(20));
}

/// Root opens the logs, and the user may own the place where they are.
#[test]
fn a_log_leads_nowhere_else() {
    let config = "[session]\nuser = 'nobody'\nlogs = 'logs'\n[services.a]\nready = { command = ['true'] }\n\
        command = ['sh', '-c', 'd=$(echo logs/cgrun-*); mv $d logs/x && ln -s ../trap $d && ln -s ../secret trap/b.log; exec sleep 900']\n\
        [services.b]\ndepends_on = ['a']\nready = { log = 'pwned' }\ncommand = ['sh', '-c', 'echo pwned; exec sleep 900']\n";
    let session =
        as_nobody().config(config).file("secret", "safe").file("trap/here", "").file("logs/here", "");
    for directory in ["trap", "logs"] {
        chown(session.path().join(directory), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = session.command(["true"]).run();
    assert_eq!(run.read("secret"), "safe");
    run.assert_nothing_left();
}

#[test]
fn no_new_privileges_alone_keeps_the_environment() {
    let run = Session::new().options(["--no-new-privs"]).env("HOME", "/home/mine").sh("echo $HOME").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), "/home/mine\n");
}

#[test]
fn an_unknown_user() {
    let run = Session::new().options(["--user", "no-such-user"]).command(["touch", "ran"]).run();
    run.assert_code(125).assert_said("there is no user \"no-such-user\"").assert_nothing_left();
    assert!(!run.path().join("ran").exists());
}

#[test]
fn another_user_by_somebody_who_is_not_root() {
    let session = Session::new();
    for path in [session.path().to_path_buf(), session.path().join("cgrun")] {
        if path.ends_with("cgrun") {
            std::fs::copy(cgrun_program(), &path).unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let us = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./cgrun"];
    let run = session.options(["--user", "root"]).command(["true"]).start_through(&us).finish();
    run.assert_code(125).assert_said("only root can run a session as another user").assert_nothing_left();
}

#[test]
fn a_report_is_that_users_and_leads_nowhere_else() {
    use std::os::unix::fs::MetadataExt;
    let session = as_nobody().options(["--report", "json=out/r.json"]);
    let run = session.sh("touch out/mine; sleep 900 &").run();
    run.assert_code(0).assert_said("leaked 1 process").assert_nothing_left();
    assert!(run.path().join("out/mine").exists());
    assert_eq!(std::fs::metadata(run.path().join("out/r.json")).unwrap().uid(), NOBODY);

    // Root's, and out of the user's reach.
    let locked = tempfile::tempdir().unwrap();
    let secret = locked.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let scripts = [
        ("r.json", format!("d=$(ls -A | grep cgrun-); rm \"$d\"; ln -s {} \"$d\"", secret.display())),
        ("out/r.json", format!("mv out away; ln -s {} out", locked.path().display())),
    ];
    // Nor is anything removed there.
    std::fs::create_dir(locked.path().join("b")).unwrap();
    let session = as_nobody().options(["--report", "json=a/b/r.json"]);
    let run = session.sh(&format!("mv a away; ln -s {} a", locked.path().display())).run();
    run.assert_nothing_left();
    assert!(locked.path().join("b").exists());
    std::fs::remove_dir(locked.path().join("b")).unwrap();
    for (report, script) in scripts {
        let run = as_nobody().options(["--report", &format!("json={report}")]).sh(&script).run();
        run.assert_nothing_left();
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret", "{script}");
        assert_eq!(std::fs::read_dir(locked.path()).unwrap().count(), 1, "{script}");
    }
    // What cannot be replaced is written where it stands.
    let sticky = tempfile::tempdir().unwrap();
    std::fs::set_permissions(sticky.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let file = sticky.path().join("r.json");
    std::fs::write(&file, "of the last run").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let run = as_nobody().options(["--report", &format!("json={}", file.display())]).command(["true"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(std::fs::read_to_string(&file).unwrap().starts_with('{'));
    let report = format!("json={}/r.json", locked.path().display());
    let run = as_nobody().options(["--report", &report]).command(["touch", "started"]).run();
    run.assert_code(125).assert_said("in a directory that nobody may write to").assert_nothing_left();
    assert!(!run.path().join("started").exists());
}
