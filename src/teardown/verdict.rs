//! What a teardown found out. Nothing is clean until it was seen to be.

use std::fmt;

use super::snapshot::{Crowd, Leak};
use crate::containment::Usage;
use crate::ports::Holding;

#[derive(Debug, Default)]
pub struct Verdict {
    pub leaks: Vec<Leak>,
    /// How many more leaked, beyond those described one by one.
    pub undescribed: usize,
    /// What could not be ended. There must be none.
    pub survivors: Vec<String>,
    /// What could not be found out. Not clean either.
    pub unknown: Vec<String>,
    /// Watched ports that a process outside the session holds: said, and left alone.
    pub strangers: Vec<Holding>,
    /// The command was killed, since it did not end within the grace (or the user would not wait).
    pub command_killed: bool,
    /// What was used, and which limits were met, where that was to be known and can be.
    pub usage: Option<Usage>,
}

impl Verdict {
    /// Nothing survives, and that is known.
    pub fn is_proven(&self) -> bool {
        self.survivors.is_empty() && self.unknown.is_empty()
    }

    /// How many processes leaked.
    pub fn leaked(&self) -> usize {
        self.leaks.len() + self.undescribed
    }

    /// Remembers those of a crowd that are described, and how many more there were.
    pub fn add_leaks(&mut self, crowd: Crowd) {
        self.undescribed += crowd.undescribed;
        self.leaks.extend(crowd.described);
    }

    /// Why it is not proven.
    pub fn problems(&self) -> Vec<String> {
        self.survivors.iter().chain(&self.unknown).cloned().collect()
    }

    /// Remembers an error as something that is not known.
    pub fn unknown(&mut self, error: impl fmt::Display) {
        let text = error.to_string();
        if !self.unknown.contains(&text) {
            self.unknown.push(text);
        }
    }

    /// The value, or `None` and the error remembered.
    pub fn expect<T, E: fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.unknown(error)).ok()
    }
}
