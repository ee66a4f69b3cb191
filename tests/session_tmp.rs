//! `--tmp session`: a temporary directory that goes with the session.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal::SIGKILL;
use serde_json::Value;

use crate::containments::Host;
use crate::fixtures::{JSON, give_to_nobody};
use crate::harness::{Finished, OwnHost, Session, helpers, python_program};

const TMP: [&str; 2] = ["--tmp", "session"];

everywhere!(what_is_left_in_it_goes_with_the_session, a_killed_supervisor_leaves_it_to_its_guardian,);

/// The directory that a run has printed first.
fn directory(run: &Finished) -> PathBuf {
    PathBuf::from(run.stdout().lines().next().expect("no output"))
}

fn directory_in(file: &str) -> PathBuf {
    PathBuf::from(file.trim())
}

fn assert_gone(path: &Path) {
    assert!(path.symlink_metadata().is_err(), "{} is still there", path.display());
}

fn report(run: &Finished) -> Value {
    serde_json::from_str(&run.read("report.json")).unwrap()
}

fn set_attribute(flag: &str, path: &Path) {
    let status =
        Command::new("python3").arg(helpers().join("attributes.py")).arg(flag).arg(path).status().unwrap();
    assert!(status.success(), "the file system has no attributes");
}

fn has_attribute(path: &Path) -> bool {
    let output = Command::new("lsattr").arg("-d").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().contains('i')
}

fn what_is_left_in_it_goes_with_the_session(host: Host) {
    let python = python_program("python3");
    let script = format!(
        "echo $TMPDIR; mktemp; mktemp -d; {python} -c 'import tempfile; print(tempfile.mkdtemp())'; \
         stat -c %a $TMPDIR"
    );
    let run = host.run(Session::new().options(TMP).sh(&script));
    run.assert_code(0).assert_nothing_left();
    let (path, output) = (directory(&run), run.stdout());
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("cgrun-") && path.parent() == Some(Path::new("/tmp")), "{}", path.display());
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[1..4].iter().all(|line| Path::new(line).starts_with(&path)), "{output}");
    assert_eq!(lines[4], "700");
    assert_gone(&path);
}

#[test]
fn without_the_option_nothing_changes() {
    let run = Session::new().options(JSON).sh("echo ${TMPDIR-none}").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), format!("{}\n", std::env::var("TMPDIR").unwrap_or("none".into())));
    assert_eq!(report(&run)["tmp"], Value::Null);
}

#[test]
fn services_have_it_too_and_variables_that_are_set_name_it() {
    let config = "[session]\ntmp = 'session'\n[services.one]\nready = { log = 'ready' }\n\
        command = ['sh', '-c', 'echo $TMPDIR >from-service; echo ready; exec sleep 900']\n";
    let session = Session::new().config(config).env("TMP", "/tmp");
    let run = session.sh("echo $TMPDIR; echo $TMP; echo ${TEMP-none}").run();
    run.assert_code(0).assert_nothing_left();
    let path = directory(&run);
    assert_eq!(run.stdout(), format!("{0}\n{0}\nnone\n", path.display()));
    assert_eq!(directory_in(&run.read("from-service")), path);
    assert_gone(&path);
}

#[test]
fn it_is_kept_on_failure_and_its_path_is_said() {
    Session::new();
    let run = |options: &[&str], script: &str| {
        let session = Session::again().options(TMP).options(JSON).options(options);
        let run = session.sh(&format!("echo $TMPDIR; echo tea >$TMPDIR/file; {script}")).run();
        run.assert_nothing_left();
        run
    };
    for (keep, script, is_kept) in [
        ("on_failure", "exit 3", true),
        ("on-failure", "true", false),
        ("always", "true", true),
        ("never", "exit 3", false),
    ] {
        let run = run(&["--keep-tmp", keep], script);
        let (path, tmp) = (directory(&run), &report(&run)["tmp"]);
        assert_eq!(tmp["path"], path.to_str().unwrap());
        assert_eq!((&tmp["kept"], &tmp["problem"]), (&Value::Bool(is_kept), &Value::Null), "{keep}");
        if is_kept {
            run.assert_said(&format!("kept the session's temporary directory {}", path.display()));
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "tea\n");
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            run.assert_silent();
            assert_eq!((&tmp["removed_files"], &tmp["removed_bytes"]), (&1.into(), &4.into()));
            assert_gone(&path);
        }
    }
}

fn a_killed_supervisor_leaves_it_to_its_guardian(host: Host) {
    let session = Session::new().options(TMP);
    let run = host.start(session.sh("mktemp; echo $TMPDIR >running; exec sleep 1000"));
    run.until_file("running")
        .until("a line", || !std::fs::read(run.path().join("running")).unwrap().is_empty());
    let path = directory_in(&std::fs::read_to_string(run.path().join("running")).unwrap());
    run.signal(SIGKILL);
    let run = run.finish();
    run.assert_signal(SIGKILL).assert_nothing_left();
    // The guardian removes it after the last process.
    crate::harness::until("its removal", || path.symlink_metadata().is_err());
}

#[test]
fn cgrun_can_die_at_any_step_of_the_end() {
    Session::new();
    for place in ["kill:teardown", "kill:after remove", "panic:verified", "kill:reported"] {
        let session = Session::again().options(TMP).env("CGRUN_FAILPOINT", place);
        let run = session.sh("mktemp; echo $TMPDIR >name").run();
        assert!(!run.status.success(), "{place}");
        let path = directory_in(&run.read("name"));
        crate::harness::until("its removal", || path.symlink_metadata().is_err());
        run.assert_nothing_left();
    }
}

#[test]
fn a_sweep_removes_it_if_both_were_killed() {
    let _host = OwnHost::enter();
    for user in [&[][..], &["--user", "nobody"]] {
        let session = Session::new().options(TMP).options(user.iter().copied());
        give_to_nobody(&session);
        let run = session.sh("mktemp; echo $TMPDIR >name; mv name running; exec sleep 1000").start();
        run.until_file("running");
        let run = run.kill_with_guardian();
        let path = directory_in(&run.read("running"));
        assert!(path.is_dir());
        run.cgrun(&["sweep"]).assert_code(0).assert_said("ended session");
        run.assert_nothing_left();
        assert_gone(&path);
    }
}

#[test]
fn a_hundred_thousand_files_are_removed_in_bounded_time() {
    let session = Session::new().options(TMP).options(JSON).options(["-v"]);
    let run = session.helper("many_files.py", &["100000"]).run();
    run.assert_code(0).assert_nothing_left();
    let report = report(&run);
    assert_eq!(report["tmp"]["removed_files"], 100_000);
    assert_eq!(report["tmp"]["removed_bytes"], 400_000);
    let ended = report["command"]["gone_at_seconds"].as_f64().unwrap();
    let took = report["session"]["duration_seconds"].as_f64().unwrap() - ended;
    eprintln!("removing 100,000 files took {took:.2} s");
    assert!(took < 20.0, "{took} s");
    assert_gone(Path::new(report["tmp"]["path"].as_str().unwrap()));
}

#[test]
fn its_depth_costs_neither_descriptors_nor_the_stack() {
    let run = Session::new().options(TMP).options(JSON).helper("deep.py", &["3000"]).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    let report = report(&run);
    assert_eq!(report["tmp"]["removed_files"], 3000);
    assert_gone(Path::new(report["tmp"]["path"].as_str().unwrap()));
}

#[test]
fn no_link_in_it_leads_the_removal_outside() {
    let outside = tempfile::tempdir().unwrap();
    let (file, directory_outside) = (outside.path().join("file"), outside.path().join("directory"));
    std::fs::write(&file, "tea\n").unwrap();
    std::fs::create_dir(&directory_outside).unwrap();
    std::fs::write(directory_outside.join("in"), "tea\n").unwrap();
    let hard = outside.path().join("hard");
    std::fs::write(&hard, "tea\n").unwrap();
    let script = "echo $TMPDIR; cd $TMPDIR; mkdir a; ln -s $OUTSIDE/file a/file; ln -s $OUTSIDE/directory a; \
        ln -s $OUTSIDE there; ln $OUTSIDE/hard a/hard; mkfifo pipe";
    let run = Session::new().options(TMP).env("OUTSIDE", outside.path()).sh(script).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_gone(&directory(&run));
    for path in [file, directory_outside.join("in"), hard] {
        assert_eq!(std::fs::read_to_string(path).unwrap(), "tea\n");
    }
}

#[test]
fn what_is_immutable_goes_unless_it_has_another_name() {
    let outside = tempfile::tempdir_in("/tmp").unwrap();
    let hard = outside.path().join("hard");
    std::fs::write(&hard, "tea\n").unwrap();
    let script = "echo $TMPDIR; cd $TMPDIR; mkdir -p locked/a grows empty; touch locked/a/file grows/file log; \
        ln $OUTSIDE/hard locked/hard; set_it() { python3 $HELPERS/attributes.py \"$@\"; }; set_it a log grows && \
        set_it i locked/a/file locked/a empty locked && touch $OUTSIDE/done";
    let run = Session::new().options(TMP).env("OUTSIDE", outside.path()).sh(script).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(outside.path().join("done").exists());
    assert_gone(&directory(&run));
    assert_eq!(std::fs::read_to_string(&hard).unwrap(), "tea\n");
    // One that was made immutable under its other name stays so.
    let script =
        "echo $TMPDIR; ln $OUTSIDE/hard $TMPDIR/hard; python3 $HELPERS/attributes.py i $OUTSIDE/hard";
    let run = Session::again().options(TMP).env("OUTSIDE", outside.path()).sh(script).run();
    let path = directory(&run);
    run.assert_code(0).assert_said(&format!(
        "cannot remove the session's temporary directory {}: hard: Operation not permitted",
        path.display()
    ));
    assert!(has_attribute(&hard));
    set_attribute("-", &hard);
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn what_is_closed_to_its_own_user_goes() {
    let session = Session::new().options(TMP).options(["--user", "nobody"]);
    give_to_nobody(&session);
    let script = "stat -c %U $TMPDIR; echo $TMPDIR >name; cd $TMPDIR; mkdir -p a/b c/d; touch a/b/file c/d/file; \
        chmod 0 a/b/file a/b a; chmod 555 c/d; chmod 100 c; chmod 0 .";
    let run = session.sh(script).run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert_eq!(run.stdout(), "nobody\n");
    assert_gone(&directory_in(&run.read("name")));
}

#[test]
fn what_the_user_of_the_session_cannot_remove_stays_and_is_said() {
    let session = Session::new().options(TMP).options(["--user", "nobody"]);
    give_to_nobody(&session);
    let run = session
        .sh("echo $TMPDIR >name; mkdir $TMPDIR/a; mv name running; until [ -e go ]; do sleep 0.02; done");
    let run = run.start();
    run.until_file("running");
    let path = directory_in(&std::fs::read_to_string(run.path().join("running")).unwrap());
    std::fs::create_dir(path.join("a/of-root")).unwrap();
    std::fs::write(path.join("a/of-root/file"), "tea\n").unwrap();
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(0).assert_said(": a/of-root/file: Permission denied").assert_nothing_left();
    assert_eq!(std::fs::read_to_string(path.join("a/of-root/file")).unwrap(), "tea\n");
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn what_is_mounted_in_it_stays_and_is_said() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "tea\n").unwrap();
    let script = "echo $TMPDIR >name; mkdir -p $TMPDIR/a/mounted; touch $TMPDIR/other; mv name running; \
        until [ -e go ]; do sleep 0.02; done";
    let run = Session::new().options(TMP).options(JSON).sh(script).start();
    run.until_file("running");
    let path = directory_in(&std::fs::read_to_string(run.path().join("running")).unwrap());
    let mounted = path.join("a/mounted");
    let none: Option<&str> = None;
    mount(Some(outside.path()), &mounted, none, MsFlags::MS_BIND, none).unwrap();
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    let is_untouched = std::fs::read_to_string(outside.path().join("file")).is_ok_and(|it| it == "tea\n");
    umount2(&mounted, MntFlags::MNT_DETACH).unwrap();
    assert!(is_untouched && !path.join("other").exists());
    run.assert_code(0).assert_said(": a/mounted: another file system is mounted there").assert_nothing_left();
    let tmp = &report(&run)["tmp"];
    assert_eq!(tmp["problem"], "a/mounted: another file system is mounted there");
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_link_in_its_place_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "tea\n").unwrap();
    let run = Session::new().options(TMP).env("OUTSIDE", outside.path());
    let run = run.sh("echo $TMPDIR; rmdir $TMPDIR; ln -s $OUTSIDE $TMPDIR").run();
    run.assert_code(0).assert_said("something else is in its place").assert_nothing_left();
    assert!(outside.path().join("file").exists());
    std::fs::remove_file(directory(&run)).unwrap();
}

#[test]
fn a_session_can_remove_its_own() {
    let run = Session::new().options(TMP).sh("echo $TMPDIR; rm -r $TMPDIR").run();
    run.assert_code(0).assert_silent().assert_nothing_left();
}

#[test]
fn what_changes_it_meanwhile_leads_nowhere_else() {
    let outside = tempfile::tempdir().unwrap();
    (0..50).for_each(|it| std::fs::write(outside.path().join(it.to_string()), "tea\n").unwrap());
    let session = Session::new().options(TMP);
    let script = format!(
        "python3 {}/many_files.py 10000 && echo $TMPDIR >name && mv name running; until [ -e go ]; do sleep 0.02; done",
        helpers().display()
    );
    let run = session.sh(&script).start();
    run.until_file("running");
    let path = directory_in(&std::fs::read_to_string(run.path().join("running")).unwrap());
    let mut disturber = Command::new("python3")
        .arg(helpers().join("disturb.py"))
        .args([&path, outside.path()])
        .current_dir(run.path())
        .spawn()
        .unwrap();
    run.until_file("disturbing");
    std::fs::write(run.path().join("go"), "").unwrap();
    let begin = Instant::now();
    let run = run.finish();
    assert!(begin.elapsed() < Duration::from_secs(40));
    run.assert_code(0);
    assert!(disturber.wait().unwrap().success());
    run.assert_nothing_left();
    assert!((0..50).all(|it| outside.path().join(it.to_string()).exists()));
    if path.exists() {
        run.assert_said("cannot remove the session's temporary directory");
        std::fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn each_shard_has_its_own() {
    let session = Session::new().options(TMP).options(["--shards", "3", "--private", "none"]);
    let run = session.sh("touch $TMPDIR/file; ls $TMPDIR; echo $TMPDIR >of-$CGRUN_SHARD").run();
    run.assert_code(0).assert_nothing_left();
    let mut paths: Vec<_> = (1..=3).map(|it| directory_in(&run.read(&format!("of-{it}")))).collect();
    paths.iter().for_each(|path| assert_gone(path));
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 3);
}

#[test]
fn it_is_in_the_private_one_if_there_is_one() {
    Session::new();
    let private = || Session::again().options(TMP).options(["--private", "tmp"]);
    let run = private().sh("echo $TMPDIR; mktemp >/dev/null; ls /tmp").run();
    run.assert_code(0).assert_nothing_left();
    let name = directory(&run).file_name().unwrap().to_str().unwrap().to_string();
    assert!(run.stdout().lines().any(|line| line == name), "{}", run.stdout());
    let run = private().options(["--keep-tmp", "always"]).command(["touch", "ran"]).run();
    run.assert_code(125).assert_said("what is in a private /tmp cannot be kept");
    assert!(!run.path().join("ran").exists());
}

#[test]
fn a_directory_that_the_user_cannot_use_is_refused() {
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let session = Session::new().options(TMP).options(["--user", "nobody"]).env("TMPDIR", closed.path());
    give_to_nobody(&session);
    let run = session.command(["touch", "ran"]).run();
    run.assert_code(125).assert_said(&format!(
        "cannot make a temporary directory in {}: Permission denied; set TMPDIR",
        closed.path().display()
    ));
    run.assert_nothing_left();
    assert!(!run.path().join("ran").exists());
    assert_eq!(std::fs::read_dir(closed.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_to_which_the_user_cannot_write_is_enough() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let link = parent.path().join("link");
    symlink(parent.path(), &link).unwrap();
    let session = Session::new().options(TMP).options(["--user", "nobody"]).env("TMPDIR", &link);
    give_to_nobody(&session);
    let run = session.sh("echo $TMPDIR; mktemp; stat -c %U:%a $TMPDIR").run();
    run.assert_code(0).assert_silent().assert_nothing_left();
    assert!(run.stdout().ends_with("nobody:700\n"), "{}", run.stdout());
    assert_gone(&directory(&run));
}

#[test]
fn nothing_can_be_kept_that_is_not_there() {
    let run = Session::new().options(["--keep-tmp", "always"]).command(["touch", "ran"]).run();
    run.assert_code(125).assert_said("the session has no temporary directory of its own to keep");
    assert!(!run.path().join("ran").exists());
}
