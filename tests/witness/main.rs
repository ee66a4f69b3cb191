//! Proves that nothing is left of a session, for scripts: prints each leftover and its reason.
//!
//! Exit codes: 0 if nothing is left; 1 if something is; 2 for wrong usage; 3 if it could not be determined,
//! which never counts as clean. This program is for tests only, and is not installed.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "nothing is preloaded here")]

#[path = "mod.rs"]
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Parser};

/// Prove, without cgrun, that nothing is left of a session.
#[derive(Parser)]
#[command(name = "witness", group = ArgGroup::new("search").required(true).multiple(true))]
struct Arguments {
    /// A cgroup that must contain no process and no other cgroup.
    #[arg(long, value_name = "DIR", group = "search")]
    cgroup: Vec<PathBuf>,
    /// A cgroup below which no cgroup named cgrun-* may exist.
    #[arg(long, value_name = "DIR", group = "search")]
    no_session_below: Vec<PathBuf>,
    /// TCP ports that must not be listened on.
    #[arg(long, value_name = "PORTS", value_delimiter = ',', group = "search")]
    ports: Vec<u16>,
    /// No TCP port may be listened on.
    #[arg(long, group = "search")]
    every_port: bool,
    /// Text that no process may have in its command line, environment or working directory; needs root.
    #[arg(long, value_name = "TEXT", group = "search")]
    mark: Vec<String>,
    /// Text that no process may have in its command line.
    #[arg(long, value_name = "TEXT", group = "search")]
    command_line: Vec<String>,
    /// A process that must have no children apart from this one.
    #[arg(long, value_name = "PID", group = "search")]
    children_of: Vec<u32>,
    /// A directory in which no file may be locked.
    #[arg(long, value_name = "DIR", group = "search")]
    locks: Vec<PathBuf>,
    /// No process may hold the write end of the pipe that is standard input.
    #[arg(long, group = "search")]
    input_pipe: bool,
    /// Wait this long for everything to disappear.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    within: f64,
}

const LEFT: u8 = 1;
const USAGE: u8 = 2;
const UNKNOWN: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Ok(limit) = Duration::try_from_secs_f64(arguments.within) else {
        eprintln!("witness: invalid number of seconds: {}", arguments.within);
        return ExitCode::from(USAGE);
    };
    let search = witness::Search {
        cgroups: arguments.cgroup,
        roots: arguments.no_session_below,
        ports: arguments.ports,
        every_port: arguments.every_port,
        marks: arguments.mark,
        command_lines: arguments.command_line,
        parents: arguments.children_of,
        locks: arguments.locks,
        input_pipe: arguments.input_pipe,
    };
    match search.leftovers_after(limit) {
        Ok(leftovers) if leftovers.is_empty() => ExitCode::SUCCESS,
        Ok(leftovers) => {
            leftovers.iter().for_each(|leftover| println!("{leftover}"));
            ExitCode::from(LEFT)
        }
        Err(error) => {
            eprintln!("witness: cannot tell whether anything is left: {error}");
            ExitCode::from(UNKNOWN)
        }
    }
}
