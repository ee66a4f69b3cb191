//! Many hosts by ssh: sshd in network namespaces.

mod deaths;
mod hosts;
mod job;
mod tools;

use std::process::{Command, Stdio};

use hosts::Hosts;

/// A program on the test's own host. It is killed together with the test.
fn near(words: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).args(words).stdin(Stdio::null());
    command
}
