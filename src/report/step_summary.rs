//! The summary of a step on GitHub: Markdown that is appended to the file that the runner names.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::json::ReportDocument;
use super::leaking_tests::{LeakedProgram, LeakingTest};
use super::markdown::{cell, item};
use super::{container_text, leak_text, leftover_text, limits_hit};
use crate::leftovers::Leftover;
use crate::sys::nonce::Nonce;
use crate::sys::regular_file::open_regular_with;

/// If the file is larger, GitHub shows none of it, not even what others wrote.
const LARGEST: u64 = 1024 * 1024;
/// More rows than this would not be read.
const ROWS: usize = 50;
/// So many programs of a test are listed.
const PROGRAMS: usize = 5;

/// The file, which the session's processes can read, write and replace. So it is used with their rights, and its content is
/// not believed.
#[derive(Debug)]
pub(super) struct StepSummary {
    path: PathBuf,
    nonce: Nonce,
}

impl StepSummary {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        // The guardian has another working directory.
        Ok(Self { path: std::path::absolute(path).unwrap_or(path.into()), nonce: Nonce::random()? })
    }

    /// Appends the summary of this session, unless it is there already.
    pub(super) fn append_unless_done(&self, report: &ReportDocument) -> io::Result<()> {
        if self.contains_mark().unwrap_or(false) { Ok(()) } else { self.append(report) }
    }

    /// Appends the summary of this session to what the step has written so far.
    pub(super) fn append(&self, report: &ReportDocument) -> io::Result<()> {
        let mut file = open(&self.path, OpenOptions::new().append(true).create(true))?;
        let length = file.metadata()?.len();
        let before = if self.ends_within_a_line(length) { "\n\n" } else { "" };
        let no_room =
            || format!("{}There is no room for more: see the log of the step.\n\n", heading(report));
        let texts = [markdown(report), no_room()].map(|text| format!("{before}{text}{}\n\n", self.mark()));
        let fits = |text: &String| length + text.len() as u64 <= LARGEST;
        match texts.into_iter().find(fits) {
            // With one write, so that concurrent sessions do not mix.
            Some(text) => file.write_all(text.as_bytes()),
            None => Err(io::Error::other("it is full: GitHub shows no summary that is larger than 1 MiB")),
        }
    }

    /// Shows that the summary of this session has been written. The session cannot know the mark before, and so it cannot
    /// forge it to keep the guardian from writing.
    fn mark(&self) -> String {
        format!("<!-- cgrun {} -->", self.nonce)
    }

    fn contains_mark(&self) -> io::Result<bool> {
        let mut text = Vec::new();
        open(&self.path, OpenOptions::new().read(true))?.take(LARGEST).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).contains(&self.mark()))
    }

    /// Whether what the step wrote last has no line end.
    fn ends_within_a_line(&self, length: u64) -> bool {
        let mut last = [b'\n'];
        // Not everyone who may append may read.
        let file = open(&self.path, OpenOptions::new().read(true));
        length > 0
            && file.is_ok_and(|file| file.read_exact_at(&mut last, length - 1).is_ok())
            && last != [b'\n']
    }
}

/// Opens a regular file, without waiting for the other end if it is a pipe.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_regular_with(options, path, 0)?.ok_or_else(|| io::Error::other("it is not a regular file"))
}

fn heading(report: &ReportDocument) -> String {
    if report.has_new_leaks() {
        return format!("### cgrun: leaked {}\n\n", report.leaked_text());
    }
    let state = match &report.usage {
        _ if !report.outcome.verified_empty => "not clean",
        Some(usage) if !limits_hit::failures(usage).is_empty() => "a limit was hit",
        _ => &report.outcome.reason,
    };
    format!("### cgrun: {}\n\n", item(state))
}

fn markdown(report: &ReportDocument) -> String {
    let mut text = heading(report);
    text += &failure(report);
    let problems = report.survivors.iter().chain(&report.unverified).take(ROWS);
    text.extend(problems.map(|problem| format!("- **{}**\n", item(problem))));
    text.extend(limits_hit::all(report.usage.as_ref()).iter().map(|limit| format!("- {}\n", item(limit))));
    text.extend(report.baseline.iter().filter_map(|it| it.known()).map(|it| format!("- {}\n", item(&it))));
    text.extend(container_text::also_removed(&report.leftovers).map(|it| format!("- {}\n", item(&it))));
    let leftovers = leftover_text::lists(&report.leftovers, ROWS);
    text.extend(
        leftovers.iter().map(|(headline, lines)| format!("- {}\n", item(&in_one_line(headline, lines)))),
    );
    let by_test = by_test(&report.tests);
    text += &by_test;
    if !by_test.is_empty() {
        text += "\n<details><summary>Each process</summary>\n";
    }
    let leaks: Vec<_> = report.new_leaks().collect();
    if !leaks.is_empty() {
        text += "\n| started during | process | listening on | how it leaked |\n|---|---|---|---|\n";
    }
    for leak in leaks.iter().take(ROWS) {
        let test = leak_text::test(leak).map_or("unknown".into(), cell);
        let ports: Vec<_> = leak.listening_on.iter().map(ToString::to_string).collect();
        let below = match leak.process_count() {
            1 => String::new(),
            size => format!(" and {} below it", size - 1),
        };
        let process = cell(&leak.command_text());
        text += &format!(
            "| {test} | pid {} {process}{below} | {} | {} |\n",
            leak.pid,
            cell(&ports.join(", ")),
            leak_text::kind(leak)
        );
    }
    let listed: usize = leaks.iter().take(ROWS).map(|it| it.process_count()).sum();
    if report.new_process_count() > listed {
        text += &format!("\nand {} more\n", report.new_process_count() - listed);
    }
    if !by_test.is_empty() {
        text += "\n</details>\n";
    }
    text += &containers(&report.leftovers);
    text + "\n"
}

/// The leaked containers, by their tests.
fn containers(leftovers: &[Leftover]) -> String {
    let leaked = container_text::new(leftovers);
    if leaked.is_empty() {
        return String::new();
    }
    let mut text = "\n| created during | container that was left running | its last words |\n|---|---|---|\n"
        .to_string();
    for it in leaked.iter().take(ROWS) {
        let test = container_text::test(it).map_or("unknown".into(), |it| cell(&it));
        let words: Vec<_> = container_text::last_words(it).map(|line| cell(&line)).collect();
        text += &format!("| {test} | {} | {} |\n", cell(&container_text::what(it)), words.join("<br>"));
    }
    if leaked.len() > ROWS {
        text += &format!("\nand {} more\n", leaked.len() - ROWS);
    }
    text
}

fn in_one_line(headline: &str, lines: &[String]) -> String {
    let lines: Vec<_> = lines.iter().map(|it| it.trim()).collect();
    format!("{headline} {}", lines.join("; "))
}

/// Why the session ended, if it was not its command that ended it, and what its processes waited for.
fn failure(report: &ReportDocument) -> String {
    let Some(reason) = report.outcome.failure() else { return String::new() };
    let Some((verdict, others)) = report.why.split_last() else { return format!("- {}\n", item(reason)) };
    let others: Vec<_> = others.iter().take(ROWS).map(|line| item(line)).collect();
    format!(
        "- {}\n- {}\n\n<details><summary>What it waited for</summary>\n\n{}\n\n</details>\n\n",
        item(reason),
        item(verdict),
        others.join("<br>\n")
    )
}

/// Which tests left what running that is not known. Nothing if that is one process, which the other table describes.
fn by_test(tests: &[LeakingTest]) -> String {
    let tests =
        tests.iter().map(|test| (test, test.programs.iter().filter(|it| !it.known).collect::<Vec<_>>()));
    let tests: Vec<_> = tests.filter(|(_, new)| !new.is_empty()).collect();
    let size = |programs: &[&LeakedProgram]| programs.iter().map(|it| it.process_count).sum::<usize>();
    if tests.iter().map(|(_, programs)| size(programs)).sum::<usize>() < 2 {
        return String::new();
    }
    let mut text = "\n| test | processes | what it left running |\n|---|---|---|\n".to_string();
    for (test, new) in tests.iter().take(ROWS) {
        let programs: Vec<_> = new.iter().take(PROGRAMS).map(|it| cell(&it.text())).collect();
        let more = match new.len().saturating_sub(PROGRAMS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (name, count) = (cell(&test.text), size(new));
        text += &format!("| {name} | {count} | {}{more} |\n", programs.join("<br>"));
    }
    if tests.len() > ROWS {
        text += &format!("\nand {} more tests\n", tests.len() - ROWS);
    }
    text
}
