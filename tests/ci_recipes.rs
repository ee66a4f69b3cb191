//! The recipes of `docs/ci.md`, executed in a project whose only test leaves a process behind.
//!
//! scripts/test installs what they need. A missing program fails the test.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{Finished, Session, cgrun_program, installed, python_program};

const PYTEST: &str =
    "import subprocess\n\n\ndef test_that_leaks():\n    subprocess.Popen(['sleep', '904'])\n";

const NODE: &str = "const { spawn } = require('node:child_process');\n\
    require('node:test')('leaks', () => spawn('sleep', ['904'], { detached: true, stdio: 'ignore' }).unref());\n";

const RUST: &str =
    "#[test]\nfn leaks() {\n    std::process::Command::new(\"sleep\").arg(\"904\").spawn().unwrap();\n}\n";

const MANIFEST: &str = "[package]\nname = \"leaks\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";

/// A project, in which the programs of the recipes are found.
fn project() -> Session {
    Session::new().file("test_leak.py", PYTEST).with_programs()
}

impl Session {
    fn with_programs(self) -> Self {
        let pytest =
            format!("#!/bin/sh\nexec {} -m pytest -p no:cacheprovider \"$@\"\n", python_program("python"));
        let session = self.file("bin/pytest", pytest);
        let bin = session.path().join("bin");
        std::fs::set_permissions(bin.join("pytest"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let tools = installed("target/recipes/venv/bin");
        let directories = [&bin, cgrun_program().parent().unwrap(), &tools].map(Path::to_path_buf);
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(directories.into_iter().chain(std::env::split_paths(&path))).unwrap();
        // They install pytest from the wheels that scripts/test has downloaded.
        session
            .env("PATH", path)
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", installed("target/recipes/wheels"))
    }

    /// Puts a recipe where its program looks for it.
    fn recipe(self, name: &str, path: &str) -> Self {
        self.file(path, recipe(name))
    }
}

fn recipe(name: &str) -> String {
    std::fs::read_to_string(installed("docs/examples/ci").join(name)).unwrap()
}

/// Everything that the run has printed. Some programs print to standard output what cgrun has printed to standard error.
fn said(run: &Finished) -> String {
    run.stdout() + &run.stderr()
}

#[track_caller]
fn assert_leak_named(run: &Finished) {
    let said = said(run);
    assert!(said.contains("leaked 1 process, found and stopped"), "{said}");
    assert!(said.contains("(sleep 904)"), "{said}");
    run.assert_nothing_left();
}

#[track_caller]
fn assert_test_named(run: &Finished) {
    assert!(said(run).contains("test_leak.py::test_that_leaks (call): pid "), "{}", said(run));
    assert_leak_named(run);
}

#[test]
fn make() {
    let run = project().recipe("Makefile", "Makefile").start_through(&["make", "test"]).finish();
    assert_test_named(run.assert_code(0));
}

#[test]
fn just() {
    let run = project().recipe("justfile", "justfile").start_through(&["just", "test", "-x"]).finish();
    assert_test_named(run.assert_code(0));
}

#[test]
fn npm_scripts() {
    let session = Session::new().file("leak.test.js", NODE).with_programs();
    let run = session.recipe("package.json", "package.json").start_through(&["npm", "test"]).finish();
    assert_leak_named(run.assert_code(0));
}

#[test]
fn a_cargo_alias() {
    let session = Session::new().file("Cargo.toml", MANIFEST).file("src/lib.rs", RUST).with_programs();
    let target = session.path().join("target");
    let session = session.recipe("cargo-config.toml", ".cargo/config.toml").env("CARGO_TARGET_DIR", target);
    let run = session.start_through(&["cargo", "contained", "--offline", "--lib"]).finish();
    assert_leak_named(run.assert_code(0));
}

/// A hook's output is shown only if the hook fails.
#[test]
fn pre_commit() {
    let session = project().recipe("pre-commit-config.yaml", ".pre-commit-config.yaml");
    let home = session.path().join("home");
    let script =
        "git init -q . && git add test_leak.py .pre-commit-config.yaml && exec pre-commit run --all-files";
    let run = session.env("PRE_COMMIT_HOME", home).start_through(&["sh", "-c", script]).finish();
    assert!(said(&run).contains("exit code: 121"), "{}", said(&run));
    assert_test_named(run.assert_code(1));
}

/// It installs pytest into an environment of its own, which is first in the PATH of the command.
#[test]
fn tox() {
    let run = project().recipe("tox.ini", "tox.ini").start_through(&["tox", "-q"]).finish();
    assert_test_named(run.assert_code(0));
}

/// Without an environment of its own, because that of tox has taken long enough.
#[test]
fn nox() {
    let session = project().recipe("noxfile.py", "noxfile.py");
    let run = session.start_through(&["nox", "--no-venv", "--no-install"]).finish();
    assert_test_named(run.assert_code(0));
}

#[test]
fn the_units_of_the_nightly_are_valid() {
    let mut session = Session::new();
    for name in ["cgrun-nightly.service", "cgrun-nightly.timer"] {
        let program = cgrun_program();
        session = session.file(name, recipe(name).replace("/usr/local/bin/cgrun", program.to_str().unwrap()));
    }
    let verify = "systemd-analyze verify --man=no ./cgrun-nightly.service ./cgrun-nightly.timer";
    let run = session.start_through(&["sh", "-c", verify]).finish();
    run.assert_code(0).assert_silent().assert_nothing_left();
}

/// The part of each CI's recipe that runs on its agent, by the agent's shell.
#[test]
fn the_commands_of_the_ci_services() {
    Session::new();
    for name in ["gitlab-ci.yml", "Jenkinsfile", "buildkite.yml", "circleci.yml"] {
        let text = recipe(name);
        let line = text.lines().find(|line| line.contains("pytest") && line.contains("--on-leak")).unwrap();
        let command = &line[line.find("exec cgrun").or(line.find("cgrun")).unwrap()..];
        let session = Session::again().file("test_leak.py", PYTEST).with_programs();
        let run = session.start_through(&["bash", "-ec", command.trim_end_matches('\'')]).finish();
        assert_test_named(run.assert_code(121));
        let junit = ["cgrun.xml", "results/cgrun.xml"].map(|it| run.path().join(it));
        assert!(junit.iter().any(|path| path.exists()), "{name}: no report");
    }
}

/// The runner replaces `{0}` with the path of the script.
#[test]
fn a_step_of_github_actions() {
    let text = recipe("github-actions.yml");
    let shell = text.lines().find_map(|line| line.trim().strip_prefix("shell: ")).unwrap();
    let script = text.rsplit("run: |\n").next().unwrap();
    let session = project().file("step.sh", script.replace("          ", ""));
    let words: Vec<_> = shell.split(' ').map(|word| if word == "{0}" { "step.sh" } else { word }).collect();
    let run = session.env("GITHUB_ACTIONS", "true").start_through(&words).finish();
    run.assert_code(0).assert_said("leaked 2 processes").assert_said("python3 -m http.server 8000");
    run.assert_said("(sleep 904)").assert_nothing_left();
}
