//! Completion in real shells, the man page, and what else cgrun prints for other programs.

use std::process::Command;

use crate::harness::{Session, Terminal, cgrun_program};

/// What the user types before TAB, and the line after it. `shopctl` is a program with completions of its own.
const LINES: [(&str, &str); 24] = [
    ("cgrun --on-l", "cgrun --on-leak "),
    ("cgrun --on-leak f", "cgrun --on-leak fail "),
    ("cgrun --on-leak=f", "cgrun --on-leak=fail "),
    ("cgrun --require cgroup+", "cgrun --require cgroup+pidns "),
    ("cgrun -c rc.b", "cgrun -c rc.bash "),
    ("cgrun --report json=rc.b", "cgrun --report json=rc.bash "),
    ("cgrun completions fi", "cgrun completions fish "),
    ("cgrun sweep --dr", "cgrun sweep --dry-run "),
    ("cgrun check -c rc.b", "cgrun check -c rc.bash "),
    ("cgrun merge rc.b", "cgrun merge rc.bash "),
    ("cgrun merge --against rc.b", "cgrun merge --against rc.bash "),
    ("cgrun doct", "cgrun doctor "),
    ("cgrun doctor --j", "cgrun doctor --json "),
    ("cgrun shopc", "cgrun shopctl "),
    ("cgrun shopctl chec", "cgrun shopctl checkout "),
    ("cgrun -v --grace 5s shopctl chec", "cgrun -v --grace 5s shopctl checkout "),
    ("cgrun --grace=5s --report json=x shopctl chec", "cgrun --grace=5s --report json=x shopctl checkout "),
    ("cgrun run --on-leak fail shopctl chec", "cgrun run --on-leak fail shopctl checkout "),
    ("cgrun --clean-env shopctl chec", "cgrun --clean-env shopctl checkout "),
    ("cgrun --clean-env=false shopctl chec", "cgrun --clean-env=false shopctl checkout "),
    ("cgrun --user 1:2 shopctl chec", "cgrun --user 1:2 shopctl checkout "),
    ("cgrun run --on-l", "cgrun run --on-leak "),
    ("cgrun -- shopctl chec", "cgrun -- shopctl checkout "),
    // That is an option of shopctl, if of anything.
    ("cgrun shopctl --on-l", "cgrun shopctl --on-l"),
];

/// A directory with `shopctl` and the script of each shell, which define its completions.
fn session() -> Session {
    let session = Session::new().file("bin/shopctl", "#!/bin/sh\n");
    let shopctl = session.path().join("bin/shopctl");
    std::fs::set_permissions(shopctl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    session
        .file(
            "rc.bash",
            "PATH=$PWD/bin:$PATH PS1='> '\n. /usr/share/bash-completion/bash_completion\n\
             complete -W 'checkout cherry-pick' shopctl\neval \"$(cgrun completions bash)\"\n",
        )
        .file(
            ".zshrc",
            "PATH=$PWD/bin:$PATH PS1='> '\nmkdir functions\ncgrun completions zsh >functions/_cgrun\n\
             fpath=($PWD/functions $fpath)\nautoload -Uz compinit\ncompinit -u -D\nbindkey -e\n\
             _shopctl() { _arguments '1:verb:(checkout cherry-pick)' }\ncompdef _shopctl shopctl\n",
        )
        .file(
            "rc.fish",
            "set PATH $PWD/bin $PATH\ncgrun completions fish | source\n\
             complete -c shopctl -f -a 'checkout cherry-pick'\n",
        )
}

/// Types each line into an interactive shell, presses TAB, and lets the shell print the line as it is then.
fn complete_in(shell: &str, terminal: &Terminal) {
    terminal.enter(shell);
    for (typed, completed) in LINES {
        terminal.press(typed).press("\t");
        // Ctrl-A and Ctrl-E go to the beginning and the end of the line.
        terminal.press("\x01printf 'LINE<%s>\\n' \"\x05\"\r");
        terminal.shows("LINE<c");
        let line = format!("c{}", terminal.shows(">").trim_end_matches('>'));
        // zsh takes the space back if something else follows.
        assert_eq!(line.trim_end(), completed.trim_end(), "{shell}: {typed}");
    }
    terminal.press("exit 0\r");
    terminal.prompt(0);
}

#[test]
fn bash_completes_options_and_commands() {
    let terminal = session().on_terminal();
    complete_in("bash --rcfile rc.bash -i", &terminal);
    terminal.leave().assert_nothing_left();
}

#[test]
fn bash_without_bash_completion_completes_the_names_of_programs() {
    let terminal = session()
        .file("rc.bash", "PATH=$PWD/bin:$PATH PS1='> '\neval \"$(cgrun completions bash)\"\n")
        .on_terminal();
    terminal.enter("bash --rcfile rc.bash -i").press("cgrun -v shopc\t");
    terminal.press("\x01printf 'LINE<%s>\\n' \"\x05\"\r").shows("LINE<cgrun -v shopctl >");
    terminal.press("exit 0\r").prompt(0);
    terminal.leave().assert_nothing_left();
}

#[test]
fn bash_completes_the_file_of_a_report() {
    let terminal = session().file("reports/only.json", "").on_terminal();
    terminal.enter("bash --rcfile rc.bash -i").press("cd reports\r");
    terminal.press("cgrun --report json=\t").press("\x01printf 'LINE<%s>\\n' \"\x05\"\r");
    terminal.shows("LINE<cgrun --report json=only.json >");
    terminal.press("exit 0\r").prompt(0);
    terminal.leave().assert_nothing_left();
}

#[test]
fn zsh_completes_options_and_commands() {
    let terminal = session().on_terminal();
    complete_in("ZDOTDIR=$PWD zsh -d -i", &terminal);
    terminal.leave().assert_nothing_left();
}

#[test]
fn fish_completes_options_and_commands() {
    let session = session();
    let ask = |typed: &str| format!("echo (string join -- , (complete -C '{typed}'))\n");
    let script: String = LINES.iter().map(|(typed, _)| ask(typed)).collect();
    let script = script + &ask("cgrun completions ");
    let session = session.file("ask.fish", format!("source rc.fish\n{script}"));
    let path = format!("{}:{}", cgrun_program().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let home = session.path().to_path_buf();
    let output = Command::new("fish")
        .args(["--no-config", "ask.fish"])
        .current_dir(&home)
        .env("HOME", &home)
        .env("PATH", path)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let mut answers: Vec<_> = stdout.lines().collect();
    // No files.
    assert_eq!(answers.pop(), Some("bash,fish,zsh"));
    assert_eq!(answers.len(), LINES.len(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    for ((typed, completed), answer) in LINES.iter().zip(answers) {
        let word = completed.strip_prefix(typed.rsplit_once(' ').unwrap().0).unwrap().trim();
        // The description comes after a tab.
        let candidates: Vec<_> = answer.split(',').map(|it| it.split('\t').next().unwrap()).collect();
        if completed.ends_with(' ') {
            assert!(candidates.contains(&word), "{typed}: {candidates:?}");
        } else {
            assert!(!candidates.iter().any(|it| it.starts_with(word)), "{typed}: {candidates:?}");
        }
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let script = "import os, subprocess, sys\nreader, writer = os.pipe()\nos.close(reader)\n\
        print(subprocess.run([os.environ['CGRUN'], *sys.argv[1:]], stdout=writer).returncode)\n";
    Session::new();
    for command in ["man", "schema", "doctor"] {
        let run = Session::again().options([command]).start_through(&["python3", "-c", script]).finish();
        run.assert_code(0).assert_silent();
        assert_eq!(run.stdout(), "-13\n", "{command}");
    }
}

#[test]
fn the_man_page_is_well_formed_and_has_every_option() {
    let session = Session::new().options(["man"]).run();
    session.assert_code(0);
    let page = session.path().join("stdout");
    let lint = Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(&page).output().unwrap();
    let said = String::from_utf8(lint.stdout).unwrap();
    assert!(lint.status.success(), "{said}");
    let text = Command::new("mandoc").args(["-T", "ascii"]).arg(&page).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    // Bold text is typed over: c, backspace, c.
    let text = regex::Regex::new(".\u{8}").unwrap().replace_all(&text, "").into_owned();
    let help = Session::again().options(["--help"]).run().stdout();
    for option in regex::Regex::new("--[a-z][a-z-]+").unwrap().find_iter(&help) {
        assert!(text.contains(option.as_str()), "the man page does not have {}:\n{text}", option.as_str());
    }
    assert!(text.contains("How long a process that the command left behind"), "{text}");
    assert!(text.contains("cgrun - Run a test session"), "{text}");
}
