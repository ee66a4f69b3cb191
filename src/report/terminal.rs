//! Writes messages and the status line to the user's terminal. All output goes to stderr, because stdout
//! belongs to the command.

use std::cell::Cell;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::group_lines::Room;
use super::known_leaks::BaselineSummary;
use super::log_writer::LogWriter;
use super::paint::Paint;
use super::{container_text, leftover_text, limits_hit, usage, verdict_text};
use crate::containment::Kind;
use crate::leftovers::{Leftover, Leftovers};
use crate::plan::Verbosity;
use crate::runtime::ci::Ci;
use crate::runtime::clock;
use crate::sys::terminal;
use crate::sys::time::Instant;
use crate::teardown::{Cause, Verdict};
use crate::text::readable;

/// The status line is drawn this often.
const REDRAW: Duration = Duration::from_millis(100);
/// A service that becomes ready sooner never appears in the status line.
const WORTH_A_LINE: Duration = Duration::from_millis(200);
/// How many lines of a list stay visible if the others are folded.
const VISIBLE: usize = 10;
/// How many lines the list of leaks has at most. Further processes are counted.
const LISTED: usize = 20;
const LISTED_IN_CI: usize = 50;
/// A fold of fewer lines is not worth its title.
const FEWEST_FOLDED: usize = 3;

/// Writes messages at the verbosity that the user asked for.
#[derive(Debug)]
pub(crate) struct Reporter {
    verbosity: Verbosity,
    status_drawn: Cell<Option<Instant>>,
    writer: LogWriter,
}

/// Which lines of a long list stay visible.
#[derive(Clone, Copy, Debug)]
enum Important {
    First,
    Last,
}

impl Reporter {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity, status_drawn: Cell::new(None), writer: LogWriter::new() }
    }

    /// Reports a problem, even if cgrun is quiet.
    pub(crate) fn error(&self, text: &str) {
        self.clear();
        let mut lines = String::new();
        for line in text.lines() {
            let _ = writeln!(lines, "cgrun: {}", readable(line));
        }
        self.writer.write(&lines);
    }

    /// Writes lines that may contain colours, so unsafe characters must have been escaped before.
    fn lines(&self, lines: &[String]) {
        self.clear();
        self.writer.write(&prefixed(lines));
    }

    /// Whether a long list is folded, so that it may be longer.
    pub(crate) fn folds(&self) -> bool {
        self.writer.can_fold()
    }

    /// A list whose unimportant lines are folded if there are many.
    fn list(&self, lines: &[String], important: Important) {
        let others = lines.len().saturating_sub(VISIBLE);
        let (visible, folded, adjective) = match important {
            _ if !self.folds() || others < FEWEST_FOLDED => return self.lines(lines),
            Important::First => (&lines[..VISIBLE], &lines[VISIBLE..], "more"),
            Important::Last => (&lines[others..], &lines[..others], "earlier"),
        };
        let title = format!("cgrun:   {others} {adjective} lines");
        match important {
            Important::First => {
                self.lines(visible);
                self.writer.fold(&title, &prefixed(folded));
            }
            Important::Last => {
                self.writer.fold(&title, &prefixed(folded));
                self.lines(visible);
            }
        }
    }

    /// GitHub recognizes a workflow command only at the start of a line.
    pub(crate) fn workflow_commands(&self, commands: &[String]) {
        self.writer.write(&commands.iter().map(|command| format!("{command}\n")).collect::<String>());
    }

    pub(super) fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    /// Prints something worth knowing, unless cgrun is quiet.
    pub(crate) fn say(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.error(text);
        }
    }

    /// Shows the last lines of a service's log, or if there are none, a possible reason.
    pub(crate) fn log(&self, path: &Path, lines: &[String], if_empty: Option<&str>) {
        if lines.is_empty() {
            self.error(&format!("  its log {} is empty", path.display()));
            return if_empty.iter().for_each(|hint| self.error(&format!("  hint: {hint}")));
        }
        self.error(&format!("  the end of {}:", path.display()));
        let lines: Vec<_> = lines.iter().map(|line| format!("  | {}", readable(line))).collect();
        self.list(&lines, Important::Last);
    }

    /// A service became ready. On a terminal the status line has already shown this.
    pub(crate) fn ready(&self, service: &str, seconds: f32) {
        if self.verbosity == Verbosity::Verbose || !terminal::stderr_is_our_terminal() {
            self.say(&format!("{service} is ready after {seconds:.1} s"));
        }
    }

    /// Draws the status line: the services that are not ready yet, with what each waits for and for how long.
    pub(crate) fn waiting<'a>(&self, services: impl Iterator<Item = (&'a str, String, Duration)>) {
        if !self.is_status_due() {
            return;
        }
        let waiting: Vec<_> = services
            .filter(|(_, _, waited)| *waited >= WORTH_A_LINE)
            .map(|(name, what, waited)| format!("{name} ({what}) {:.1} s", waited.as_secs_f32()))
            .collect();
        if !waiting.is_empty() {
            self.draw_status(&format!("cgrun: waiting for {}", waiting.join(", ")));
        }
    }

    /// Draws a status line.
    pub(crate) fn progress(&self, line: impl FnOnce() -> String) {
        if self.is_status_due() {
            self.draw_status(&line());
        }
    }

    fn is_status_due(&self) -> bool {
        let is_due = self.status_drawn.get().is_none_or(|drawn| clock::since(drawn) >= REDRAW);
        // Checked every time, because the shell may have moved us to the background.
        is_due && self.verbosity != Verbosity::Quiet && terminal::stderr_is_our_terminal()
    }

    fn draw_status(&self, line: &str) {
        let line: String = readable(line).chars().take(terminal::columns().saturating_sub(1)).collect();
        terminal::to_stderr(&format!("\r\x1b[2K{line}"));
        self.status_drawn.set(Some(clock::now()));
    }

    /// Erases the status line.
    pub(crate) fn clear(&self) {
        if self.status_drawn.take().is_some() {
            terminal::to_stderr("\r\x1b[2K");
        }
    }

    /// Says what the baseline has to do with the leaks. In CI, or if cgrun is verbose, also what leaks no more.
    pub(crate) fn baseline(&self, baseline: &BaselineSummary) {
        baseline.failure().iter().for_each(|failure| self.error(failure));
        let says_all = self.verbosity == Verbosity::Verbose || Ci::detect().is_some();
        baseline.lines(says_all).iter().for_each(|line| self.say(line));
    }

    /// Reports what is left that is not a process.
    pub(crate) fn leftovers(&self, leftovers: &Leftovers) {
        if self.verbosity < Verbosity::Normal {
            return;
        }
        let listed = if self.folds() { LISTED_IN_CI } else { LISTED };
        for (headline, lines) in leftover_text::lists(&leftovers.found, listed) {
            self.say(&headline);
            self.list(&lines, Important::First);
        }
        leftover_text::hints(leftovers).for_each(|it| self.say(&format!("  hint: {it}")));
        let unverified = leftovers.unverified.iter();
        unverified.for_each(|it| self.say(&format!("leftovers are not verified: {it}")));
    }

    /// Reports what the teardown found. A clean session is silent, unless cgrun is verbose.
    pub(crate) fn verdict(&self, verdict: &Verdict, cause: &Cause, kind: Kind, took: Duration) {
        let paint = Paint::for_stderr();
        let used = verdict.usage.as_ref();
        let listed = if self.folds() { LISTED_IN_CI } else { LISTED };
        let each = self.verbosity == Verbosity::Verbose;
        if let Some((headline, leaks)) = verdict_text::leaks(verdict, Room::on_stderr(listed), each, paint) {
            self.lines(&[headline]);
            self.list(&leaks, Important::First);
        }
        if let Some((headline, leaks)) = verdict_text::ended_before(verdict, listed, paint) {
            self.lines(&[headline]);
            self.list(if each { &leaks } else { &[] }, Important::First);
        }
        let objects: Vec<_> = verdict.objects.iter().map(Leftover::ended).collect();
        if let Some((headline, lines)) =
            container_text::leaked(&objects, verdict.in_baseline.is_some(), listed)
        {
            self.lines(&[paint.bad(&headline)]);
            self.list(&lines, Important::First);
        }
        container_text::also_removed(&objects).iter().for_each(|it| self.say(it));
        self.lines(&verdict_text::problems(verdict, paint));
        used.iter().flat_map(|it| limits_hit::failures(it)).for_each(|line| self.error(&line));
        if self.verbosity >= Verbosity::Normal {
            self.lines(&verdict_text::notes(verdict, paint));
        }
        used.iter().flat_map(|it| limits_hit::slowdowns(it)).for_each(|line| self.say(&line));
        if self.verbosity == Verbosity::Verbose {
            let known = verdict_text::known_leaks(verdict, listed);
            for (headline, leaks) in known.into_iter().chain(verdict_text::allowed_leaks(verdict, listed)) {
                self.lines(&[headline]);
                self.list(&leaks, Important::First);
            }
            used.iter().flat_map(|it| usage::table(it)).for_each(|line| self.say(&line));
            self.say(&verdict_text::summary(verdict, cause, kind, took));
        }
    }
}

fn prefixed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("cgrun: {line}\n")).collect()
}
