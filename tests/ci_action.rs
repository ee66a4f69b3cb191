//! `action.yml`, by the script that it runs on a GitHub runner.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Finished, Session, cgrun_program, installed};

/// Packs a program that is cgrun, as `scripts/dist` does, without the size of a debug build.
const PACK: &str = r#"
import os, sys, tarfile, zipfile

program = sys.argv[1]
os.chmod(program, 0o755)
with tarfile.open("cgrun.tar.gz", "w:gz") as archive:
    archive.add(program, "cgrun-0.1.0/cgrun")
info = "cgrun-0.1.0.dist-info"
with zipfile.ZipFile("cgrun-0.1.0-py3-none-any.whl", "w") as wheel:
    wheel.write(program, "cgrun-0.1.0.data/scripts/cgrun")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: cgrun\nVersion: 0.1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
"#;

/// A session in which the inputs of the action can be set.
fn action() -> Session {
    let program = format!("#!/bin/sh\nexec {} \"$@\"\n", cgrun_program().display());
    let session = Session::new().file("cgrun", program).file("pack.py", PACK);
    let status = Command::new("python3").args(["pack.py", "cgrun"]).current_dir(session.path()).status();
    assert!(status.unwrap().success());
    let directory = session.path().to_path_buf();
    std::fs::set_permissions(directory.join("cgrun"), PermissionsExt::from_mode(0o755)).unwrap();
    let python = installed("target/recipes/venv/bin");
    session
        .env("PATH", format!("{}:{}", python.display(), std::env::var("PATH").unwrap()))
        .env("RUNNER_TEMP", directory.join("temp"))
        .env("GITHUB_PATH", directory.join("path"))
        .env("GITHUB_ACTION_PATH", "/nonexistent")
        .env("SCRIPT", installed("scripts/action"))
}

fn inputs(session: Session, archive: &str, wheel: &str, checksum: &str) -> Session {
    session.env("ACTION_ARCHIVE", archive).env("ACTION_WHEEL", wheel).env("ACTION_CHECKSUM", checksum)
}

fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_string()
}

fn bin(run: &Finished) -> PathBuf {
    PathBuf::from(run.read("path").trim_end())
}

/// Runs the steps of the action one after another.
const STEPS: [&str; 3] = [
    "bash",
    "-ec",
    "\"$SCRIPT\" install; PATH=$(cat path):$PATH; cgrun --version >version; exec \"$SCRIPT\" run",
];

#[test]
fn an_archive_is_installed_and_runs_the_script() {
    let session = action();
    let checksum = sha256(&session.path().join("cgrun.tar.gz"));
    let session = inputs(session, "cgrun.tar.gz", "", &checksum);
    let script = "echo \"in $CGRUN_LEAF\"\nsleep 905 &\nfalse | true\n";
    let run =
        session.env("ACTION_RUN", script).env("ACTION_ARGS", "--on-leak fail\n-v").start_through(&STEPS);
    let run = run.finish();
    run.assert_said("used by").assert_nothing_left();
    assert!(run.stdout().contains("in command"), "{}", run.stdout());
    // `-o pipefail` makes the script fail.
    run.assert_code(1).assert_said("(sleep 905)");
    assert!(bin(&run).ends_with("temp/cgrun/bin"), "{}", run.read("path"));
}

#[test]
fn a_wheel_is_installed_beside_the_python_of_the_job() {
    let session = inputs(action(), "", "cgrun-0.1.0-py3-none-any.whl", "");
    let run = session.env("ACTION_RUN", "exit 7").env("ACTION_ARGS", "").start_through(&STEPS).finish();
    run.assert_code(7).assert_nothing_left();
    let found: Vec<_> = std::fs::read_dir(bin(&run)).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(found, ["cgrun"]);
}

#[test]
fn what_is_not_the_expected_file_is_refused() {
    let wrong = "0".repeat(64);
    let cases = [
        ("cgrun.tar.gz", &*wrong, "has the SHA-256"),
        ("cgrun.tar.gz", "", "is not an archive"),
        ("missing.tar.gz", "", "cannot read missing.tar.gz"),
        ("https://127.0.0.1:1/cgrun.tar.gz", "", "needs the input checksum"),
        ("https://127.0.0.1:1/cgrun.tar.gz", &*wrong, "cannot download"),
    ];
    for (archive, checksum, message) in cases {
        let session = action();
        // It is cut off.
        let packed = session.path().join("cgrun.tar.gz");
        std::fs::File::options().write(true).open(packed).unwrap().set_len(60).unwrap();
        let run = inputs(session, archive, "", checksum).start_through(&STEPS).finish();
        run.assert_code(1);
        assert!(
            run.stdout().contains("::error title=cgrun::") && run.stdout().contains(message),
            "{}",
            run.stdout()
        );
        assert!(!run.path().join("path").exists());
    }
}

#[test]
fn an_input_cannot_print_workflow_commands() {
    let name = "100%\r\n::set-env name=PATH::x";
    let cases = [(name, "", ""), ("", name, ""), ("cgrun.tar.gz", "", name)];
    Session::new();
    for (archive, wheel, checksum) in cases {
        let run = inputs(action(), archive, wheel, checksum).start_through(&STEPS).finish();
        run.assert_code(1);
        let said = run.stdout() + &run.stderr();
        assert!(said.contains("100%25%0D%0A::set-env name=PATH::x"), "{said}");
        assert!(!said.lines().any(|line| line.starts_with("::set-env")), "{said}");
    }
}

#[test]
fn a_wheel_that_pip_refuses_fails_the_step_in_words() {
    let session = action().file("cgrun-0.1.0-py3-none-any.whl", "cut off");
    let run = inputs(session, "", "cgrun-0.1.0-py3-none-any.whl", "").start_through(&STEPS).finish();
    run.assert_code(1);
    assert!(run.stdout().contains("::error title=cgrun::pip cannot install"), "{}", run.stdout());
}

/// A runner's host as far as `action delegate` sees it: without a cgroup until a service manager is started.
const CGRUN_WITHOUT_MANAGER: &str = "#!/bin/sh\n[ \"$1\" != doctor ] || exec echo containment tree\n\
    [ -e manager ] || { echo 'cgrun: no cgroup here' >&2; exit 125; }\n";
const BOOTED_WITH_SYSTEMD: &str =
    "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec \"$SCRIPT\" delegate";

fn delegated(sudo: &str) -> Finished {
    let mut session = action().file("temp/cgrun/bin/cgrun", CGRUN_WITHOUT_MANAGER).file("bin/sudo", sudo);
    for name in ["systemctl", "loginctl"] {
        let program = "#!/bin/sh\necho \"${0##*/} $*\" >>called\n[ \"$1\" != start ] || touch manager\n";
        session = session.file(&format!("bin/{name}"), program);
    }
    let directory = session.path().to_path_buf();
    for name in ["temp/cgrun/bin/cgrun", "bin/sudo", "bin/systemctl", "bin/loginctl"] {
        std::fs::set_permissions(directory.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", directory.join("bin").display(), std::env::var("PATH").unwrap());
    let session = session.env("PATH", path);
    session.start_through(&["unshare", "--mount", "sh", "-c", BOOTED_WITH_SYSTEMD]).finish()
}

#[test]
fn the_action_starts_a_service_manager_and_changes_nothing_else() {
    let run = delegated("#!/bin/sh\nshift\nexec \"$@\"\n");
    run.assert_code(0);
    assert_eq!(run.read("called"), "systemctl start user@0.service\n");
    assert!(run.stdout().contains("sudo systemctl stop user@0.service"), "{}", run.stdout());
    assert!(!run.stdout().contains("::warning"), "{}", run.stdout());
}

#[test]
fn the_action_says_why_there_is_no_service_manager() {
    let run = delegated("#!/bin/sh\nprintf 'sudo: a password is required\\n100%%\\n' >&2\nexit 1\n");
    run.assert_code(0);
    let warning = "::warning title=cgrun::cannot start user@0.service, so the sessions get no cgroup: \
        sudo: a password is required%0A100%25\n";
    assert!(run.stdout().contains(warning), "{}", run.stdout());
    assert!(run.stdout().contains("containment tree"), "{}", run.stdout());
}
