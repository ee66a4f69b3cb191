//! What cgrun says, all of it on stderr.

mod draft;
mod github;
mod html;
mod human;
mod json;
mod junit;
mod locate;
mod paint;
mod targets;
mod timeline;
mod tree;
mod usage;
mod words;

use std::cell::Cell;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

pub use draft::{Course, Draft};
pub use github::GitHub;
pub use targets::Targets;
pub use timeline::Timeline;

use crate::containment::Kind;
use crate::plan::Volume;
use crate::runtime::clock;
use crate::sys::tty;
use crate::teardown::{Cause, Verdict};
use crate::text::readable;
use paint::Paint;

/// The status line is drawn again this often.
const REDRAW: Duration = Duration::from_millis(100);
/// A service that is ready sooner is not worth a status line.
const WORTH_A_LINE: Duration = Duration::from_millis(200);

/// Says things to the user, as loudly as asked for.
#[derive(Debug)]
pub struct Reporter {
    volume: Volume,
    drawn: Cell<Option<Instant>>,
}

impl Reporter {
    pub fn new(volume: Volume) -> Self {
        Self { volume, drawn: Cell::new(None) }
    }

    /// Something that went wrong: said at any volume.
    pub fn error(&self, text: &str) {
        self.clear();
        let mut lines = String::new();
        for line in text.lines() {
            let _ = writeln!(lines, "cgrun: {}", readable(line));
        }
        to_stderr(&lines);
    }

    /// As [`error`](Self::error), of text that is fit for a terminal: it may be coloured.
    fn lines(&self, lines: &[String]) {
        self.clear();
        to_stderr(&lines.iter().map(|line| format!("cgrun: {line}\n")).collect::<String>());
    }

    /// Commands to GitHub, which stand on lines of their own.
    pub fn workflow_commands(&self, commands: &[String]) {
        to_stderr(&commands.iter().map(|command| format!("{command}\n")).collect::<String>());
    }

    /// Something worth knowing.
    pub fn say(&self, text: &str) {
        if self.volume >= Volume::Normal {
            self.error(text);
        }
    }

    /// The end of a service's log.
    pub fn log(&self, path: &Path, lines: &[String]) {
        if lines.is_empty() {
            return self.error(&format!("  its log {} is empty", path.display()));
        }
        self.error(&format!("  the end of {}:", path.display()));
        lines.iter().for_each(|line| self.error(&format!("  | {line}")));
    }

    /// A service became ready: a line in a CI log; on a terminal the status line has shown it.
    pub fn ready(&self, service: &str, seconds: f32) {
        if self.volume == Volume::Verbose || !tty::stderr_is_our_terminal() {
            self.say(&format!("{service} is ready after {seconds:.1} s"));
        }
    }

    /// Draws who is waited for, and how long already.
    pub fn waiting<'a>(&self, services: impl Iterator<Item = (&'a str, String, Duration)>) {
        let due = self.drawn.get().is_none_or(|drawn| clock::since(drawn) >= REDRAW);
        // Asked anew each time: the shell may have sent us to the background.
        if !due || self.volume == Volume::Quiet || !tty::stderr_is_our_terminal() {
            return;
        }
        let waited: Vec<_> = services
            .filter(|(_, _, since)| *since >= WORTH_A_LINE)
            .map(|(name, what, since)| format!("{name} ({what}) {:.1} s", since.as_secs_f32()))
            .collect();
        if !waited.is_empty() {
            let line = format!("cgrun: waiting for {}", waited.join(", "));
            let line: String = line.chars().take(tty::columns().saturating_sub(1)).collect();
            tty::to_stderr(&format!("\r\x1b[2K{line}"));
            self.drawn.set(Some(clock::now()));
        }
    }

    /// Takes the status line away.
    pub fn clear(&self) {
        if self.drawn.take().is_some() {
            tty::to_stderr("\r\x1b[2K");
        }
    }

    /// What the teardown found; nothing where all is well, unless asked to be verbose.
    pub fn verdict(&self, verdict: &Verdict, cause: &Cause, held_by: Kind, took: Duration) {
        let paint = Paint::for_stderr();
        let used = verdict.usage.as_ref();
        self.lines(&human::verdict(verdict, paint));
        used.iter().flat_map(|it| usage::broken(it)).for_each(|line| self.error(&line));
        if self.volume >= Volume::Normal {
            self.lines(&human::notes(verdict, paint));
        }
        used.iter().flat_map(|it| usage::slowed(it)).for_each(|line| self.say(&line));
        if self.volume == Volume::Verbose {
            self.lines(&human::allowed(verdict));
            used.iter().flat_map(|it| usage::table(it)).for_each(|line| self.say(&line));
            self.say(&human::summary(verdict, cause, held_by, took));
        }
    }
}

/// GitHub's runner takes `##[` anywhere in a line for a command.
fn to_stderr(text: &str) {
    if GitHub::runs_us() { tty::to_stderr(&text.replace("##[", "##\u{200b}[")) } else { tty::to_stderr(text) }
}
