//! One stack, for people and for programs.

use serde::Serialize;

use crate::text::{readable, shorten};

/// How much of a section, and of a stack, people are shown. Programs get more.
const SECTION: usize = 15;
const TEXT: usize = 40;
const SECTION_KEPT: usize = 100;
const KEPT: usize = 400;
/// In characters.
const WIDEST: usize = 200;

/// The stack of a process, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stack {
    pub pid: i32,
    pub command_line: String,
    /// `None` if no tool said anything.
    pub tool: Option<String>,
    pub sections: Vec<Section>,
    /// `None` if there is a stack.
    pub problem: Option<String>,
}

/// A thread, for example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Section {
    /// Empty if there is only one section, and nothing to say of it.
    pub title: String,
    /// The innermost frame comes first.
    pub lines: Vec<String>,
}

impl Section {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lines: Vec::new() }
    }
}

/// Replaces frames of one kind that follow each other by their number.
pub(super) fn folded(frames: &[String], kind: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for run in frames.chunk_by(|one, other| kind(one) == kind(other)) {
        match run.first().and_then(|first| kind(first)).filter(|_| run.len() > 1) {
            Some(kind) => kept.push(format!("… {} {kind}", run.len())),
            None => kept.extend_from_slice(run),
        }
    }
    kept
}

/// Makes what a process may have chosen harmless, and bounds it.
pub(super) fn bounded(sections: Vec<Section>) -> Vec<Section> {
    let clean = |line: &str| shorten(&readable(&line.replace('\t', " ")), WIDEST);
    let mut room = KEPT;
    let mut kept = Vec::new();
    for section in sections {
        if room == 0 {
            break;
        }
        let lines: Vec<_> =
            section.lines.iter().take(room.min(SECTION_KEPT)).map(|line| clean(line)).collect();
        room = room.saturating_sub(lines.len() + 1);
        kept.push(Section { title: clean(&section.title), lines });
    }
    kept
}

impl Stack {
    /// For people, the title first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self { pid, command_line, .. } = self;
        if let Some(problem) = &self.problem {
            return vec![format!("no stack of pid {pid} ({command_line}): {problem}")];
        }
        let tool = self.tool.as_ref().map(|tool| format!(", by {tool}")).unwrap_or_default();
        let mut lines = Vec::new();
        for section in &self.sections {
            let indent = if section.title.is_empty() { "    " } else { "        " };
            if !section.title.is_empty() {
                lines.push(format!("    {}", section.title));
            }
            // A line that says how many are left out is no shorter than the line itself.
            let shown = if section.lines.len() <= SECTION + 1 { section.lines.len() } else { SECTION };
            lines.extend(section.lines[..shown].iter().map(|line| format!("{indent}{line}")));
            if shown < section.lines.len() {
                lines.push(format!("{indent}… {} more", section.lines.len() - shown));
            }
        }
        if lines.len() > TEXT + 1 {
            let more = lines.len() - TEXT;
            lines.truncate(TEXT);
            lines.push(format!("    … {more} lines more"));
        }
        lines.insert(0, format!("stack of pid {pid} ({command_line}){tool}:"));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(sections: Vec<Section>) -> Stack {
        let (tool, problem) = (Some("py-spy".into()), None);
        Stack { pid: 7, command_line: "a b".into(), tool, sections: bounded(sections), problem }
    }

    fn section(title: &str, count: usize) -> Section {
        Section { title: title.into(), lines: (0..count).map(|n| format!("frame {n}")).collect() }
    }

    #[test]
    fn a_stack_fits_on_a_screen_however_large_it_is() {
        let stack = stack((0..100).map(|n| section(&format!("Thread {n}"), 1000)).collect());
        let lines = stack.lines();
        assert_eq!(lines.len(), 42, "{lines:#?}");
        assert_eq!(lines[0], "stack of pid 7 (a b), by py-spy:");
        assert_eq!(lines[1], "    Thread 0");
        assert_eq!(lines[17], "        … 85 more");
        assert!(lines[41].ends_with(" lines more"), "{lines:#?}");
        assert!(stack.sections.iter().map(|it| it.lines.len()).sum::<usize>() <= 400);
    }

    #[test]
    fn what_a_process_calls_its_functions_does_not_reach_a_terminal() {
        let hostile =
            Section { title: "\x1b]0;x".into(), lines: vec![format!("\x1b[2J{}", "x".repeat(999))] };
        let text = stack(vec![hostile]).lines().join("\n");
        assert!(!text.contains('\x1b') && text.len() < 400, "{text}");
    }
}
