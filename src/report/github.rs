//! GitHub Actions: annotations at the lines of the tests, and a summary of the step.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::json::{LeakedProcess, ReportDocument};
use super::{leak_text, limits_hit};
use crate::teardown::Verdict;
use crate::text::{processes, shorten};

/// GitHub shows at most this many annotations of one level for a step.
const ANNOTATIONS: usize = 10;
/// GitHub accepts 1 MiB, but more rows than this would not be read.
const ROWS: usize = 50;

/// The paths that GitHub's runner passes in the environment.
#[derive(Debug)]
pub(crate) struct GitHub {
    summary: Option<OsString>,
    workspace: Option<OsString>,
}

impl GitHub {
    /// `None` unless GitHub's runner runs us.
    pub(crate) fn from_environment() -> Option<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // The guardian has another working directory.
        let absolute = |path: OsString| std::path::absolute(&path).map_or(path, Into::into);
        Self::runs_us().then(|| Self {
            summary: set("GITHUB_STEP_SUMMARY").map(absolute),
            workspace: set("GITHUB_WORKSPACE"),
        })
    }

    pub(crate) fn runs_us() -> bool {
        std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
    }

    /// Whether anything is worth showing.
    pub(crate) fn has_news(verdict: &Verdict) -> bool {
        let failures = verdict.usage.as_ref().is_some_and(|usage| !limits_hit::failures(usage).is_empty());
        verdict.leaked() > 0 || !verdict.is_proven() || failures
    }

    /// Workflow commands for survivors, limits that were hit, and the worst leaks.
    pub(crate) fn annotations(&self, report: &ReportDocument) -> Vec<String> {
        let level = if report.outcome.leaks_fail() { "error" } else { "warning" };
        let problems = report.survivors.iter().chain(&report.unverified);
        let survivors = problems.map(|text| command("error", &[("title", "cgrun: not clean")], text));
        let leaks = report.leaks.iter().map(|leak| self.annotation(level, leak));
        let limits = report.usage.iter().flat_map(limits_hit::failures);
        let limits = limits.map(|text| command("warning", &[("title", "cgrun: a limit was hit")], &text));
        survivors.chain(limits).chain(leaks).take(ANNOTATIONS).collect()
    }

    fn annotation(&self, level: &str, leak: &LeakedProcess) -> String {
        let count = processes(leak.process_count());
        let title = match leak_text::test(leak) {
            Some(test) => format!("leaked {count}, started during {test}"),
            None => format!("leaked {count}"),
        };
        let during = leak.started_during.as_ref();
        let file =
            during.and_then(|it| it.file.as_deref()).and_then(|file| self.in_repository(Path::new(file)));
        let line = during.and_then(|it| it.line).map(|line| line.to_string());
        let mut properties = Vec::new();
        if let Some(file) = &file {
            properties.push(("file", file.as_str()));
            properties.extend(line.as_deref().map(|line| ("line", line)));
        }
        properties.push(("title", &title));
        let text = leak_text::listing(&[leak], 0, ANNOTATIONS).join("\n");
        command(level, &properties, &format!("{text}\nIt {}.", leak_text::kind(leak)))
    }

    /// Annotations need paths that are relative to the root of the repository.
    fn in_repository(&self, file: &Path) -> Option<String> {
        let workspace = self.workspace.as_ref().map(Path::new);
        let file = workspace.map_or(Some(file), |workspace| file.strip_prefix(workspace).ok())?;
        Some(file.to_string_lossy().into_owned())
    }

    /// Appends to the step's summary, unless the supervisor did so before it died.
    pub(crate) fn summarize_unless_done(&self, report: &ReportDocument) -> io::Result<()> {
        let is_there = |path: &OsString| {
            let text = std::fs::metadata(path).is_ok_and(|it| it.is_file()).then(|| std::fs::read(path));
            let text = text.and_then(Result::ok).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(&mark(report))
        };
        if self.summary.as_ref().is_some_and(is_there) { Ok(()) } else { self.summarize(report) }
    }

    /// Appends to the step's summary.
    pub(crate) fn summarize(&self, report: &ReportDocument) -> io::Result<()> {
        let Some(path) = &self.summary else { return Ok(()) };
        let mut file =
            OpenOptions::new().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        file.write_all(format!("{}{}\n\n", markdown(report), mark(report)).as_bytes())
    }
}

/// Shows that the summary of this session has been written.
fn mark(report: &ReportDocument) -> String {
    format!("<!-- cgrun session {} -->", report.session.id)
}

fn command(name: &str, properties: &[(&str, &str)], text: &str) -> String {
    let properties: Vec<_> =
        properties.iter().map(|(key, value)| format!("{key}={}", property(value))).collect();
    format!("::{name} {}::{}", properties.join(","), data(text))
}

/// The runner decodes `%25`, `%0D` and `%0A` in the text, and `%3A` and `%2C` in properties.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn markdown(report: &ReportDocument) -> String {
    let mut text = format!("### cgrun: leaked {}\n\n", processes(report.leaked_process_count));
    if report.leaked_process_count == 0 {
        let state = match &report.usage {
            _ if !report.outcome.verified_empty => "not clean",
            Some(usage) if !limits_hit::failures(usage).is_empty() => "a limit was hit",
            _ => &report.outcome.reason,
        };
        text = format!("### cgrun: {}\n\n", cell(state));
    }
    let problems = report.survivors.iter().chain(&report.unverified);
    text.extend(problems.map(|problem| format!("- **{}**\n", cell(problem))));
    text.extend(limits_hit::all(report.usage.as_ref()).iter().map(|limit| format!("- {}\n", cell(limit))));
    if !report.leaks.is_empty() {
        text += "\n| started during | process | listening on | how it leaked |\n|---|---|---|---|\n";
    }
    for leak in report.leaks.iter().take(ROWS) {
        let test = leak_text::test(leak).map_or("unknown".into(), cell);
        let ports: Vec<_> = leak.listening_on.iter().map(ToString::to_string).collect();
        let below = match leak.process_count() {
            1 => String::new(),
            size => format!(" and {} below it", size - 1),
        };
        let process = cell(&shorten(&leak.command_text(), 200));
        text += &format!(
            "| {test} | pid {} {process}{below} | {} | {} |\n",
            leak.pid,
            ports.join(", "),
            leak_text::kind(leak)
        );
    }
    let listed: usize = report.leaks.iter().take(ROWS).map(LeakedProcess::process_count).sum();
    if report.leaked_process_count > listed {
        text += &format!("\nand {} more\n", report.leaked_process_count - listed);
    }
    text + "\n"
}

/// Escapes text for a table cell, so that it contains no Markdown and no HTML.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars() {
        match c {
            '\r' | '\n' => cell.push(' '),
            '&' => cell.push_str("&amp;"),
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            c if c.is_ascii_punctuation() => cell.extend(['\\', c]),
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_decodes_what_we_encode() {
        let command = command("error", &[("file", "a,b:c.py"), ("title", "50%\n")], "a\r\nb: 100%, ::x::");
        assert_eq!(command, "::error file=a%2Cb%3Ac.py,title=50%25%0A::a%0D%0Ab: 100%25, ::x::");
    }

    #[test]
    fn a_cell_contains_only_text() {
        assert_eq!(cell("a|b\n<img> `x` [y](z)"), r"a\|b &lt;img&gt; \`x\` \[y\]\(z\)");
    }
}
