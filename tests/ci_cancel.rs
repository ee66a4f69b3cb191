//! CI runners cancel a step. `tests/helpers/ci_runner.py` does what the sources of GitHub's, Jenkins' and GitLab's runners do.
//! Nothing is left, the tests are asked at once, and the step's log has the report.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Finished, Session, cgrun_program, helpers, python_program};

/// The step's entry process is cgrun, as with `shell: cgrun --no-config bash -e {0}`.
const AS_SHELL: [&str; 5] = ["cgrun", "--no-config", "bash", "-e", "step.sh"];
/// It is a shell, as without `shell:`.
const IN_SHELL: [&str; 3] = ["bash", "-e", "step.sh"];

/// GitHub's runner sends SIGTERM after this time.
const WINDOW: Duration = Duration::from_millis(7500);
/// Far longer than a signal takes, even on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Ignore what they are asked, and leave the process tree. One holds the step's output, and the other one has no environment.
const DEAF_DAEMONS: &str = "setsid -f sh -c 'trap \"\" INT TERM; exec sleep 901'\n\
    setsid -f env -i sh -c 'trap \"\" INT TERM; exec sleep 902' >/dev/null 2>&1\n";

/// A test that notes when it is asked to stop.
const TEST: &str =
    "trap 'date +%s.%N >asked; exit 1' INT TERM; touch running; while :; do sleep 903 & wait; done";

/// The same for pytest.
const PYTEST: &str = r#"
import pathlib, time

def test_that_takes_long():
    try:
        pathlib.Path("running").touch()
        while True:
            # A signal right before a sleep is handled only after it.
            time.sleep(0.02)
    except KeyboardInterrupt:
        pathlib.Path("asked").write_text(str(time.time()))
        raise
"#;

/// The same for a program that has a child, and keeps waiting if that is killed.
const PYTHON: &str = r#"
import pathlib, signal, subprocess, sys, time

def asked(*_):
    pathlib.Path("asked").write_text(str(time.time()))
    sys.exit(1)

signal.signal(signal.SIGTERM, asked)
child = subprocess.Popen(["sleep", "903"])
pathlib.Path("running").touch()
child.wait()
time.sleep(600)
"#;

/// The same for node.
const NODE: &str = r#"
const fs = require("fs");
process.on("SIGINT", () => { fs.writeFileSync("asked", String(Date.now() / 1000)); process.exit(1); });
fs.writeFileSync("running", "");
setTimeout(() => {}, 600000);
"#;

/// Two services, of which the second one stops first. Each takes its time.
const SLOW_SERVICES: &str = r#"
[services.database]
command = ["python3", "{helpers}/takes_time.py", "1.5", "database"]
ready = { command = ["test", "-s", "database"] }

[services.backend]
command = ["python3", "{helpers}/takes_time.py", "1.5", "backend"]
ready = { command = ["test", "-s", "backend"] }
depends_on = ["database"]
"#;

/// A step that was cancelled.
struct Cancelled {
    run: Finished,
    done: Value,
}

impl Cancelled {
    fn by(runner: &str, session: Session, script: &str, entry: &[&str]) -> Self {
        let player = helpers().join("ci_runner.py");
        let path =
            format!("{}:{}", cgrun_program().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let launcher = [&["python3", player.to_str().unwrap(), runner, "40"], entry].concat();
        let session = session.file("step.sh", script).env("PATH", path);
        let summary = session.path().join("summary.md");
        let run = session.env("GITHUB_STEP_SUMMARY", summary).start_through(&launcher).finish();
        run.assert_code(0);
        let done: Value = serde_json::from_str(&run.read("cancel.json")).unwrap();
        let asked = std::fs::read_to_string(run.path().join("asked"));
        let asked = asked.ok().map(|it| it.trim().parse::<f64>().unwrap() - done["begin"].as_f64().unwrap());
        println!("{runner}: asked the tests after {asked:?} s, ended after {} s: {done}", done["seconds"]);
        Self { run, done }
    }

    fn log(&self) -> String {
        self.run.read("step.log")
    }

    #[track_caller]
    fn assert_logged(&self, text: &str) -> &Self {
        assert!(self.log().contains(text), "not in the log: {text}\n{}", self.log());
        self
    }

    /// From the first signal to the moment at which the test noted it.
    #[track_caller]
    fn assert_asked_at_once(&self) -> &Self {
        let asked = std::fs::read_to_string(self.run.path().join("asked"));
        let asked = asked.unwrap_or_else(|error| panic!("the test was not asked: {error}\n{}", self.log()));
        let asked: f64 = asked.trim().parse().unwrap();
        let took = asked - self.done["begin"].as_f64().unwrap();
        assert!(took < AT_ONCE.as_secs_f64(), "{took} s\n{}", self.log());
        self
    }

    /// The step ended after the runner's first signal, and nothing held its output or had to be killed.
    #[track_caller]
    fn assert_ended_in_order(&self) -> &Self {
        assert_eq!(self.done["signals"], serde_json::json!(["SIGINT"]), "{}\n{}", self.done, self.log());
        assert_eq!(self.done["held_output"], false, "{}", self.log());
        assert_eq!(self.done["orphans"], serde_json::json!([]), "{}", self.log());
        assert!(self.done["seconds"].as_f64().unwrap() < WINDOW.as_secs_f64(), "{}", self.done);
        self
    }

    #[track_caller]
    fn assert_daemons_reported(&self) -> &Self {
        self.assert_logged("leaked 2 processes, found and stopped");
        self.assert_logged("(sleep 901)").assert_logged("(sleep 902)")
    }
}

#[test]
fn github_cancels_a_step_whose_shell_is_cgrun() {
    let pytest = format!("{} -m pytest -q -p no:cacheprovider\n", python_program("python"));
    let session = Session::new().file("test_slow.py", PYTEST);
    let step = Cancelled::by("github", session, &(DEAF_DAEMONS.to_string() + &pytest), &AS_SHELL);
    step.assert_asked_at_once().assert_ended_in_order().assert_daemons_reported();
    step.assert_logged("KeyboardInterrupt");
    assert!(step.run.read("summary.md").contains("sleep 902"), "{}", step.run.read("summary.md"));
    step.run.assert_nothing_left();
}

#[test]
fn github_cancels_a_step_with_slow_services() {
    let script = "echo prepare\nexec cgrun sh test.sh\n";
    let session = Session::new().config(SLOW_SERVICES).file("test.sh", TEST);
    let step = Cancelled::by("github", session, script, &IN_SHELL);
    step.assert_asked_at_once().assert_ended_in_order();
    for service in ["database", "backend"] {
        let journal = step.run.read(service);
        assert_eq!(
            journal,
            "started\nSIGTERM\nended\n",
            "{service}: it was not given its time\n{}",
            step.log()
        );
    }
    step.run.assert_nothing_left();
}

#[test]
fn github_cancels_a_step_with_an_npm_chain() {
    let package = r#"{ "scripts": { "test": "npm run unit", "unit": "node unit.js" } }"#;
    let session = Session::new().file("package.json", package).file("unit.js", NODE);
    let step = Cancelled::by("github", session, &format!("{DEAF_DAEMONS}npm test\n"), &AS_SHELL);
    step.assert_asked_at_once().assert_ended_in_order().assert_daemons_reported();
    step.run.assert_nothing_left();
}

/// The runner signals only the shell, which waits for cgrun. What is left is killed at the end of the job, and so is cgrun.
/// Its guardian ends what the runner does not find.
#[test]
fn github_cancels_a_step_whose_shell_waits_for_cgrun() {
    let script = "cgrun sh -c \"$(cat daemons.sh test.sh)\"\necho never\n";
    let session = Session::new().config(SLOW_SERVICES).file("test.sh", TEST).file("daemons.sh", DEAF_DAEMONS);
    let step = Cancelled::by("github", session, script, &IN_SHELL);
    assert_eq!(step.done["signals"], serde_json::json!(["SIGINT", "SIGTERM"]), "{}", step.done);
    let orphans = step.done["orphans"].as_array().unwrap();
    assert!(orphans.iter().any(|it| it == "cgrun"), "{}", step.done);
    assert!(!step.run.path().join("asked").exists(), "use `exec cgrun`, or cgrun as the shell");
    step.run.assert_nothing_left();
}

/// Jenkins signals the guardian first, and waits for it.
#[test]
fn jenkins_aborts_a_build() {
    let script = "cgrun sh -c \"$(cat daemons.sh test.sh)\"\n";
    let session = Session::new().config(SLOW_SERVICES).file("test.sh", TEST).file("daemons.sh", DEAF_DAEMONS);
    let step = Cancelled::by("jenkins", session, script, &["sh", "-xe", "step.sh"]);
    assert_eq!(step.done["signals"][0], "SIGTERM to cgrun", "{}", step.done);
    step.assert_asked_at_once().assert_daemons_reported();
    for service in ["database", "backend"] {
        let journal = step.run.read(service);
        assert!(journal.ends_with("ended\n"), "{service} was not given its time: {journal}\n{}", step.log());
    }
    assert!(step.run.path().join("result").exists(), "the wrapper writes the exit code");
    step.run.assert_nothing_left();
}

/// Jenkins signals a child of the test, the test, and the services, before cgrun hears of it.
#[test]
fn jenkins_aborts_a_build_in_another_order() {
    let session = Session::new().config(SLOW_SERVICES).file("test.py", PYTHON);
    let entry = ["sh", "-xe", "step.sh"];
    let step = Cancelled::by("jenkins-reversed", session, "cgrun python3 test.py\n", &entry);
    assert_eq!(step.done["signals"][0], "SIGTERM to sleep", "{}", step.done);
    step.assert_asked_at_once();
    // What dies of that signal has not leaked.
    assert!(!step.log().contains("leaked"), "{}", step.log());
    step.run.assert_nothing_left();
}

#[test]
fn gitlab_cancels_a_job() {
    let script = "cgrun sh -c \"$(cat daemons.sh test.sh)\"\n";
    let session = Session::new().config(SLOW_SERVICES).file("test.sh", TEST).file("daemons.sh", DEAF_DAEMONS);
    let step = Cancelled::by("gitlab", session, script, &IN_SHELL);
    step.assert_asked_at_once().assert_daemons_reported();
    assert_eq!(step.done["signals"], serde_json::json!(["SIGTERM"]), "{}", step.done);
    for service in ["database", "backend"] {
        assert!(step.run.read(service).ends_with("ended\n"), "{service} was not given its time");
    }
    step.run.assert_nothing_left();
}
