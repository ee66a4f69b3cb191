//! What `cgrun why --json` prints.

use serde::Serialize;

use crate::report::{StartedDuring, rounded_seconds};
use crate::stacks::Stack;
use crate::why::{Explanation, Row};

const SCHEMA: &str = "cgrun-why";
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
pub(super) struct Document {
    schema: &'static str,
    schema_version: u32,
    session: String,
    /// The last line of the text.
    verdict: String,
    /// What helps if something is hidden.
    hint: Option<String>,
    /// The pids from the command to the process to look at.
    chain: Vec<i32>,
    /// The pids at the end of the chain that wait for each other.
    circle: Vec<i32>,
    processes: Vec<ProcessRow>,
    /// Empty unless asked for.
    stacks: Vec<Stack>,
    undescribed_process_count: usize,
}

#[derive(Serialize)]
struct ProcessRow {
    pid: i32,
    parent_pid: Option<i32>,
    /// `command`, `service NAME` or `probe NAME`; `None` if that is unknown.
    component: Option<String>,
    command_line: Vec<String>,
    age_seconds: f64,
    state: &'static str,
    cpu_percent: f64,
    /// The test that it runs.
    running: Option<StartedDuring>,
    started_during: Option<StartedDuring>,
    /// In words.
    waits: String,
    /// The pids of those that could end the wait.
    waits_for: Vec<i32>,
}

impl Document {
    pub(super) fn new(session: String, explanation: &Explanation, stacks: Vec<Stack>) -> Self {
        Self {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            session,
            verdict: explanation.verdict(),
            hint: explanation.hint(),
            chain: explanation.chain().to_vec(),
            circle: explanation.circle().to_vec(),
            processes: explanation.rows().into_iter().map(ProcessRow::new).collect(),
            stacks,
            undescribed_process_count: explanation.hidden,
        }
    }
}

impl ProcessRow {
    fn new(row: Row) -> Self {
        let test = |is_running| {
            let found = row.test.as_ref().filter(|test| test.is_running == is_running);
            found.map(|test| StartedDuring::of(&test.origin))
        };
        Self {
            pid: row.process.pid.as_raw_nonzero().get(),
            parent_pid: row.stat.parent.map(|pid| pid.as_raw_nonzero().get()),
            component: row.component.map(|component| component.title()),
            command_line: row.process.command.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
            age_seconds: rounded_seconds(row.process.age),
            state: row.stat.state_name(),
            cpu_percent: (row.cpu * 1000.0).round() / 10.0,
            running: test(true),
            started_during: test(false),
            waits: row.waits,
            waits_for: row.waits_for.iter().map(|pid| pid.as_raw_nonzero().get()).collect(),
        }
    }
}
