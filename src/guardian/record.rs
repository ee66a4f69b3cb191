//! What was done about a session that its own supervisor could not end: one small file each.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::containment::SessionId;
use crate::report::SessionReport;
use crate::teardown::Verdict;

/// Records are kept this long.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Where the record of one session goes, once there is something to record.
#[derive(Clone, Debug)]
pub struct Record {
    directory: PathBuf,
    ended: Ended,
    /// The reports that the supervisor was asked for.
    pub report: Option<Rc<SessionReport>>,
}

/// A session that was ended by somebody else than its supervisor.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ended {
    pub id: String,
    /// Pid of its supervisor.
    #[serde(rename = "supervisor_pid")]
    pub owner: u32,
    pub command: String,
    /// `guardian` or `sweep`.
    #[serde(rename = "ended_by")]
    pub by: String,
    /// Seconds since 1970.
    #[serde(rename = "ended_at_unix_seconds")]
    pub at: u64,
    /// Nothing survived, and that is known.
    #[serde(rename = "verified_empty")]
    pub clean: bool,
    pub problems: Vec<String>,
}

impl Record {
    pub fn new(directory: &Path, id: &SessionId, owner: u32, command: &str, by: &str) -> Self {
        let (id, command, by) = (id.to_string(), command.to_string(), by.to_string());
        let ended = Ended { id, owner, command, by, at: 0, clean: false, problems: Vec::new() };
        Self { directory: directory.to_path_buf(), ended, report: None }
    }

    /// Writes it, whole or not at all. A failure harms nobody: the session is ended all the same.
    pub fn write(&self, verdict: &Verdict) {
        let mut ended = self.ended.clone();
        ended.at = seconds(SystemTime::now());
        ended.clean = verdict.is_proven();
        ended.problems = verdict.problems();
        let Ok(text) = serde_json::to_vec(&ended) else { return };
        let path = self.directory.join(format!("{}.json", ended.id));
        let draft = path.with_extension("draft");
        let _ = std::fs::create_dir_all(&self.directory);
        let _ = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &path));
        if let Some(report) = &self.report {
            report.write_for_dead_supervisor(verdict);
        }
    }
}

/// The records of the last days, newest first; older ones are removed.
pub fn read_all(directory: &Path) -> Vec<Ended> {
    let now = seconds(SystemTime::now());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let Some(text) =
            std::fs::read(&path).ok().filter(|_| path.extension().is_some_and(|it| it == "json"))
        else {
            continue;
        };
        match serde_json::from_slice::<Ended>(&text) {
            Ok(ended) if now.saturating_sub(ended.at) > KEPT.as_secs() => drop(std::fs::remove_file(&path)),
            Ok(ended) => found.push(ended),
            Err(_) => {}
        }
    }
    found.sort_by_key(|ended| std::cmp::Reverse(ended.at));
    found
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
