//! What is written to the leak log: a line of JSON for each event. Everybody in the session can write there, so nothing in it is
//! believed to be well-formed or true.

use std::ffi::OsString;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::held::Held;
use super::leak::{EndedBy, How, Leak};
use super::origin::{Evidence, Origin};
use super::runners::known_runner;
use crate::sys::procfs::process_info::{COMMAND_LINE_SHOWN, ProcessInfo};
use crate::sys::procfs::stat::{ProcStat, stat_text};
use crate::text::readable;

/// So many addresses of one process are read.
const ADDRESSES: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogEntry {
    /// These were ended together.
    Ended { by: EndedBy, processes: Vec<LoggedProcess> },
    /// Their test is allowed to leave these running: the pid that the hook sees, and the start time of each.
    Allowed { processes: Vec<(i32, u64)> },
}

/// A process, as it was before it was ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoggedProcess {
    /// What `/proc/PID/stat` said.
    stat: String,
    command_line: Vec<String>,
    executable: Option<String>,
    uid: Option<u32>,
    age_seconds: f64,
    #[serde(default)]
    listening_on: Vec<String>,
    #[serde(default)]
    pub needed_sigkill: bool,
    started_during: Option<LoggedOrigin>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LoggedOrigin {
    runner: String,
    test: Option<String>,
    phase: Option<String>,
    worker: Option<String>,
    evidence: Evidence,
}

impl LoggedProcess {
    /// `None` if it has exited.
    pub(crate) fn of(leak: &Leak) -> Option<Self> {
        let stat = stat_text(leak.pid())?;
        ProcStat::of_text(&stat).filter(|it| it.key() == leak.key())?;
        let lossy = |text: &OsString| text.to_string_lossy().into_owned();
        Some(Self {
            stat,
            command_line: leak.process.command.iter().map(lossy).collect(),
            executable: leak.executable.as_ref().map(lossy),
            uid: leak.process.uid,
            age_seconds: leak.process.age.as_secs_f64(),
            listening_on: leak.listening.clone(),
            needed_sigkill: false,
            started_during: leak.started_during.as_ref().map(|origin| LoggedOrigin {
                runner: origin.runner.into(),
                test: origin.test.clone(),
                phase: origin.phase.clone(),
                worker: origin.worker.clone(),
                evidence: origin.evidence,
            }),
        })
    }

    /// `None` if it is not as the kernel or we would write it.
    pub(super) fn into_leak(self, by: EndedBy, entry: usize) -> Option<Leak> {
        let stat = ProcStat::of_text(&self.stat)?;
        let readable = |text: String| readable(&text);
        let is_named = |origin: &LoggedOrigin| origin.test.is_some() || origin.worker.is_some();
        let mut room = COMMAND_LINE_SHOWN + 1;
        let command = self.command_line.into_iter().map_while(|word| {
            let shown: String = word.chars().take(room).collect();
            room = room.saturating_sub(shown.len() + 1);
            (room > 0).then(|| OsString::from(shown))
        });
        Some(Leak {
            how: How::EndedBefore { by, entry },
            process: ProcessInfo {
                pid: stat.pid,
                uid: self.uid,
                age: Duration::try_from_secs_f64(self.age_seconds).ok()?,
                command: command.collect(),
                is_zombie: false,
            },
            is_daemon: false,
            executable: self.executable.map(OsString::from),
            working_directory: None,
            listening: self.listening_on.into_iter().take(ADDRESSES).map(readable).collect(),
            streams: Vec::new(),
            cgroup: None,
            started_during: self.started_during.filter(is_named).map(|origin| Origin {
                runner: known_runner(&origin.runner),
                test: origin.test.map(readable),
                phase: origin.phase.map(readable),
                worker: origin.worker.map(readable),
                evidence: origin.evidence,
            }),
            has_cleared_environment: false,
            had_to_be_killed: self.needed_sigkill,
            is_known: false,
            held: Held::default(),
            stat,
        })
    }
}
