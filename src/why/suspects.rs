//! The processes whose stacks tell the most.

use super::explanation::Explanation;
use super::graph::Key;
use super::text::named;
use crate::stacks::Target;

/// No more of them are worth the time.
const MOST: usize = 4;

impl Explanation {
    /// The end of the chain, or all of its circle, then the test runner, and then the others from the end of the chain.
    pub(crate) fn suspects(&self) -> Vec<Target> {
        let Some(end) = &self.end else { return Vec::new() };
        let (others, last) = end.chain.split_at(end.circle.unwrap_or(end.chain.len().saturating_sub(1)));
        let (runners, rest): (Vec<_>, Vec<_>) = others.iter().rev().partition(|&&key| self.runs_a_test(key));
        let keys = last.iter().chain(runners).chain(rest);
        keys.take(MOST).map(|key| self.target_of(*key, last.contains(key))).collect()
    }

    fn runs_a_test(&self, key: Key) -> bool {
        self.tests.of(&self.seen[&key].stat).is_some_and(|test| test.is_running)
    }

    fn target_of(&self, key: Key, is_end: bool) -> Target {
        let seen = &self.seen[&key];
        Target::new(&seen.stat, &seen.process.command, named(&seen.process), is_end)
    }
}
