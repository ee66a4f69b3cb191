//! In the log of a CI system, long lists are folded, and nothing that a program says is taken for a command.

use regex::Regex;

use crate::harness::{Finished, Session};

/// The systems, by the variable that they set.
const SYSTEMS: [&str; 4] = ["GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "BUILDKITE"];

/// A log line for each way to break out of a fold, or to give the runner a command.
const HOSTILE: [&str; 11] = [
    "::endgroup::",
    "  ::error::forged",
    "::stop-commands::x",
    "##[endgroup]",
    "##[error]forged",
    "###[error]forged",
    "##vso[task.setvariable variable=x]y",
    r"\033[0Ksection_end:1:cgrun\r\033[0K",
    r"\r::error::forged",
    "--- forged",
    "+++ forged",
];

/// How cgrun's own annotations begin.
const ANNOTATIONS: [&str; 3] =
    ["::error title=leaked ", "::warning title=leaked ", "::error title=cgrun%3A "];

#[derive(Debug, PartialEq)]
enum Read {
    Start(String),
    End,
    /// A command that is none of ours.
    Command,
    Text,
}

/// A log as a CI system shows it.
#[derive(Debug, Default)]
struct Log {
    visible: Vec<String>,
    folds: Vec<(String, Vec<String>)>,
}

/// Reads a line as the system does.
fn read(system: &str, line: &str) -> Read {
    let starts_with = |it: &str| line.trim_start().starts_with(it);
    let rest = |it: &str| line.strip_prefix(it).map(|title| Read::Start(title.to_string()));
    let otherwise = |is_command: bool| if is_command { Read::Command } else { Read::Text };
    match system {
        // A command begins the line, or is in the older form anywhere within it.
        "GITHUB_ACTIONS" if line == "::endgroup::" => Read::End,
        "GITHUB_ACTIONS" => {
            rest("::group::").unwrap_or_else(|| otherwise(starts_with("::") || line.contains("##[")))
        }
        "TF_BUILD" if line == "##[endgroup]" => Read::End,
        "TF_BUILD" => {
            rest("##[group]").unwrap_or_else(|| otherwise(line.contains("##[") || line.contains("##vso[")))
        }
        "GITLAB_CI" => {
            let marker =
                Regex::new(r"section_(start|end):(\d+):([a-zA-Z0-9_.-]+)(?:\[.*\])?\r\x1b\[0K(.*)").unwrap();
            match marker.captures(line) {
                Some(it) if &it[1] == "start" => Read::Start(it[4].to_string()),
                Some(_) => Read::End,
                None => otherwise(line.contains(['\r', '\x1b'])),
            }
        }
        "BUILDKITE" if line == "+++ cgrun" => Read::End,
        "BUILDKITE" => rest("--- ").unwrap_or_else(|| otherwise(starts_with("---") || starts_with("+++"))),
        other => panic!("unknown system {other}"),
    }
}

#[track_caller]
fn log(system: &str, run: &Finished) -> Log {
    let text = run.stderr();
    let mut log = Log::default();
    let mut open = false;
    for line in text.split_terminator('\n') {
        match read(system, line) {
            Read::Start(title) => {
                assert!(!std::mem::replace(&mut open, true), "{system}: a fold in a fold\n{text}");
                log.folds.push((title, Vec::new()));
            }
            Read::End => assert!(std::mem::replace(&mut open, false), "{system}: no fold to end\n{text}"),
            Read::Command if ANNOTATIONS.iter().any(|it| line.starts_with(it)) => {}
            Read::Command => panic!("{system}: {line:?} is a command\n{text}"),
            Read::Text if open => log.folds.last_mut().unwrap().1.push(line.into()),
            Read::Text => log.visible.push(line.into()),
        }
    }
    assert!(!open, "{system}: the fold is still open\n{text}");
    assert_eq!(run.stdout(), "", "stdout belongs to the command");
    log
}

fn said(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

/// A service that never becomes ready.
fn service(name: &str, script: &str) -> String {
    format!("[services.{name}]\ncommand = ['sh', '-c', {script:?}]\nready = {{ log = 'never' }}\n")
}

/// A service that prints `lines` numbered lines and a few hostile ones, and fails.
fn failing(lines: u32) -> String {
    let script = format!("printf '{}\\n'; seq -f 'line %.0f.' {lines}; exit 3", HOSTILE.join(r"\n"));
    service("web", &script)
}

#[test]
fn a_long_log_of_a_failed_service_is_folded_but_for_its_end() {
    Session::new();
    for system in SYSTEMS {
        let run = Session::again().env(system, "true").config(&failing(40)).command(["true"]).run();
        run.assert_code(125).assert_nothing_left();
        let log = log(system, &run);
        let [(title, folded)] = &log.folds[..] else { panic!("{system}: {log:#?}") };
        assert_eq!(title, &format!("cgrun:   {} earlier lines", folded.len()), "{system}");
        for headline in ["service web", "exit status 3", "the end of "] {
            assert!(said(&log.visible, headline), "{system}: {headline}\n{log:#?}");
        }
        for line in 1..=40 {
            let text = format!("| line {line}.");
            let (is_folded, is_visible) = (said(folded, &text), said(&log.visible, &text));
            assert_eq!((is_folded, is_visible), (line <= 30, line > 30), "{system}: {text}\n{log:#?}");
        }
        assert!(said(folded, "error::forged") && said(folded, "setvariable"), "{system}: {log:#?}");
    }
}

#[test]
fn of_long_lines_too_200_are_shown_and_the_first_is_whole() {
    let script = "for n in $(seq 300); do printf 'line %d. %0300d\\n' $n 0; done; exit 3";
    let run =
        Session::new().env("GITHUB_ACTIONS", "true").config(&service("web", script)).command(["true"]).run();
    run.assert_code(125).assert_nothing_left();
    let log = log("GITHUB_ACTIONS", &run);
    let folded = &log.folds[0].1;
    assert_eq!(folded.len(), 190, "{log:#?}");
    assert!(folded.iter().all(|it| it.starts_with("cgrun:   | line ")), "{log:#?}");
}

/// The last 2 KiB of each line that is shown are read. Here they begin within a line.
#[test]
fn the_rest_of_a_line_is_not_shown_as_a_line() {
    let script = "for n in $(seq 30); do printf 'line %d. %03000d\\n' $n 0; done; exit 3";
    let run = Session::new().config(&service("web", script)).command(["true"]).run();
    run.assert_code(125).assert_nothing_left();
    let text = run.stderr();
    let shown: Vec<_> = text.lines().filter(|it| it.starts_with("cgrun:   | ")).collect();
    assert!(shown.len() > 5 && shown.iter().all(|it| it.starts_with("cgrun:   | line ")), "{shown:#?}");
}

#[test]
fn a_long_list_of_leaks_is_folded_but_for_the_worst() {
    Session::new();
    let script = "for n in $(seq 30); do sleep 90$n & done; setsid -f sleep 8999; sleep 0.1";
    for system in SYSTEMS {
        let run = Session::again().env(system, "true").options(["--on-leak", "fail"]).sh(script).run();
        run.assert_code(121).assert_nothing_left();
        let log = log(system, &run);
        assert_eq!(log.folds.len(), 1, "{system}: {log:#?}");
        assert_eq!(log.folds[0].1.len(), 21, "{system}: {log:#?}");
        assert!(said(&log.visible, "leaked 31 processes, found and stopped:"), "{system}: {log:#?}");
        assert!(said(&log.visible, "(sleep 8999)"), "{system}: {log:#?}");
    }
}

#[test]
fn short_lists_are_not_folded_and_other_logs_never_are() {
    Session::new();
    for system in SYSTEMS {
        let session = Session::again().env(system, "true").config(&service("web", "seq 12; exit 3"));
        let run = session.command(["true"]).run();
        run.assert_code(125).assert_nothing_left();
        let log = log(system, &run);
        assert!(log.folds.is_empty() && said(&log.visible, "| 1"), "{system}: {log:#?}");
    }
    // sudo removes all of these variables.
    for variable in ["CI", "JENKINS_URL", "SUDO_USER"] {
        let run = Session::again().env(variable, "true").config(&failing(40)).command(["true"]).run();
        run.assert_code(125).assert_said("| line 40.").assert_nothing_left();
        assert!(!run.stderr().contains("| line 20."), "{}", run.stderr());
        for command in ["##[", "##vso["] {
            assert!(!run.stderr().contains(command), "{}", run.stderr());
        }
    }
}

/// The reader stops in the middle of a fold, and reads again before the session ends.
#[test]
fn a_fold_that_could_not_be_closed_is_closed_later() {
    let script = "seq -f 'a line of the log with the number %.0f' 200; exit 3";
    let config = format!(
        "{}[services.slow]\ncommand = ['sh', '-c', \"trap '' TERM; touch ../up; while :; do sleep 900; done\"]\n\
         cwd = 'work'\ngrace = '2s'\nready = {{ command = ['test', '-e', '../up'] }}\n",
        service("web", script).replace("ready =", "depends_on = ['slow']\nready =")
    );
    let session = Session::new().env("GITHUB_ACTIONS", "true").options(["-v"]).config(&config);
    let reader = "import os, subprocess, sys, time, fcntl\nreader, writer = os.pipe()\n\
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 8192)\n\
        run = subprocess.Popen([os.environ['CGRUN'], *sys.argv[1:]], stderr=writer)\nos.close(writer)\ntime.sleep(1.5)\n\
        while text := os.read(reader, 65536): os.write(2, text)\nsys.exit(run.wait())\n";
    let session = session.file("work/here", "").file("reader.py", reader).command(["true"]);
    let run = session.start_through(&["python3", "reader.py"]).finish();
    run.assert_code(125).assert_nothing_left();
    let text = run.stderr();
    assert!(text.contains("::group::") && !text.contains("number 200"), "nothing was lost\n{text}");
    let log = log("GITHUB_ACTIONS", &run);
    assert!(log.visible.last().unwrap().contains("clean"), "{log:#?}");
}
