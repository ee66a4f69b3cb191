//! `--private tmp,shm`: /tmp, /var/tmp and /dev/shm of the session's own.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::containments::Host;
use crate::fixtures::{JSON, give_to_nobody};
use crate::harness::{OwnHost, Session, python_program};

const PRIVATE: [&str; 2] = ["--private", "tmp,shm"];
const DIRECTORIES: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

everywhere!(what_is_left_in_them_goes_with_the_session, the_working_directory_is_the_hosts,);

/// A name that nothing else has, which the session's directory has too.
fn unique(session: &Session) -> String {
    format!("left-{}", session.path().file_name().unwrap().to_str().unwrap())
}

fn exists_on_host(name: &str) -> bool {
    DIRECTORIES.iter().any(|directory| Path::new(directory).join(name).exists())
}

fn what_is_left_in_them_goes_with_the_session(host: Host) {
    let session = Session::new().options(PRIVATE);
    let name = unique(&session);
    let script = format!(
        "for it in /tmp /var/tmp /dev/shm; do echo x >$it/{name} && cat $it/{name}; done; touch here"
    );
    let run = host.run(session.sh(&script));
    run.assert_code(0).assert_nothing_left();
    assert!(run.stdout().ends_with("x\nx\nx\n"), "{}", run.stdout());
    assert!(!exists_on_host(&name));
    assert!(run.path().join("here").exists());
}

fn the_working_directory_is_the_hosts(host: Host) {
    let session = Session::new().options(PRIVATE).options(JSON).file("before", "tea\n");
    let run = host.run(session.sh("cat before; pwd >after; ls -d /tmp/*/ || :"));
    run.assert_code(0).assert_nothing_left();
    assert!(run.stdout().contains("tea\n"), "{}", run.stdout());
    assert_eq!(Path::new(run.read("after").trim()), run.path());
    assert!(run.read("report.json").contains("\"outcome\""));
}

#[test]
fn the_files_of_others_are_not_there() {
    let other = tempfile::tempdir_in("/tmp").unwrap();
    // Otherwise the command would name it.
    let script = format!("test ! -e /tm''p/{}", other.path().file_name().unwrap().to_str().unwrap());
    Session::new().options(PRIVATE).sh(&script).run().assert_code(0).assert_nothing_left();
}

#[test]
fn what_a_variable_or_an_argument_names_is_there() {
    let other = tempfile::tempdir_in("/tmp").unwrap();
    let (file, list) = (other.path().join("file"), other.path().join("bin"));
    std::fs::write(&file, "tea\n").unwrap();
    std::fs::create_dir(&list).unwrap();
    let read = |session: Session| {
        let run = session.options(PRIVATE).run();
        run.assert_code(0).assert_nothing_left();
        assert!(run.stdout().ends_with("tea\n"), "{}", run.stdout());
    };
    Session::new();
    read(Session::again().command(["cat", file.to_str().unwrap()]));
    read(Session::again().env("CACHE", &file).sh("cat $CACHE"));
    let list = format!("{}:{}", std::env::var("PATH").unwrap(), other.path().display());
    read(Session::again().env("SEARCH_PATH", list).sh("cat ${SEARCH_PATH##*:}/file"));
}

/// A virtual environment is more than the program that a link in it leads to.
#[test]
fn a_program_that_is_a_link_has_everything_beside_it() {
    let other = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir_all(other.path().join("venv/bin")).unwrap();
    std::fs::write(other.path().join("venv/pyvenv.cfg"), "tea\n").unwrap();
    let program = other.path().join("venv/bin/cat");
    symlink("/bin/cat", &program).unwrap();
    let run = Session::new()
        .options(PRIVATE)
        .sh(&format!("{} $(dirname {0})/../pyvenv.cfg", program.display()))
        .run();
    run.assert_code(0).assert_nothing_left();
    assert!(run.stdout().ends_with("tea\n"), "{}", run.stdout());
}

/// The directory that is kept keeps its rights.
#[test]
fn what_another_user_cannot_reach_stays_so() {
    let other = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir(other.path().join("keys")).unwrap();
    std::fs::write(other.path().join("keys/key"), "").unwrap();
    std::fs::set_permissions(other.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let session = Session::new()
        .options(PRIVATE)
        .options(["--user", "nobody"])
        .env("KEY", other.path().join("keys/key"));
    give_to_nobody(&session);
    let run = session.sh("ls -d ${KEY%/*/*}; cat $KEY; echo $?").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), format!("{}\n1\n", other.path().display()));
}

#[test]
fn what_only_a_service_names_is_there() {
    let other = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::write(other.path().join("file"), "tea\n").unwrap();
    let config = format!(
        "[services.one]\ncommand = ['sh', '-c', 'cat $FILE; exec sleep 1000']\nready = {{ log = 'tea' }}\n\
         env = {{ FILE = '{}/file' }}\n",
        other.path().display()
    );
    let run = Session::new().options(PRIVATE).config(&config).command(["true"]).run();
    run.assert_code(0).assert_nothing_left();
}

#[test]
fn a_missing_directory_that_tmpdir_names_is_made_for_the_user() {
    let session = Session::new().options(PRIVATE).options(["--user", "nobody"]);
    give_to_nobody(&session);
    let missing = Path::new("/tmp").join(unique(&session)).join("a/b");
    let run = session.env("TMPDIR", &missing).sh("mktemp >/dev/null && stat -c %U:%a $TMPDIR").run();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stdout(), "nobody:700\n");
    assert!(!missing.exists());
}

#[test]
fn the_directory_that_tmpdir_names_is_there_and_empty() {
    let other = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::write(other.path().join("old"), "").unwrap();
    Session::new();
    for user in [&[][..], &["--user", "nobody"]] {
        let session =
            Session::again().options(PRIVATE).options(user.iter().copied()).env("TMPDIR", other.path());
        give_to_nobody(&session);
        let run = session.sh("ls $TMPDIR | grep -v [.]leaks$; mktemp >/dev/null && echo made").run();
        run.assert_code(0).assert_nothing_left();
        assert!(run.stdout().ends_with("made\n") && !run.stdout().contains("old"), "{}", run.stdout());
    }
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
}

#[test]
fn a_segment_of_shared_memory_goes_with_a_killed_process() {
    let session = Session::new().options(PRIVATE);
    let name = unique(&session);
    let program = format!(
        "import os, signal\nfrom multiprocessing import shared_memory\n\
         shared_memory.SharedMemory('{name}', create=True, size=1 << 20)\n\
         print(sorted(os.listdir('/dev/shm')))\nos.kill(0, signal.SIGKILL)"
    );
    let run = session.sh(&format!("exec setsid {} -uc \"{program}\"", python_program("python3"))).run();
    run.assert_nothing_left();
    assert!(run.stdout().contains(&name), "{}{}", run.stdout(), run.stderr());
    assert!(!exists_on_host(&name));
}

#[test]
fn a_mount_made_inside_is_not_seen_outside() {
    let script = "mkdir mounted && mount -t tmpfs none mounted && touch mounted/in running; \
                  until [ -e go ]; do sleep 0.02; done";
    // As under systemd: what is mounted on one side is also mounted on the other.
    let nothing: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SHARED, nothing).unwrap();
    let run = Session::new().options(PRIVATE).sh(script).start();
    run.until_file("running");
    let is_mounted =
        || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(run.path().to_str().unwrap());
    assert!(!is_mounted() && !run.path().join("mounted/in").exists());
    std::fs::write(run.path().join("go"), "").unwrap();
    run.finish().assert_code(0).assert_nothing_left();
}

#[test]
fn a_full_private_tmp_hurts_nobody_else() {
    Session::new();
    let config = "[private]\ntmp = true\nshm = true\nsize = '4MiB'\n";
    let fill = "for it in /tmp /var/tmp /dev/shm; do head -c 5M /dev/zero >$it/full && exit 1; done; \
                touch running; until [ -e go ]; do sleep 0.02; done";
    let run = Session::again().config(config).sh(fill).start();
    run.until_file("running");
    let beside =
        Session::again().config(config).sh("head -c 3M /dev/zero >/tmp/half && wc -c </tmp/half").run();
    beside.assert_code(0);
    assert_eq!(beside.stdout(), "3145728\n");
    let on_host = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    std::fs::write(on_host.path(), vec![0; 8 << 20]).unwrap();
    std::fs::write(run.path().join("go"), "").unwrap();
    let run = run.finish();
    run.assert_code(0).assert_nothing_left();
    assert_eq!(run.stderr().matches("No space left on device").count(), 3, "{}", run.stderr());
}

#[test]
fn nothing_of_a_killed_session_is_left() {
    let _host = OwnHost::enter();
    let session = Session::new().options(PRIVATE);
    let name = unique(&session);
    let run = session.sh(&format!("touch /tmp/{name} running; exec sleep 1000")).start();
    run.until_file("running");
    let run = run.kill_with_guardian();
    run.cgrun(&["sweep"]).assert_said("ended session");
    run.assert_nothing_left();
    assert!(!exists_on_host(&name));
}

#[test]
fn an_ordinary_user_can_have_them() {
    let session = Session::new().options(["--private", "all"]);
    let name = unique(&session);
    let run = session
        .sh(&format!("id -u; touch /tmp/{name} /dev/shm/{name}"))
        .start_launched(&["unprivileged"])
        .finish();
    run.assert_code(0).assert_nothing_left();
    assert!(!exists_on_host(&name));
    assert_eq!(run.stdout(), "65534\n");
}

#[test]
fn what_would_be_lost_is_refused() {
    Session::new();
    let report = Session::again().options(PRIVATE).options(["--report", "json=/tmp/cgrun-report.json"]);
    let run = report.command(["touch", "ran"]).run();
    run.assert_code(125).assert_said(
        "/tmp/cgrun-report.json would be lost in the private /tmp; name one outside, or in a directory there that exists",
    );
    assert!(!run.path().join("ran").exists() && !Path::new("/tmp/cgrun-report.json").exists());
    let run = Session::again().options(PRIVATE).sh("true").start_through(&[
        "sh",
        "-c",
        "cd /tmp; exec \"$CGRUN\" \"$@\"",
        "sh",
    ]);
    run.finish().assert_code(125).assert_said("/tmp cannot be private while it is the working directory");
}
