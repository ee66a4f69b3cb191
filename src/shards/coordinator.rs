//! Waits for the shards, and passes on what is asked of cgrun.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::printer::Printer;
use super::running_shard::{Chunk, RunningShard};
use super::verdict;
use crate::report::Reporter;
use crate::runtime::clock;
use crate::runtime::events::{Event, Events};
use crate::runtime::exit_code::Exit;
use crate::sys::process::starters::Starters;
use crate::sys::signals::{self, Caught};
use crate::sys::time::Instant;

/// How often the status line is drawn.
const PROGRESS: Duration = Duration::from_millis(500);
/// How long what reads our output has, after a signal that asks us to exit.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Coordinator<'a> {
    shards: Vec<RunningShard>,
    events: Events,
    printer: Printer,
    report: &'a Reporter,
    fail_fast: bool,
    begun: Instant,
    /// The first signal that asked us to exit.
    asked_by: Option<Signal>,
    /// `None` without `--end-with-parent`. The shards have them too.
    starters: Option<Starters>,
}

impl<'a> Coordinator<'a> {
    /// `events` has been there since before the first shard, so that none has exited unseen.
    pub(super) fn new(
        shards: Vec<RunningShard>,
        events: Events,
        (begun, fail_fast): (Instant, bool),
        starters: Option<Starters>,
        report: &'a Reporter,
    ) -> Self {
        let printer = Printer::default();
        Self { shards, events, printer, report, fail_fast, begun, asked_by: None, starters }
    }

    /// Until all have exited and their output was shown.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let mut buffer = Box::new([0; size_of::<Chunk>()]);
        let mut give_up = None;
        loop {
            self.shards.iter_mut().try_for_each(|shard| shard.read(&mut buffer))?;
            self.printer.show(&mut self.shards, self.report)?;
            for stream in self.printer.unread() {
                self.shards.iter_mut().for_each(|shard| shard.close_stream(stream));
            }
            let all_have_exited = !self.shards.iter().any(RunningShard::is_running);
            if self.starters.as_ref().is_some_and(Starters::has_one_exited) {
                // The shards end as after this signal.
                self.asked_by.get_or_insert(Signal::SIGTERM);
            }
            if all_have_exited && self.asked_by.is_some() {
                give_up.get_or_insert(clock::now() + PATIENCE);
            }
            if self.printer.is_done(&self.shards) || give_up.is_some_and(|end| clock::now() >= end) {
                return Ok(());
            }
            self.report.progress(|| verdict::progress(&self.shards, clock::since(self.begun)));
            let mut wakes: Vec<_> = self.shards.iter().flat_map(RunningShard::wakes).collect();
            wakes.extend(self.printer.wake(&self.shards));
            let events = self.events.wait(&wakes, Some(clock::now() + PROGRESS))?;
            drop(wakes);
            self.handle(&events, &mut buffer)?;
        }
    }

    /// After an error: asks all to exit, and waits until they have.
    pub(super) fn abandon(&mut self) {
        self.end_all();
        self.shards.iter_mut().for_each(RunningShard::close);
        while self.shards.iter().any(RunningShard::is_running) {
            let Ok(events) = self.events.wait(&[], None) else { return };
            let _ = self.handle(&events, &mut [0; size_of::<Chunk>()]);
        }
        let _ = self.printer.show(&mut self.shards, self.report);
    }

    /// All that have exited at once come first: each of them ended by itself.
    fn handle(&mut self, events: &[Event], buffer: &mut Chunk) -> io::Result<()> {
        let (mut has_failed, mut result) = (false, Ok(()));
        for event in events {
            let Event::Exited(pid, status) = event else { continue };
            if let Some(shard) = self.shards.iter_mut().find(|it| it.process.pid == *pid && it.is_running()) {
                let ended = shard.end(*status, buffer);
                has_failed |= shard.has_failed() && !shard.is_cut_short();
                // A log should not keep a failure back until the others have passed.
                if shard.has_failed() {
                    verdict::say_how_it_ended(shard, self.report);
                }
                // The others that have exited must not be forgotten.
                result = result.and(ended);
            }
        }
        for event in events {
            let Event::Signal(caught) = event else { continue };
            match caught.signal {
                Signal::SIGWINCH => {}
                // A terminal that is closed sends it more than once.
                Signal::SIGHUP if self.asked_by == Some(Signal::SIGHUP) => {}
                signal if caught.is_about_ending() => {
                    self.asked_by.get_or_insert(signal);
                    self.pass_on(signal);
                }
                _ if caught.is_about_stopping() => self.suspend(*caught)?,
                signal => self.pass_on(signal),
            }
        }
        // What fails because it was asked to exit ends no other.
        if has_failed && self.fail_fast && self.asked_by.is_none() {
            self.end_all();
        }
        result
    }

    fn pass_on(&self, signal: Signal) {
        for shard in self.shards.iter().filter(|it| it.is_running()) {
            // One that has just exited is reaped next.
            let _ = shard.process.signal(signal);
        }
    }

    /// Each shard stops its own processes.
    fn suspend(&self, caught: Caught) -> io::Result<()> {
        self.report.clear();
        self.pass_on(Signal::SIGTSTP);
        let begin = Instant::now();
        // A SIGCONT that has already arrived would not come again.
        let stopped =
            if signals::is_pending(Signal::SIGCONT) { Ok(()) } else { signals::stop_by(caught.signal) };
        clock::stood_still(begin.elapsed());
        self.pass_on(Signal::SIGCONT);
        stopped
    }

    /// Asks those that still run to exit.
    pub(super) fn end_all(&mut self) {
        self.pass_on(Signal::SIGTERM);
        self.shards.iter_mut().filter(|it| it.is_running()).for_each(|it| it.is_asked_to_exit = true);
    }

    /// With the reason why output was lost, if any was.
    pub(super) fn finish(self) -> (Vec<RunningShard>, Exit, Option<io::Error>) {
        self.report.clear();
        verdict::say_result(&self.shards, clock::since(self.begun), self.report);
        let (exit, lost) = match self.asked_by {
            Some(signal) if !self.printer.is_done(&self.shards) => (Exit::Signal(signal), None),
            asked_by => (verdict::exit(&self.shards, asked_by), self.printer.failure()),
        };
        (self.shards, exit, lost.map(io::Error::from))
    }
}
