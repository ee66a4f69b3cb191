//! `cgrun why`: says what each process of a session waits for, and which one to look at if it hangs.

mod document;

use std::path::PathBuf;

use anyhow::Result;

use super::output::print;
use crate::leaks::InheritedMarks;
use crate::registry::{Members, find_session, members};
use crate::report::Reporter;
use crate::runtime::exit_code::{Exit, NOT_PROVEN};
use crate::stacks::{Intrusion, Rules, stacks};
use crate::sys::procfs::environ::environ;
use crate::sys::terminal;
use crate::why::Explanation;
use document::Document;

/// With stacks if there are rules for them.
pub(crate) fn why(
    id: Option<&str>,
    json: bool,
    rules: Option<&Rules>,
    records: impl FnOnce() -> PathBuf,
    reporter: &Reporter,
) -> Result<Exit> {
    let session = find_session(id, "why", records)?;
    let Members { found, hidden } = members(&session)?;
    let environ = session.root.and_then(|root| environ(root.process()).ok()).unwrap_or_default();
    let marks = InheritedMarks::of_environ(&environ);
    let explanation = Explanation::of(found.into_iter().collect(), hidden, marks, None);
    let read = |rules: &Rules| stacks(&explanation.suspects(), rules, Intrusion::Brief, None);
    let stacks = rules.map(read).unwrap_or_default();
    let text = if json {
        serde_json::to_string_pretty(&Document::new(session.id.to_string(), &explanation, stacks))? + "\n"
    } else {
        explanation.lines(terminal::stdout_columns(), &stacks).join("\n") + "\n"
    };
    if explanation.hidden > 0 {
        reporter.error(&format!("{} more of session {} cannot be described", explanation.hidden, session.id));
    }
    match print(&text)? {
        Exit::Code(0) if explanation.hidden > 0 => Ok(Exit::Code(NOT_PROVEN)),
        exit => Ok(exit),
    }
}
