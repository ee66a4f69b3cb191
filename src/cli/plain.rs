//! Recognizes `cgrun COMMAND [ARG]...`, the usual command line, without clap. To describe all options to clap takes a tenth
//! of the time that cgrun adds to a command.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The first words that are not a command but one of cgrun's own; clap adds `help`. Asking clap for them would cost the time
/// that this file saves.
const OWN: [&str; 14] = [
    "run",
    "check",
    "doctor",
    "merge",
    "sessions",
    "ps",
    "why",
    "stop",
    "sweep",
    "init",
    "completions",
    "schema",
    "man",
    "help",
];
/// What the variables that stand for options begin with.
const VARIABLES: &[u8] = b"CGRUN_";

/// The command, if the command line consists of nothing else and no variable stands for an option.
pub(super) fn plain_command(
    words: &[OsString],
    mut variables: impl Iterator<Item = OsString>,
) -> Option<Vec<OsString>> {
    let command = words.get(1..)?;
    let first = command.first()?.as_bytes();
    let is_own = OWN.iter().any(|own| own.as_bytes() == first);
    let is_plain = !is_own && !first.is_empty() && !first.starts_with(b"-");
    let mut has_options = || variables.any(|name| name.as_bytes().starts_with(VARIABLES));
    (is_plain && !has_options()).then(|| command.to_vec())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::arguments::Cli;
    use super::super::parse::parse_from;
    use super::super::run_options::{Run, RunOptions};
    use super::*;

    fn plain(words: &[&str], variables: &[&str]) -> Option<Vec<OsString>> {
        let words: Vec<_> = ["cgrun"].iter().chain(words).map(OsString::from).collect();
        plain_command(&words, variables.iter().map(OsString::from))
    }

    #[test]
    fn a_plain_command_is_what_clap_would_find() {
        let words = ["pytest", "-q", "--grace", "check", "--", ""];
        let command = plain(&words, &["PATH", "CGRUN"]).unwrap();
        let found = Cli { action: None, run: Run { options: RunOptions::default(), command } };
        let words = ["cgrun"].iter().chain(&words).map(OsString::from).collect();
        let parsed = parse_from(words, |_| None).unwrap();
        assert_eq!(format!("{found:?}"), format!("{parsed:?}"));
    }

    #[test]
    fn everything_else_is_left_to_clap() {
        let mut cli = Cli::command();
        cli.build();
        let own: Vec<_> = cli.get_subcommands().map(|it| it.get_name().to_string()).collect();
        assert_eq!(own.len(), OWN.len());
        for word in own.iter().map(String::as_str).chain(["", "-v", "--", "--grace"]) {
            assert_eq!(plain(&[word, "x"], &[]), None, "{word}");
        }
        assert_eq!(plain(&[], &[]), None);
        assert_eq!(plain(&["pytest"], &["PATH", "CGRUN_GRACE"]), None);
    }
}
