//! Checks that the documentation is correct: runs every example in it and compares the output.
//!
//! A page is Markdown. Comments before a code block control how it is treated:
//!
//! - `<!-- project: shop -->`: from here on the examples run in a copy of `docs/examples/shop`.
//! - `<!-- file: NAME -->`: the block is a file of that project, in the examples after it.
//! - `<!-- before: COMMAND -->`: run this first, and do not show it.
//! - `<!-- needs: pids -->`: run it only on a host whose cgroups have this controller.
//! - `<!-- not run: REASON -->`: it cannot be run, and this is why.
//! - `<!-- same as: PATH -->`: it is the text of a file of the repository, which other tests use.
//!
//! A `console` block is a list of commands, each after `$ `, with its output below it. A line `...`
//! stands for any number of lines. A `toml` block must be a valid config. The lines of a `message` block
//! must be in the source, where `…` stands for what is filled in.
//!
//! With `UPDATE_DOCS=1` in the environment, the actual output is written into the page instead. Read the
//! diff.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::harness::{OwnHost, Session, cgrun_program, installed, private_shared_memory};

/// The home directory in which the reader sees the examples.
const HOME: &str = "/home/me";

/// The pages outside of `docs`.
const OTHER_PAGES: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "vagrant/README.md"];

/// The programs that an example can call. Tests run as root, so any other command must be marked as not run.
const HARMLESS: [&str; 5] = ["cgrun", "cat", "echo", "ls", "python3"];

/// Where the examples of one page run.
#[derive(Clone, Default)]
struct Project {
    name: Option<String>,
    files: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Block {
    line: usize,
    language: String,
    text: String,
    directives: Vec<(String, String)>,
}

impl Block {
    fn directive(&self, name: &str) -> Option<&str> {
        self.directives.iter().rfind(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// One command of a `console` block.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    output: Vec<String>,
}

#[test]
fn readme() {
    check_page("README.md");
}

#[test]
fn guarantees() {
    check_page("docs/guarantees.md");
}

#[test]
fn configuration() {
    check_page("docs/configuration.md");
}

#[test]
fn nights() {
    check_page("docs/nights.md");
}

#[test]
fn reports() {
    check_page("docs/reports.md");
}

#[test]
fn baseline() {
    check_page("docs/baseline.md");
}

#[test]
fn pytest() {
    check_page("docs/pytest.md");
}

#[test]
fn hooks() {
    check_page("docs/hooks.md");
}

#[test]
fn hanging() {
    check_page("docs/hanging.md");
}

#[test]
fn hosts() {
    check_page("docs/hosts.md");
}

#[test]
fn ci() {
    check_page("docs/ci.md");
}

#[test]
fn installation() {
    check_page("docs/install.md");
}

#[test]
fn limits() {
    check_page("docs/limits.md");
}

#[test]
fn exit_codes() {
    check_page("docs/exit-codes.md");
}

#[test]
fn stability() {
    check_page("docs/stability.md");
}

#[test]
fn troubleshooting() {
    check_page("docs/troubleshooting.md");
}

#[test]
fn the_other_pages() {
    check_page("docs/cost.md");
    OTHER_PAGES[1..].iter().for_each(|page| check_page(page));
}

#[test]
fn private() {
    check_page("docs/private.md");
}

#[test]
fn leftovers() {
    private_shared_memory();
    check_page("docs/leftovers.md");
}

#[test]
fn containers() {
    check_page("docs/containers.md");
}

#[test]
fn podman() {
    check_page("docs/podman.md");
}

#[test]
fn shards() {
    check_page("docs/shards.md");
}

#[test]
fn fleet() {
    check_page("docs/fleet/README.md");
}

#[test]
fn fleet_buildbot() {
    check_page("docs/fleet/buildbot.md");
}

#[test]
fn fleet_slurm() {
    check_page("docs/fleet/slurm.md");
}

#[test]
fn fleet_kubernetes() {
    check_page("docs/fleet/kubernetes.md");
}

#[test]
fn fleet_ssh() {
    check_page("docs/fleet/ssh.md");
}

#[test]
fn fleet_reaping() {
    check_page("docs/fleet/reaping.md");
}

#[test]
fn every_page_in_docs_has_a_test() {
    let source = read("tests/docs.rs");
    for page in pages() {
        assert!(source.contains(&format!("\"{page}\"")), "no test runs the examples of {page}");
    }
}

#[test]
fn no_link_is_broken() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    for page in pages() {
        let text = read(&page);
        for target in link.captures_iter(&text).map(|it| it[1].to_string()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => PathBuf::from(&page),
                file => Path::new(&page).parent().unwrap().join(file),
            };
            let full = root().join(&path);
            assert!(full.exists(), "{page} links to {target}, which does not exist");
            let known = anchor.is_empty() || anchors(&read(path.to_str().unwrap())).contains(anchor);
            assert!(known, "{page} links to {target}, and there is no such heading");
        }
    }
}

#[test]
fn every_option_and_key_is_in_the_configuration_reference() {
    let page = read("docs/configuration.md");
    let session = Session::new().options(["--help"]).run();
    let options = Regex::new(r"--[a-z][a-z-]+").unwrap();
    for option in options.find_iter(&session.stdout()) {
        assert!(
            page.contains(&format!("`{}", option.as_str()))
                || page.contains(&format!(", `{}", option.as_str())),
            "docs/configuration.md does not have {}",
            option.as_str()
        );
    }
    let session = Session::again().options(["init"]).run();
    let key = Regex::new(r"(?m)^(?:# )?([a-z_]+) = ").unwrap();
    let template = session.read("cgrun.toml");
    let keys: Vec<_> = key.captures_iter(&template).map(|it| it[1].to_string()).collect();
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        assert!(page.contains(&format!("`{key}`")), "docs/configuration.md does not have the key {key}");
    }
}

/// The usage line names them all.
#[test]
fn every_command_is_in_the_help_and_in_the_readme() {
    Session::new();
    let readme = read("README.md");
    let table = readme.split("\n## Commands\n").nth(1).unwrap().split("\n## ").next().unwrap();
    for option in ["-h", "--help"] {
        let help = Session::again().options([option]).run().stdout();
        let usage = help.lines().find(|line| line.contains("cgrun run|")).unwrap();
        let names: Vec<_> = usage.trim().trim_start_matches("cgrun ").split('|').collect();
        assert!(names.len() >= 10, "{usage}");
        for name in names {
            assert!(
                help.lines().any(|line| line.starts_with(&format!("  {name} "))),
                "{option}: {name}\n{help}"
            );
            let cell = Regex::new(&format!("`(?:cgrun )?{name}[ `]")).unwrap();
            assert!(cell.is_match(table), "README.md does not have {name}");
        }
    }
}

/// Tables name the tests and scripts that show something.
#[test]
fn the_tests_named_in_the_docs_exist() {
    let list =
        std::process::Command::new(std::env::current_exe().unwrap()).args(["--list"]).output().unwrap();
    let names = String::from_utf8(list.stdout).unwrap();
    let quoted = Regex::new("`([^`]+)`").unwrap();
    for page in ["docs/guarantees.md", "docs/hosts.md"] {
        let text = read(page);
        let rows = text
            .split("| shown by |\n")
            .skip(1)
            .flat_map(|it| it.lines().take_while(|it| it.starts_with('|')));
        for row in rows.skip(1) {
            let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
            for name in quoted.captures_iter(cell).map(|it| it[1].to_string()) {
                let is_there = match name.split(' ').next().unwrap() {
                    script if script.starts_with("scripts/") => root().join(script).exists(),
                    test => names.contains(test),
                };
                assert!(is_there, "{page} names {name}, and there is no such test");
            }
        }
    }
}

#[test]
fn the_picture_of_a_session_matches_the_readme() {
    let picture = read("docs/images/session.svg");
    let text = picture.split("<desc>").nth(1).unwrap().split("</desc>").next().unwrap();
    let text = text.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&");
    let readme = read("README.md");
    let block = blocks(&readme).into_iter().find(|it| it.text.starts_with("$ cgrun pytest")).unwrap();
    // On a terminal the first of these lines are replaced by later output.
    let stays = |line: &&str| !line.contains("is ready after") && *line != "...";
    let (shown, drawn) = (masked(&block.text), masked(&text));
    let shown: Vec<_> = lines(&shown).into_iter().filter(stays).collect();
    let drawn: Vec<_> = lines(&drawn).into_iter().filter(stays).collect();
    assert_eq!(shown, drawn, "run scripts/pictures");
}

#[test]
fn the_changelog_begins_with_the_version_of_the_program() {
    let heading = Regex::new(r"(?m)^## (\S+), (unreleased|\d{4}-\d\d-\d\d)$").unwrap();
    let changelog = read("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(heading.captures(&changelog).map(|it| it[1].to_string()).as_deref(), Some(version));
    let run = Session::new().options(["--version"]).run();
    assert_eq!(run.stdout(), format!("cgrun {version}\n"));
}

#[test]
fn the_map_of_the_source_is_correct() {
    let page = read("ARCHITECTURE.md");
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let slash = if entry.path().is_dir() { "/" } else { "" };
        let room = format!("`src/{}{slash}`", entry.file_name().into_string().unwrap());
        assert!(page.contains(&room), "ARCHITECTURE.md does not have {room}");
    }
    let path = Regex::new("`((?:src|tests|scripts|docs)/[^` ]*)`").unwrap();
    for path in path.captures_iter(&page).map(|it| it[1].to_string()) {
        assert!(root().join(&path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
}

/// Runs every example of a page.
fn check_page(page: &str) {
    let text = read(page);
    let mut corrections = Vec::new();
    let mut project = Project::default();
    // Commands that concern all sessions of a host must not see other tests' sessions. This view has no
    // controllers.
    let _host = (!text.contains("<!-- needs: ")).then(OwnHost::enter);
    let mut session = Some(Session::new());
    for block in blocks(&text) {
        let place = format!("{page}:{}", block.line);
        if let Some(name) = block.directive("project") {
            project = Project { name: Some(name.to_string()), files: Vec::new() };
        }
        if let Some(name) = block.directive("file") {
            project.files.retain(|(it, _)| it != name);
            project.files.push((name.to_string(), block.text.clone()));
        }
        if let Some(path) = block.directive("same as") {
            if is_update() {
                corrections.push((block.line, block.text.lines().count(), read(path)));
            } else {
                assert_eq!(block.text, read(path), "{place} is not the text of {path}");
            }
            continue;
        }
        if let Some(reason) = block.directive("not run") {
            assert!(reason.len() > 10, "{place}: why is it not run?");
            continue;
        }
        if block.directive("needs").is_some_and(|controller| !has_controller(controller)) {
            continue;
        }
        match block.language.as_str() {
            "console" => {
                let session = session.take().unwrap_or_else(Session::again);
                let came = check_console(&place, &block, &project, session);
                corrections.push((block.line, block.text.lines().count(), came));
            }
            "toml" => check_config(&place, &block.text),
            "message" => check_messages(&place, &block.text),
            "text" | "mermaid" | "" => {}
            _ if block.directive("file").is_some() => {}
            other => panic!("{place}: a {other} block is neither run nor marked as not run"),
        }
    }
    if is_update() {
        let mut lines: Vec<_> = text.lines().collect();
        for (fence, count, came) in corrections.iter().rev() {
            lines.splice(*fence..fence + count, came.lines());
        }
        std::fs::write(root().join(page), lines.join("\n") + "\n").unwrap();
    }
}

/// Returns the block as it should be.
fn check_console(place: &str, block: &Block, project: &Project, session: Session) -> String {
    let steps = steps(&block.text);
    assert!(!steps.is_empty(), "{place}: a console block without a command");
    for step in &steps {
        // Words before it may set variables.
        let program = step.command.split_whitespace().find(|word| !word.contains('=')).unwrap_or("");
        assert!(HARMLESS.contains(&program), "{place}: {program} may do harm; mark the block as not run");
    }
    let home = session.path().to_path_buf();
    let shop = home.join("shop");
    std::fs::create_dir_all(&shop).unwrap();
    match project.name.as_deref() {
        None => {}
        Some("demo") => copy_demo(&shop),
        Some(name) => copy(&root().join("docs/examples").join(name), &shop),
    }
    if project.name.is_some() {
        symlink(installed("target/demo/venv"), shop.join(".venv")).unwrap();
    }
    for (name, text) in &project.files {
        std::fs::write(shop.join(name), text).unwrap();
    }
    let mut script = include_str!("helpers/example.sh").to_string();
    let before = block.directives.iter().filter(|(name, _)| name == "before");
    for (_, command) in before {
        script += &format!("{command}\n");
    }
    for (number, step) in steps.iter().enumerate() {
        script += &format!("{{ {}\n}} >../output.{number} 2>&1\n", step.command);
    }
    let script_path = home.join("example.sh");
    std::fs::write(&script_path, script).unwrap();
    let cgrun = cgrun_program();
    let run = session
        .env("CGRUN_DIRECTORY", cgrun.parent().unwrap())
        .env("HOME", &home)
        .start_through(&["bash", script_path.to_str().unwrap()])
        .finish();
    let mut right = String::new();
    for (number, step) in steps.iter().enumerate() {
        let output = run.read(&format!("output.{number}")).replace(home.to_str().unwrap(), HOME);
        let (shown, came) = (masked(&step.output.join("\n")), masked(&output));
        let is_same = matches(&lines(&shown), &lines(&came));
        right += &format!("$ {}\n", step.command);
        right += &if is_same { as_lines(&step.output) } else { corrected(&step.output, &output) };
        assert!(
            is_same || is_update(),
            "{place}: `{}`\n--- shown ---\n{shown}\n--- came ---\n{came}\n--- unmasked ---\n{output}\n{}",
            step.command,
            run.stderr()
        );
    }
    run.assert_nothing_left();
    right
}

/// The actual output, without the lines that the page leaves out.
fn corrected(shown: &[String], came: &str) -> String {
    let came: Vec<String> = came.lines().map(String::from).collect();
    let Some(dots) = shown.iter().position(|line| line == "...") else { return as_lines(&came) };
    let after = shown.len() - dots - 1;
    let (begin, end) = (came.len().min(dots), came.len().saturating_sub(after));
    as_lines(&came[..begin]) + "...\n" + &as_lines(&came[end..])
}

fn as_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether to correct the pages.
fn is_update() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// Checks that a real cgrun accepts the config.
fn check_config(place: &str, toml: &str) {
    // On the whole one, sessions of other tests can be unknown.
    let _host = OwnHost::enter();
    let run = Session::again().file("example.toml", toml).options(["check", "-c", "example.toml"]).run();
    // The exit code is 1 if something unrelated on this host is not clean.
    assert!(matches!(run.status.code(), Some(0 | 1)), "{place}: {}", run.stderr());
}

fn check_messages(place: &str, text: &str) {
    let source = source();
    let parts = text.lines().flat_map(|message| message.split('…')).map(str::trim).filter(|it| it.len() > 1);
    let unknown: Vec<_> = parts.filter(|part| !source.contains(part)).collect();
    assert!(unknown.is_empty(), "{place}: no message of cgrun has {unknown:#?}");
}

#[test]
fn each_error_is_in_troubleshooting() {
    let page = read("docs/troubleshooting.md");
    let error = Regex::new(r#"(?:#\[error|bail!)\(\s*"((?:[^"\\]|\\.)*)""#).unwrap();
    let gap = Regex::new(r#"\{[^}]*\}|\\""#).unwrap();
    for message in error.captures_iter(&source()).map(|it| it[1].to_string()) {
        let parts: Vec<_> = gap.split(&message).map(str::trim).filter(|it| it.len() > 8).collect();
        let is_there = |part: &&str| page.contains(&part.chars().take(24).collect::<String>());
        assert!(parts.is_empty() || parts.iter().any(is_there), "no entry has {message:?}");
    }
}

/// All text of `src`, with strings that continue on the next line joined.
fn source() -> String {
    let mut text = String::new();
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    Regex::new(r"\\\n\s*").unwrap().replace_all(&text, "").into_owned()
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut directives = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(comment) = line.strip_prefix("<!-- ").and_then(|it| it.strip_suffix(" -->")) {
            if let Some((name, value)) = comment.split_once(": ") {
                directives.push((name.to_string(), value.to_string()));
            }
        } else if let Some(language) = line.strip_prefix("```") {
            let body: Vec<_> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            blocks.push(Block {
                line: number + 1,
                language: language.to_string(),
                text: body.join("\n") + "\n",
                directives: std::mem::take(&mut directives),
            });
        }
    }
    blocks
}

/// Splits a block into commands. A command continues on the next line after a backslash.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(command) = line.strip_prefix("$ ") {
            let mut command = command.to_string();
            while command.ends_with('\\') {
                command = command + "\n" + lines.next().expect("a line after a backslash");
            }
            steps.push(Step { command, output: Vec::new() });
        } else {
            steps.last_mut().expect("a command first").output.push(line.to_string());
        }
    }
    steps
}

/// Replaces each value that differs between runs or hosts with a word.
fn masked(text: &str) -> String {
    let masks = [
        (r"\x1b\[[0-9;]*m", ""),
        // Whether this note appears depends on which side closed a connection first.
        (r"(?m)^cgrun: port \d+ has closed connections in TIME_WAIT.*\n", ""),
        (r"\bpid \d+", "pid PID"),
        (r"\b(live|stale)  +\d+", "$1  PID"),
        (r"\b\d+(\.\d+)? (ms|s|min|h|days)\b", "TIME"),
        (r"^\d+ +TIME\b", "PID TIME"),
        (r"\bin \d+\.\d+s\b", "in TIME"),
        (r"\b\d+(\.\d+)? (B|KiB|MiB|GiB)( |$)", "SIZE "),
        (r"\b\d+ of \d+ periods", "N of N periods"),
        (r"\b\d+ forks failed", "N forks failed"),
        (r"\b[b-df-hj-km-np-tv-xz24679]{8}\b", "SESSION"),
        (r" {2,}", "  "),
    ];
    masks.iter().fold(text.to_string(), |text, (pattern, word)| {
        Regex::new(&format!("(?m){pattern}")).unwrap().replace_all(&text, *word).into_owned()
    })
}

fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// Whether `shown`, in which `...` stands for any lines, matches the actual output.
fn matches(shown: &[&str], came: &[&str]) -> bool {
    match (shown.split_first(), came.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=came.len()).any(|skipped| matches(rest, &came[skipped..])),
        (Some((shown, shown_rest)), Some((came, came_rest))) => {
            shown == came && matches(shown_rest, came_rest)
        }
        _ => false,
    }
}

fn anchors(page: &str) -> std::collections::BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            text.chars().filter(|it| it.is_alphanumeric() || matches!(it, '-' | '_')).collect()
        })
        .collect()
}

/// Every page that a user reads.
fn pages() -> Vec<String> {
    let pages = ["docs", "docs/fleet"].into_iter().flat_map(|directory| {
        let entries = std::fs::read_dir(root().join(directory)).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".md")).map(move |name| format!("{directory}/{name}"))
    });
    pages.chain(OTHER_PAGES.map(String::from)).collect()
}

fn has_controller(name: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).unwrap();
    let file = format!("{}/cgroup.controllers", mount.split(' ').nth(1).unwrap());
    std::fs::read_to_string(file).unwrap().split_whitespace().any(|it| it == name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|it| (it.path(), it.file_name())).unwrap();
        if name == "node_modules" || name == "__pycache__" {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() { copy(&path, &target) } else { _ = std::fs::copy(&path, target).unwrap() }
    }
}

pub(crate) fn copy_demo(to: &Path) {
    copy(&root().join("tests/demo"), to);
    symlink(installed("tests/demo/frontend/node_modules"), to.join("frontend/node_modules")).unwrap();
}

/// The directory of the repository, or of the part of it that is in the virtual machine.
fn root() -> PathBuf {
    installed("docs").parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_line_of_dots_stands_for_any_lines() {
    assert!(matches(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(matches(&["a", "...", "b"], &["a", "b"]));
    assert!(!matches(&["a", "...", "b"], &["a", "b", "c"]));
    assert!(!matches(&["a"], &["b"]));
}

#[test]
fn values_that_differ_between_runs_are_masked() {
    let (shown, came) = ("pid 12 (x), 1.5 s old, 3 MiB", "pid 9 (x), 120 ms old, 17.5 MiB");
    assert_eq!(masked(shown), masked(came));
    assert_ne!(masked("exit code 3"), masked("exit code 4"));
}

#[test]
fn a_page_is_read_into_blocks_and_commands() {
    let page = "<!-- project: shop -->\n<!-- before: a -->\n```console\n$ one \\\n  two\nout\n$ three\n```\n";
    let blocks = blocks(page);
    assert_eq!((blocks[0].directive("project"), blocks[0].directive("before")), (Some("shop"), Some("a")));
    let step = |command: &str, output: &[&str]| Step {
        command: command.into(),
        output: output.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(steps(&blocks[0].text), [step("one \\\n  two", &["out"]), step("three", &[])]);
}
