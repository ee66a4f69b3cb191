//! What a command prints for other programs.

use std::io::Write;

use anyhow::{Context, Result};

use crate::runtime::exit_code::Exit;

/// Prints to stdout, which belongs to cgrun's own commands, and succeeds.
pub(super) fn print(text: &str) -> Result<Exit> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    Ok(Exit::Code(0))
}
