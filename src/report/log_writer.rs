//! Writes to stderr, which may be the log of a CI system.

use std::cell::{Cell, RefCell};

use super::fold::{Fold, without_commands};
use crate::runtime::ci::Ci;
use crate::sys::terminal::to_stderr;

#[derive(Debug)]
pub(super) struct LogWriter {
    ci: Option<Ci>,
    /// How many folds have been written.
    folds: Cell<u32>,
    /// The end of a fold that could not be written.
    unclosed: RefCell<Option<String>>,
}

impl LogWriter {
    pub(super) fn new() -> Self {
        Self { ci: Ci::detect(), folds: Cell::new(0), unclosed: RefCell::new(None) }
    }

    pub(super) fn can_fold(&self) -> bool {
        self.ci.and_then(|ci| Fold::new(ci, 0, "")).is_some()
    }

    /// Writes lines that are no commands of the runner.
    pub(super) fn write(&self, text: &str) {
        self.close_fold();
        // Even if no CI system is recognized: sudo removes the variables, but the runner still reads what we write.
        to_stderr(&without_commands(text));
    }

    /// Writes lines in a fold, if this log has any.
    pub(super) fn fold(&self, title: &str, lines: &str) {
        let number = self.folds.replace(self.folds.get() + 1);
        let Some(fold) = self.ci.and_then(|ci| Fold::new(ci, number, title)) else {
            return self.write(lines);
        };
        self.close_fold();
        // Written together, so that no signal to cgrun comes between them.
        if !to_stderr(&format!("{}{}{}", fold.start, without_commands(lines), fold.end)) {
            self.unclosed.replace(Some(fold.end));
        }
    }

    /// Ends a fold whose end nothing read, as soon as something reads again.
    fn close_fold(&self) {
        let Some(end) = self.unclosed.take() else { return };
        if !to_stderr(&format!("\n{end}")) {
            self.unclosed.replace(Some(end));
        }
    }
}
