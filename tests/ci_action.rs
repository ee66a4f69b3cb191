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
