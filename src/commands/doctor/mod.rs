//! `cgrun doctor`: which containment this host gives, why not a stronger one, and how to get it. Each
//! answer is found by trying, not guessed from a version.

mod findings;
mod show;

use std::io::Write;

use anyhow::{Context, Result};

use crate::runtime::exit_code::Exit;

/// Looks at the host and prints what was found to stdout.
pub fn doctor(json: bool) -> Result<Exit> {
    let findings = findings::look();
    let text = if json { serde_json::to_string_pretty(&findings)? + "\n" } else { show::in_words(&findings) };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    Ok(Exit::Code(0))
}
