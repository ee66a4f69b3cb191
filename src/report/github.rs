//! What GitHub Actions shows by itself: annotations on the tests' own lines, and a summary of the step.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::json::{LeakedProcess, ReportDocument};
use super::{usage, words};
use crate::teardown::Verdict;
use crate::text;

/// GitHub shows no more of a step.
const SHOWN: usize = 10;
/// A summary has at most 1 MiB, and nobody reads so much.
const LISTED: usize = 50;

/// Where GitHub wants what, when it runs us.
#[derive(Debug)]
pub struct GitHub {
    summary: Option<OsString>,
    workspace: Option<OsString>,
}

impl GitHub {
    pub fn find() -> Option<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // The guardian is elsewhere.
        let absolute = |path: OsString| std::path::absolute(&path).map_or(path, Into::into);
        Self::runs_us().then(|| Self {
            summary: set("GITHUB_STEP_SUMMARY").map(absolute),
            workspace: set("GITHUB_WORKSPACE"),
        })
    }

    pub fn runs_us() -> bool {
        std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
    }

    /// Whether there is anything to show.
    pub fn wants(verdict: &Verdict) -> bool {
        let broken = verdict.usage.as_ref().is_some_and(|usage| !usage::broken(usage).is_empty());
        verdict.leaked() > 0 || !verdict.is_proven() || broken
    }

    /// Workflow commands, one a line, for what survived, the limits that were met, and the worst leaks.
    pub fn annotations(&self, report: &ReportDocument) -> Vec<String> {
        let level = if report.outcome.leaks_fail() { "error" } else { "warning" };
        let problems = report.survivors.iter().chain(&report.unverified);
        let survivors = problems.map(|text| command("error", &[("title", "cgrun: not clean")], text));
        let leaks = report.leaks.iter().map(|leak| self.annotation(level, leak));
        let broken = report.usage.iter().flat_map(usage::broken);
        let broken = broken.map(|text| command("warning", &[("title", "cgrun: a limit was met")], &text));
        survivors.chain(broken).chain(leaks).take(SHOWN).collect()
    }

    fn annotation(&self, level: &str, leak: &LeakedProcess) -> String {
        let count = text::processes(leak.process_count());
        let title = match words::test(leak) {
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
        let text = words::listing(&[leak], 0, SHOWN).join("\n");
        command(level, &properties, &format!("{text}\nIt {}.", words::how(leak)))
    }

    /// Annotations are for files of the repository, named from its root.
    fn in_repository(&self, file: &Path) -> Option<String> {
        let workspace = self.workspace.as_ref().map(Path::new);
        let file = workspace.map_or(Some(file), |workspace| file.strip_prefix(workspace).ok())?;
        Some(file.to_string_lossy().into_owned())
    }

    /// Appends to the step's summary, unless the supervisor has done so before it died.
    pub fn summarize_for_the_dead(&self, report: &ReportDocument) -> io::Result<()> {
        let is_there = |path: &OsString| {
            let text = std::fs::metadata(path).is_ok_and(|it| it.is_file()).then(|| std::fs::read(path));
            let text = text.and_then(Result::ok).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(&mark(report))
        };
        if self.summary.as_ref().is_some_and(is_there) { Ok(()) } else { self.summarize(report) }
    }

    /// Appends to the step's summary.
    pub fn summarize(&self, report: &ReportDocument) -> io::Result<()> {
        let Some(path) = &self.summary else { return Ok(()) };
        let mut file =
            OpenOptions::new().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        file.write_all(format!("{}{}\n\n", markdown(report), mark(report)).as_bytes())
    }
}

/// By which whoever comes later sees that the session's summary is there.
fn mark(report: &ReportDocument) -> String {
    format!("<!-- cgrun session {} -->", report.session.id)
}

fn command(name: &str, properties: &[(&str, &str)], text: &str) -> String {
    let properties: Vec<_> =
        properties.iter().map(|(key, value)| format!("{key}={}", property(value))).collect();
    format!("::{name} {}::{}", properties.join(","), data(text))
}

/// As the runner decodes it: `%25`, `%0D` and `%0A` in the text, `%3A` and `%2C` in properties too.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn markdown(report: &ReportDocument) -> String {
    let mut text = format!("### cgrun: leaked {}\n\n", text::processes(report.leaked_process_count));
    if report.leaked_process_count == 0 {
        let state = match &report.usage {
            _ if !report.outcome.verified_empty => "not clean",
            Some(usage) if !usage::broken(usage).is_empty() => "a limit was met",
            _ => &report.outcome.reason,
        };
        text = format!("### cgrun: {}\n\n", cell(state));
    }
    let problems = report.survivors.iter().chain(&report.unverified);
    text.extend(problems.map(|problem| format!("- **{}**\n", cell(problem))));
    text.extend(usage::met(report.usage.as_ref()).iter().map(|met| format!("- {}\n", cell(met))));
    if !report.leaks.is_empty() {
        text += "\n| started during | process | listens on | how |\n|---|---|---|---|\n";
    }
    for leak in report.leaks.iter().take(LISTED) {
        let test = words::test(leak).map_or("unknown".into(), cell);
        let ports: Vec<_> = leak.listening_on.iter().map(ToString::to_string).collect();
        let below = match leak.process_count() {
            1 => String::new(),
            size => format!(" and {} below it", size - 1),
        };
        let process = cell(&text::shorten(&leak.command_text(), 200));
        text += &format!(
            "| {test} | pid {} {process}{below} | {} | {} |\n",
            leak.pid,
            ports.join(", "),
            words::how(leak)
        );
    }
    let listed: usize = report.leaks.iter().take(LISTED).map(LeakedProcess::process_count).sum();
    if report.leaked_process_count > listed {
        text += &format!("\nand {} more\n", report.leaked_process_count - listed);
    }
    text + "\n"
}

/// Text as it is, in a cell of a table: nothing in it is a mark of Markdown or HTML.
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
    fn commands_are_encoded_as_the_runner_decodes_them() {
        let command = command("error", &[("file", "a,b:c.py"), ("title", "50%\n")], "a\r\nb: 100%, ::x::");
        assert_eq!(command, "::error file=a%2Cb%3Ac.py,title=50%25%0A::a%0D%0Ab: 100%25, ::x::");
    }

    #[test]
    fn a_cell_is_text_and_nothing_else() {
        assert_eq!(cell("a|b\n<img> `x` [y](z)"), r"a\|b &lt;img&gt; \`x\` \[y\]\(z\)");
    }
}
