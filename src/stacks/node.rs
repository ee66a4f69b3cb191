//! Node.js: a report that the process writes by itself, if it was started with `--report-on-signal`, tells what its event loop
//! waits for.

use std::ffi::OsString;

use nix::sys::signal::Signal;

use super::collect::Target;
use super::lookup::beside;
use super::stack::Section;
use super::tool::{Intrusion, Tool, Way};
use crate::sys::procfs::details::inner_pid;
use crate::sys::procfs::environ::variable;
use crate::sys::search_path::on_path;

/// Asks for the report, and prints what it says.
const SCRIPT: &str = include_str!("node_report.js");

pub(super) fn way(target: &Target, intrusion: Intrusion) -> Way {
    if intrusion == Intrusion::None {
        return Way::Useless;
    }
    let options = Options::of(target);
    if !options.is_on {
        return Way::No("start it with NODE_OPTIONS=--report-on-signal".into());
    }
    if options.file.is_some() {
        return Way::No(
            "it writes its reports to a file of its own; start it without --report-filename".into(),
        );
    }
    if matches!(target.state, 'T' | 't') {
        return Way::No("it is stopped, so it cannot write a report".into());
    }
    let signal = options.signal.as_deref().unwrap_or("SIGUSR2");
    // It would die of the signal.
    let handles = signal.parse().is_ok_and(|signal: Signal| target.handles(signal));
    let Some(own_pid) = inner_pid(target.pid).filter(|_| handles) else {
        return Way::No(format!("it does not handle {signal}, which asks for a report"));
    };
    let own = beside(target, target.directory().as_slice(), &target.program());
    let Some(path) = own.or_else(|| on_path("node")) else {
        return Way::No("install node where cgrun runs".into());
    };
    let (pid, own_pid) = (target.pid.to_string(), own_pid.to_string());
    let reports = options.reports(target);
    Way::Tools(vec![Tool::new(path, ["-e", SCRIPT, "--", &pid, signal, &reports, &own_pid], waits)])
}

/// The options that reports depend on, from the command line and from NODE_OPTIONS.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    is_on: bool,
    signal: Option<String>,
    directory: Option<String>,
    file: Option<String>,
}

impl Options {
    fn of(target: &Target) -> Self {
        let from_variable = variable(target.pid, "NODE_OPTIONS").unwrap_or_default();
        let from_variable = from_variable.to_string_lossy().into_owned();
        let text = |word: &OsString| word.to_string_lossy().into_owned();
        let own = target.command.iter().skip(1).map(text).take_while(|word| word.starts_with('-'));
        Self::parse(from_variable.split_whitespace().map(String::from).chain(own))
    }

    fn parse(words: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        for word in words {
            let (name, value) =
                word.split_once('=').map_or((&*word, None), |(name, value)| (name, Some(value)));
            let value = || value.map(String::from);
            match name {
                "--report-on-signal" => options.is_on = true,
                "--report-signal" => options.signal = value(),
                "--report-directory" | "--report-dir" | "--diagnostic-dir" => options.directory = value(),
                "--report-filename" => options.file = value(),
                _ => {}
            }
        }
        options
    }

    /// The directory of its reports, as it sees that.
    fn reports(&self, target: &Target) -> String {
        let pid = target.pid;
        match self.directory.as_deref() {
            Some(directory) if directory.starts_with('/') => format!("/proc/{pid}/root{directory}"),
            Some(directory) => format!("/proc/{pid}/cwd/{directory}"),
            None => format!("/proc/{pid}/cwd"),
        }
    }
}

fn waits(output: &str) -> Vec<Section> {
    let lines: Vec<_> = output.lines().map(String::from).collect();
    let failed = lines.iter().any(|line| line.starts_with("it wrote no report") || line.contains("Error: "));
    if lines.is_empty() || failed {
        return Vec::new();
    }
    vec![Section { title: "its event loop waits for any of".into(), lines }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_their_values_after_an_equals_sign() {
        let words = [
            "--report-on-signal",
            "--report-signal=SIGUSR1",
            "--max-old-space-size=4",
            "--report-directory=x",
        ];
        let wanted =
            Options { is_on: true, signal: Some("SIGUSR1".into()), directory: Some("x".into()), file: None };
        assert_eq!(Options::parse(words.into_iter().map(String::from)), wanted);
        assert!(!Options::parse(["--report-on-fatalerror".into()].into_iter()).is_on);
    }
}
