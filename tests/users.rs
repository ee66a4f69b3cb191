//! `--user NAME`: root starts the session, and nothing in it runs as root.

use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::fixtures::NOBODY;
use crate::harness::{Finished, Session, cgrun_program, until};

/// A session in a directory that belongs to the user.
fn as_nobody() -> Session {
    let session = Session::new().options(["--user", "nobody"]);
    chown(session.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // Root keeps its logs and records only where root decides.
    std::fs::create_dir(session.path().join("state")).unwrap();
    session
}

/// Adds a setuid program that runs a command as root: `./as-root COMMAND`.
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
fn services_run_as_that_user_too() {
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
fn no_new_privileges_makes_setuid_programs_fail() {
    let session = with_setuid(as_nobody()).options(["--no-new-privs"]);
    let run = session.sh("cat /proc/self/status; ./as-root --reuid=0 id -u").run();
    assert_ne!(run.status.code(), Some(0));
    run.assert_said("Operation not permitted").assert_nothing_left();
    assert_eq!(status_lines(&run, "NoNewPrivs"), ["NoNewPrivs:\t1"]);
    assert_eq!(status_lines(&run, "CapBnd"), ["CapBnd:\t0000000000000000"]);
}

#[test]
fn the_kernel_does_not_let_the_command_leave_the_cgroup() {
    let script = "mount=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/self/mounts)\n\
        own=$mount$(sed -n s/^0:://p /proc/self/cgroup)\n\
        for d in $mount $own/../.. $own/.. $own; do echo 0 >$d/cgroup.procs && exit 1; done\n\
        grep -q cgrun-.*/command /proc/self/cgroup";
    let run = as_nobody().sh(script).run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stderr().matches("Permission denied").count(), 4, "{}", run.stderr());
}

#[test]
fn the_environment_names_the_user_and_is_otherwise_kept() {
    let run = as_nobody().env("OTHER", "kept").sh("echo $USER $LOGNAME $HOME $OTHER").run();
    assert_eq!(run.stdout(), "nobody nobody /nonexistent kept\n");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn the_environment_is_cleaned_if_asked_to() {
    let session = as_nobody().options(["--clean-env"]).env("OTHER", "kept").env("LC_ALL", "C");
    let run = session.sh("echo $USER ${OTHER-gone} $LC_ALL").run();
    assert_eq!(run.stdout(), "nobody gone C\n");
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn a_session_of_another_user_is_cleaned_up_like_any_other() {
    let options = ["--grace", "300ms"];
    let run = as_nobody().options(options).sh("trap '' TERM; touch running; sleep 900").start();
    run.until_file("running").signal(SIGTERM);
    let run = run.finish();
    run.assert_signal(SIGTERM).assert_nothing_left().assert_faster_than(Duration::from_secs(20));
}

/// Root creates the log and the standard input of a service.
#[test]
fn a_service_can_reopen_its_streams() {
    let config = "[services.web]\nready = { log = '^ready$', timeout = '20s' }\n\
        command = ['sh', '-c', ': </dev/stdin && echo up >>/dev/stdout && echo ready >>/dev/stderr; exec sleep 900']\n";
    let run = as_nobody().config(config).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.log("web"), "up\nready\n");
}

/// Root opens the logs, possibly in a directory that belongs to the user.
#[test]
fn a_log_does_not_follow_links_of_the_user() {
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

/// The guardian is root, and `sudo -E` keeps `XDG_STATE_HOME`.
#[test]
fn a_record_does_not_follow_links_of_the_user() {
    let locked = tempfile::tempdir().unwrap();
    let secret = locked.path().join("secret");
    std::fs::write(&secret, "safe").unwrap();
    let session = as_nobody().file("state/cgrun/ended/here", "");
    chown(session.path().join("state/cgrun/ended"), Some(NOBODY), Some(NOBODY)).unwrap();
    let script = format!(
        "ln -s {} state/cgrun/ended/$CGRUN_SESSION.draft && touch running; exec sleep 900",
        secret.display()
    );
    let run = session.sh(&script).start();
    run.until_file("running").signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL).assert_nothing_left();
    let records = || std::fs::read_dir(run.path().join("state/cgrun/ended")).unwrap();
    let is_record =
        |it: std::io::Result<std::fs::DirEntry>| it.unwrap().path().extension() == Some("json".as_ref());
    until("the guardian has left a record", || records().any(is_record));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "safe");
}

#[test]
fn no_new_privileges_alone_keeps_the_environment() {
    let run = Session::new().options(["--no-new-privs"]).env("HOME", "/home/mine").sh("echo $HOME").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), "/home/mine\n");
}

#[test]
fn an_unknown_user_is_refused() {
    let run = Session::new().options(["--user", "no-such-user"]).command(["touch", "ran"]).run();
    run.assert_code(125).assert_said("there is no user \"no-such-user\"").assert_nothing_left();
    assert!(!run.path().join("ran").exists());
}

#[test]
fn ids_need_no_entry_in_a_database() {
    let session = Session::new().options(["--user", "4711:4712"]);
    std::fs::set_permissions(session.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = session.sh("cat /proc/self/status; echo Home: $HOME $USER").run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(status_lines(&run, "Uid"), ["Uid:\t4711\t4711\t4711\t4711"]);
    assert_eq!(status_lines(&run, "Groups"), ["Groups:\t4712 "]);
    assert_eq!(status_lines(&run, "CapPrm"), ["CapPrm:\t0000000000000000"]);
    assert_eq!(status_lines(&run, "Home"), ["Home: / 4711"]);
}

/// Runs cgrun with other databases of users and groups, in the files `passwd` and `group`.
const WITH_DATABASES: [&str; 6] = [
    "unshare",
    "-m",
    "sh",
    "-c",
    "mount --bind passwd /etc/passwd && mount --bind group /etc/group && exec \"$CGRUN\" \"$@\"",
    "sh",
];

fn with_databases(user: &str, passwd: &str) -> Session {
    let session = Session::new().options(["--user", user]);
    std::fs::set_permissions(session.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let group = "root:x:0:\ndocker:x:99:ann\ntrap:x:98:4711,4712,4711:4712\n";
    let root = "root:x:0:0:root:/root:/bin/sh\n";
    session.file("passwd", format!("{root}{passwd}")).file("group", group)
}

/// The names of the members of a group may be numbers, which are not uids.
#[test]
fn a_uid_without_an_entry_gains_no_group_that_lists_its_number() {
    let session = with_databases("4711:4712", "").command(["cat", "/proc/self/status"]);
    let run = session.start_through(&WITH_DATABASES).finish();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(status_lines(&run, "Groups"), ["Groups:\t4712 "]);
}

#[test]
fn a_given_group_is_the_only_one_of_a_uid_with_an_entry_too() {
    let session = with_databases("4711:4712", "ann:x:4711:4711::/home/ann:/bin/sh\n");
    let run =
        session.sh("cat /proc/self/status; echo Home: $HOME $USER").start_through(&WITH_DATABASES).finish();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(status_lines(&run, "Gid"), ["Gid:\t4712\t4712\t4712\t4712"]);
    assert_eq!(status_lines(&run, "Groups"), ["Groups:\t4712 "]);
    assert_eq!(status_lines(&run, "Home"), ["Home: /home/ann ann"]);
}

#[test]
fn a_host_without_a_database_of_users_knows_ids() {
    let launcher = "mount -t tmpfs none /etc && exec \"$CGRUN\" \"$@\"";
    let session = Session::new().options(["--user", "4711:4712"]).command(["true"]);
    let run = session.start_through(&["unshare", "-m", "sh", "-c", launcher, "sh"]).finish();
    run.assert_code(0).assert_silent().assert_nothing_left();
}

/// To setresuid(2), -1 means "do not change it", which would leave the session root.
#[test]
fn the_highest_id_is_refused() {
    for user in ["4294967295", "4294967295:1", "1:4294967295"] {
        let run = Session::new().options(["--user", user]).command(["touch", "ran"]).run();
        run.assert_code(125).assert_said("there is no user").assert_nothing_left();
        assert!(!run.path().join("ran").exists());
    }
}

/// A session whose directory has a copy of cgrun that all users can execute, and a launcher that runs it as nobody.
fn by_nobody() -> (Session, [&'static str; 5]) {
    let session = Session::new();
    for path in [session.path().to_path_buf(), session.path().join("cgrun")] {
        if path.ends_with("cgrun") {
            std::fs::copy(cgrun_program(), &path).unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    (session, ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./cgrun"])
}

#[test]
fn only_root_can_name_another_user() {
    let (session, nobody) = by_nobody();
    let run = session.options(["--user", "root"]).command(["true"]).start_through(&nobody).finish();
    run.assert_code(125).assert_said("only root can run a session as another user").assert_nothing_left();
}

#[test]
fn only_root_can_name_another_group() {
    let (session, nobody) = by_nobody();
    let session = session.options(["--user", "65534:4712"]).command(["touch", "ran"]);
    let run = session.start_through(&nobody).finish();
    run.assert_code(125).assert_nothing_left();
    run.assert_said(
        "only root can run a session in another group, and yours is 65534; omit --user, or try: sudo cgrun",
    );
    assert!(!run.path().join("ran").exists());
    for own in ["65534:65534", "65534", "nobody"] {
        let (session, nobody) = by_nobody();
        let run = session.options(["--user", own]).sh("id -G").start_through(&nobody).finish();
        assert_eq!(run.assert_code(0).stdout(), "65534\n", "{own}");
        run.assert_nothing_left();
    }
}

#[test]
fn a_report_belongs_to_that_user_and_does_not_follow_their_links() {
    use std::os::unix::fs::MetadataExt;
    let session = as_nobody().options(["--report", "json=out/r.json"]);
    let run = session.sh("touch out/mine; sleep 900 &").run();
    run.assert_code(0).assert_said("leaked 1 process").assert_nothing_left();
    assert!(run.path().join("out/mine").exists());
    assert_eq!(std::fs::metadata(run.path().join("out/r.json")).unwrap().uid(), NOBODY);

    // This directory belongs to root and is out of the user's reach.
    let locked = tempfile::tempdir().unwrap();
    let secret = locked.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let scripts = [
        ("r.json", format!("d=$(ls -A | grep cgrun-); rm \"$d\"; ln -s {} \"$d\"", secret.display())),
        ("out/r.json", format!("mv out away; ln -s {} out", locked.path().display())),
    ];
    // Nothing is removed there either.
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
    // A file that cannot be replaced is written in place.
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
    run.assert_code(125).assert_said("in a directory that nobody can write to").assert_nothing_left();
    assert!(!run.path().join("started").exists());
}

#[test]
fn a_baseline_is_written_with_the_rights_of_that_user() {
    use std::os::unix::fs::MetadataExt;
    let run = as_nobody().options(["--write-baseline"]).sh("sleep 900 &").run();
    run.assert_code(0).assert_said("added 1 line to cgrun-leaks.toml").assert_nothing_left();
    assert_eq!(std::fs::metadata(run.path().join("cgrun-leaks.toml")).unwrap().uid(), NOBODY);

    // This directory belongs to root and is out of the user's reach.
    let locked = tempfile::tempdir().unwrap();
    let secret = locked.path().join("secret");
    std::fs::write(&secret, "").unwrap();
    let link = format!("ln -s {} cgrun-leaks.toml; sleep 900 &", secret.display());
    let run = as_nobody().options(["--write-baseline"]).sh(&link).run();
    run.assert_code(125).assert_said("the baseline cgrun-leaks.toml was not written: ").assert_nothing_left();
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "");
    let baseline = locked.path().join("leaks.toml");
    let run = as_nobody().options(["--write-baseline", "--baseline", baseline.to_str().unwrap()]);
    let run = run.command(["touch", "started"]).run();
    run.assert_code(125).assert_said("cannot write the baseline").assert_nothing_left();
    assert!(!run.path().join("started").exists());
}

/// Root appends to the file that the variable names, which the user can replace.
#[test]
fn a_github_summary_does_not_follow_links_of_the_user() {
    use std::os::unix::fs::MetadataExt;
    let locked = tempfile::tempdir().unwrap();
    let secret = locked.path().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    std::fs::set_permissions(locked.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let summarizing = || as_nobody().env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "out/summary");
    let link =
        |target: &std::path::Path| format!("mkdir out; ln -s {} out/summary; sleep 900 &", target.display());
    // To a file of root's, to one that does not exist yet, to a directory, and to what is the supervisor's own.
    let created = locked.path().join("created");
    let targets =
        [secret.as_path(), &created, locked.path(), "/proc/self/mem".as_ref(), "/proc/self/comm".as_ref()];
    for target in targets {
        let run = summarizing().sh(&link(target)).run();
        run.assert_code(0).assert_said("leaked 1 process").assert_said("cannot write GITHUB_STEP_SUMMARY: ");
        run.assert_nothing_left();
    }
    // The guardian writes it if the supervisor is killed, and then its report.
    for target in targets {
        let session =
            summarizing().env("CGRUN_FAILPOINT", "kill:teardown").options(["--report", "json=r.json"]);
        let run = session.sh(&link(target)).start();
        let report = run.path().join("r.json");
        run.until("the guardian's report", || report.exists());
        run.finish().assert_nothing_left();
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret\n");
    assert!(!created.exists());
    // A file of the user's own is appended to, and belongs to the user.
    for failpoint in ["", "kill:teardown"] {
        let session = summarizing().env("CGRUN_FAILPOINT", failpoint);
        let run = session.sh("mkdir out; sleep 900 &").start();
        let summary = run.path().join("out/summary");
        run.until("the summary", || std::fs::read_to_string(&summary).is_ok_and(|it| !it.is_empty()));
        let run = run.finish();
        run.assert_nothing_left();
        assert!(run.read("out/summary").contains("### cgrun: "));
        assert_eq!(std::fs::metadata(&summary).unwrap().uid(), NOBODY);
    }
}

/// As `sudo -E` passes it on. The user could have put a link there.
#[test]
fn root_keeps_no_logs_in_the_state_directory_of_a_user() {
    let session = Session::new().config("[services.web]\ncommand = ['sleep', '1000']\n");
    let [home, state, target] = ["home", "users-state", "target"].map(|name| session.path().join(name));
    for directory in [&home, &state, &target] {
        std::fs::create_dir(directory).unwrap();
    }
    std::os::unix::fs::symlink(&target, state.join("cgrun")).unwrap();
    std::os::unix::fs::chown(&state, Some(65534), Some(65534)).unwrap();
    let run = session.env("XDG_STATE_HOME", &state).env("HOME", &home).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(std::fs::read_dir(run.path().join("target")).unwrap().count(), 0);
    assert!(run.path().join("home/.local/state/cgrun/logs").exists());
}
