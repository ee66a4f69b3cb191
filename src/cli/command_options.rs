//! The options of the commands that have many.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};

use super::run_options::ConfigOptions;
use crate::commands::ps::{Request, Selection, Token};
use crate::commands::sessions::{self, Format};
use crate::config::{OnLeak, Time};

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("selected").args(["during", "new_since"]).multiple(true)))]
pub(crate) struct PsOptions {
    /// The session's id [default: the session that this is in, or the only one of this user]
    pub id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print only a token for --new-since: this moment, in or outside of a session
    #[arg(long, conflicts_with_all = ["id", "json", "during", "new_since"])]
    pub token: bool,
    /// List only what was started during this test, as reports name it
    #[arg(long, value_name = "TEST")]
    pub during: Option<String>,
    /// List only what the process that calls cgrun, or its test, has started since this token and left running
    #[arg(long, value_name = "TOKEN")]
    pub new_since: Option<Token>,
    /// How long these processes are given to exit on their own before they are listed
    #[arg(long, value_name = "DUR", default_value = "0s")]
    pub settle: Time,
    /// End what is listed, unless it is allowed to outlive the command
    #[arg(long, requires = "selected")]
    pub end: bool,
    /// How long a process is given to exit before it is killed
    #[arg(long, value_name = "DUR", default_value = "5s", requires = "end")]
    pub grace: Time,
    /// Print which of the processes on stdin, as in the leak log, are in the baseline; for hooks
    #[arg(long, hide = true, exclusive = true)]
    pub known: bool,
}

impl PsOptions {
    pub(crate) fn request(self) -> Request {
        let Self { id, json, token, during, new_since, settle, end, grace, known } = self;
        let selection = Selection { during, new_since };
        Request { id, json, token, known, selection, settle: settle.0, end: end.then_some(grace.0) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// Print JSON, as --format json does
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// What to print: `text`, `json`, or `prometheus` for node_exporter's textfile collector
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, default_value = "text")]
    pub format: Format,
    /// Write to this file, completely or not at all, instead of to stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show what `cgrun sessions --json` has printed on many hosts; - is stdin
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub merge: Vec<PathBuf>,
}

impl Sessions {
    pub(crate) fn request(self) -> Result<sessions::Request> {
        let Self { json, format, output, merge } = self;
        let format = if json { Format::Json } else { format };
        if format == Format::Prometheus && !merge.is_empty() {
            bail!("each host has metrics of its own; pass --format prometheus without --merge");
        }
        Ok(sessions::Request { format, output, merge })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// What `cgrun --report json=FILE` or `cgrun merge --json FILE` wrote
    #[arg(value_name = "REPORT", required_unless_present = "files_from")]
    pub reports: Vec<PathBuf>,
    /// Also merge the reports that this file names, one in each line; - is stdin
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,
    /// Say what is new since this report, what is gone, and what is still there
    #[arg(long, value_name = "REPORT")]
    pub against: Option<PathBuf>,
    /// What to do about a leak: `report` it, or `fail` with 121; with --against, only about a new one
    #[arg(long, value_name = "POLICY", hide_possible_values = true, default_value = "report")]
    pub on_leak: OnLeak,
    /// Write a page for people; - is stdout
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a report that can be merged again, and compared with
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a JUnit report, with a suite for each session
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write Markdown, for the summary of a job or for a chat
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}
