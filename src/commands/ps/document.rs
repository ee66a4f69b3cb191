//! What `cgrun ps --json` prints.

use serde::Serialize;

use super::ending::{Ending, Outcome};
use super::listing::Listed;
use crate::plan::Shard;
use crate::report::{StartedDuring, rounded_seconds};

const SCHEMA: &str = "cgrun-ps";
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
pub(super) struct Document {
    pub schema: &'static str,
    pub schema_version: u32,
    pub session: String,
    /// Which of several sessions of the command it is; `None` if it is the only one, or has no cgroup.
    pub shard: Option<Shard>,
    /// For `--new-since`.
    pub token: String,
    pub processes: Vec<ProcessRow>,
    /// What was ended, in the words of the text; `None` if nothing was.
    pub summary: Option<String>,
    /// How many others are alive of which nothing more is known.
    pub undescribed_process_count: usize,
}

#[derive(Serialize)]
pub(super) struct ProcessRow {
    pid: i32,
    parent_pid: Option<i32>,
    /// `command`, `service NAME` or `probe NAME`; `None` if that is unknown.
    component: Option<String>,
    command_line: Vec<String>,
    user: String,
    age_seconds: f64,
    state: &'static str,
    listening_on: Vec<String>,
    started_during: Option<StartedDuring>,
    allowed: bool,
    /// `asked` or `killed`; `None` if it is still running.
    ended: Option<&'static str>,
}

impl Document {
    pub(super) fn new(session: String, token: String, undescribed_process_count: usize) -> Self {
        Self {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            session,
            shard: None,
            token,
            processes: Vec::new(),
            summary: None,
            undescribed_process_count,
        }
    }
}

impl ProcessRow {
    pub(super) fn new(it: &Listed, outcome: Option<&Outcome>) -> Self {
        let process = &it.process.process;
        Self {
            pid: process.pid.as_raw_nonzero().get(),
            parent_pid: it.process.stat.parent.map(|pid| pid.as_raw_nonzero().get()),
            component: it.component.as_ref().map(|component| component.title()),
            command_line: process.command.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
            user: process.user(),
            age_seconds: rounded_seconds(process.age),
            state: it.process.stat.state_name(),
            listening_on: it.process.listening.clone(),
            started_during: it.process.started_during.as_ref().map(StartedDuring::of),
            allowed: it.is_allowed,
            ended: match outcome {
                Some(Ok(Ending::Asked)) => Some("asked"),
                Some(Ok(Ending::Killed)) => Some("killed"),
                Some(Err(_)) | None => None,
            },
        }
    }
}
