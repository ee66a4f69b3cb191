//! GitHub Actions: annotations at the lines of the tests, and a summary of the step.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::json::ReportDocument;
use super::leaked_process::LeakedProcess;
use super::leaking_tests::LeakingTest;
use super::step_summary::StepSummary;
use super::{container_text, leak_text, limits_hit};
use crate::leftovers::Leftover;
use crate::runtime::ci::Ci;
use crate::teardown::{Cause, Verdict};
use crate::text::{processes, shorten};

/// GitHub shows at most this many annotations of one level for a step.
const ANNOTATIONS: usize = 10;
/// How much of a test's name a title shows (characters).
const LONGEST_TEST: usize = 300;

/// What GitHub's runner passes in the environment.
#[derive(Debug)]
pub(crate) struct GitHub {
    summary: Option<StepSummary>,
    workspace: Option<OsString>,
}

impl GitHub {
    /// `None` unless GitHub's runner runs us.
    pub(crate) fn from_environment() -> io::Result<Option<Self>> {
        if Ci::detect() != Some(Ci::GitHub) {
            return Ok(None);
        }
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let summary = set("GITHUB_STEP_SUMMARY").map(|path| StepSummary::new(Path::new(&path)));
        Ok(Some(Self { summary: summary.transpose()?, workspace: set("GITHUB_WORKSPACE") }))
    }

    /// Whether anything is worth showing.
    pub(crate) fn has_news(cause: &Cause, verdict: &Verdict) -> bool {
        let failures = verdict.usage.as_ref().is_some_and(|usage| !limits_hit::failures(usage).is_empty());
        cause.is_explained() || verdict.has_leaks() || !verdict.is_proven() || failures
    }

    /// Workflow commands for what ended the session, survivors, limits that were hit, and the worst leaks.
    pub(crate) fn annotations(&self, report: &ReportDocument) -> Vec<String> {
        let level = if report.outcome.leaks_fail() { "error" } else { "warning" };
        let problems = report.survivors.iter().chain(&report.unverified);
        let survivors = problems.map(|text| command("error", &[("title", "cgrun: not clean")], text));
        let leaks = report.new_leaks().map(|leak| self.annotation(level, leak));
        let limits = report.usage.iter().flat_map(limits_hit::failures);
        let limits = limits.map(|text| command("warning", &[("title", "cgrun: a limit was hit")], &text));
        let containers = container_text::new(&report.leftovers).into_iter();
        let containers = containers.map(|it| self.container_annotation(level, it, &report.tests));
        let all = failure(report).into_iter().chain(survivors).chain(limits).chain(leaks).chain(containers);
        all.take(ANNOTATIONS).collect()
    }

    fn annotation(&self, level: &str, leak: &LeakedProcess) -> String {
        let count = processes(leak.process_count());
        let title = match leak_text::test(leak) {
            Some(test) => format!("leaked {count}, started during {}", shorten(test, LONGEST_TEST)),
            None => format!("leaked {count}"),
        };
        let during = leak.started_during.as_ref();
        let place = (during.and_then(|it| it.file.as_deref()), during.and_then(|it| it.line));
        let text = leak_text::listing(&[leak], 0, ANNOTATIONS).join("\n");
        self.at(place, level, &title, &format!("{text}\nIt {}.", leak_text::kind(leak)))
    }

    fn container_annotation(&self, level: &str, leaked: &Leftover, tests: &[LeakingTest]) -> String {
        let title = match container_text::test(leaked) {
            Some(test) => format!("leaked 1 container, created during {}", shorten(&test, LONGEST_TEST)),
            None => "leaked 1 container".into(),
        };
        let lines = std::iter::once(container_text::what(leaked)).chain(container_text::last_words(leaked));
        let test = tests.iter().find(|it| leaked.origin.as_ref().is_some_and(|origin| it.is_of(origin)));
        let place = (test.and_then(|it| it.file.as_deref()), test.and_then(|it| it.line));
        self.at(place, level, &title, &lines.collect::<Vec<_>>().join("\n"))
    }

    /// An annotation at the line of a test, if that is known.
    fn at(
        &self,
        (file, line): (Option<&str>, Option<usize>),
        level: &str,
        title: &str,
        text: &str,
    ) -> String {
        let file = file.and_then(|file| self.in_repository(Path::new(file)));
        let line = line.map(|line| line.to_string());
        let mut properties = Vec::new();
        if let Some(file) = &file {
            properties.push(("file", file.as_str()));
            properties.extend(line.as_deref().map(|line| ("line", line)));
        }
        properties.push(("title", title));
        command(level, &properties, text)
    }

    /// Annotations need paths that are relative to the root of the repository.
    fn in_repository(&self, file: &Path) -> Option<String> {
        let workspace = self.workspace.as_ref().map(Path::new);
        let file = workspace.map_or(Some(file), |workspace| file.strip_prefix(workspace).ok())?;
        Some(file.to_string_lossy().into_owned())
    }

    /// Appends to the step's summary, unless the supervisor did so before it died.
    pub(crate) fn summarize_unless_done(&self, report: &ReportDocument) -> io::Result<()> {
        self.summary.as_ref().map_or(Ok(()), |summary| summary.append_unless_done(report))
    }

    /// Appends to the step's summary.
    pub(crate) fn summarize(&self, report: &ReportDocument) -> io::Result<()> {
        self.summary.as_ref().map_or(Ok(()), |summary| summary.append(report))
    }
}

/// Why the session ended, if it was not its command that ended it, and which process to look at.
fn failure(report: &ReportDocument) -> Option<String> {
    let reason = report.outcome.failure()?;
    let text: Vec<&str> = std::iter::once(reason).chain(report.why.last().map(String::as_str)).collect();
    Some(command(
        "error",
        &[("title", &format!("cgrun: {}", shorten(reason, LONGEST_TEST)))],
        &text.join("\n"),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_decodes_what_we_encode() {
        let command = command("error", &[("file", "a,b:c.py"), ("title", "50%\n")], "a\r\nb: 100%, ::x::");
        assert_eq!(command, "::error file=a%2Cb%3Ac.py,title=50%25%0A::a%0D%0Ab: 100%25, ::x::");
    }
}
