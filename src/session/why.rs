//! Says what the processes of a running session wait for.

use super::running_session::Session;
use crate::leaks::InheritedMarks;
use crate::sys::terminal;
use crate::why::Explanation;

/// What stands before each line: `cgrun:   `.
const INDENT: usize = 9;

impl Session<'_> {
    /// Prints what the processes wait for, and returns those lines.
    pub(super) fn report_running_processes(&self) -> Vec<String> {
        let members = self.context.components.iter().flat_map(|component| {
            let members = component.leaf.members().unwrap_or_default();
            members.into_iter().map(|pid| (pid, Some(component.leaf_name())))
        });
        let explanation = Explanation::of(members.collect(), 0, InheritedMarks::ours());
        let width = terminal::stderr_is_a_terminal().then(|| terminal::columns().saturating_sub(INDENT));
        explanation.lines(width).iter().for_each(|line| self.report.error(&format!("  {line}")));
        explanation.lines(None)
    }
}
