//! Folds long lists in the log of a CI system, which shows a title that a reader can click.
//!
//! - GitHub: <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>
//! - GitLab: <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>
//! - Azure: <https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands>
//! - Buildkite: <https://buildkite.com/docs/pipelines/configure/managing-log-output>
//!
//! What a service or a command line says cannot fold or unfold anything: each of our lines starts with `cgrun: `,
//! control characters are escaped, and `without_commands` breaks the commands that are recognized within a line.
//! GitHub's `stop-commands` would add nothing, and if cgrun were killed, it would silence the rest of the step.

use std::borrow::Cow;

use crate::runtime::ci::Ci;
use crate::sys::time;

/// The commands that a runner recognizes anywhere in a line.
const COMMANDS: [&str; 3] = ["##[", "##vso[", "##teamcity["];

/// The lines that begin and end a fold.
#[derive(Debug, PartialEq)]
pub(super) struct Fold {
    pub start: String,
    pub end: String,
}

impl Fold {
    /// `None` if the log of this system cannot be folded. `number` tells the folds of this process apart.
    pub(super) fn new(ci: Ci, number: u32, title: &str) -> Option<Self> {
        let (start, end) = match ci {
            Ci::GitHub => (format!("::group::{title}\n"), "::endgroup::\n".into()),
            Ci::GitLab => {
                let now = time::since_1970(time::time_of_day()).as_secs();
                // Only letters, digits, `_`, `.` and `-` are allowed.
                let name = format!("cgrun_{now}_{}_{number}", std::process::id());
                let start = format!("\x1b[0Ksection_start:{now}:{name}[collapsed=true]\r\x1b[0K{title}\n");
                (start, format!("\x1b[0Ksection_end:{now}:{name}\r\x1b[0K\n"))
            }
            Ci::Azure => (format!("##[group]{title}\n"), "##[endgroup]\n".into()),
            // A group ends only where another one begins. `+++` begins one that is open.
            Ci::Buildkite => (format!("--- {title}\n"), "+++ cgrun\n".into()),
            _ => return None,
        };
        Some(Self { start, end })
    }
}

/// Breaks the runners' commands in `text` with a space that has no width.
pub(super) fn without_commands(text: &str) -> Cow<'_, str> {
    if !text.contains("##") {
        return text.into();
    }
    COMMANDS
        .iter()
        .fold(text.to_string(), |text, it| text.replace(it, &it.replace("##", "##\u{200b}")))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_within_a_line_are_broken() {
        for command in ["##[error]", "###[group]", "##vso[task.setvariable]", "##teamcity[blockOpened"] {
            let broken = without_commands(command);
            assert!(COMMANDS.iter().all(|it| !broken.contains(it)), "{broken:?}");
        }
        assert_eq!(without_commands("# a ## b"), "# a ## b");
    }

    #[test]
    fn sections_of_gitlab_have_different_names() {
        let name = |number| {
            let fold = Fold::new(Ci::GitLab, number, "title").unwrap();
            let name = fold.start.split([':', '[']).nth(3).unwrap().to_string();
            assert!(fold.end.ends_with(&format!(":{name}\r\x1b[0K\n")), "{fold:?}");
            name
        };
        assert_ne!(name(0), name(1));
    }
}
