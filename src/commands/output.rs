//! What a command prints for other programs.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::runtime::exit_code::Exit;

/// Prints to stdout, which belongs to cgrun's own commands, and succeeds. If the reader has read enough, as in
/// `cgrun man | head`, cgrun dies of SIGPIPE, as other programs do.
pub(super) fn print(text: &str) -> Result<Exit> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Signal(Signal::SIGPIPE)),
        written => written.context("cannot write to stdout").map(|()| Exit::Code(0)),
    }
}
