//! Records of sessions whose supervisor died and that another process tore down, one small file each.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::containment::SessionId;
use crate::report::SessionReport;
use crate::runtime::state_directory;
use crate::scratch::{Ended, Scratch};
use crate::sys::regular_file::open_regular;
use crate::sys::time;
use crate::teardown::Verdict;

/// Records are kept this long.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A record is at most this many bytes.
const LONGEST: u64 = 1 << 20;

/// Where to write the record of one session, if there is anything to record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    directory: PathBuf,
    ended: EndedSession,
    /// The reports that the user asked the supervisor for.
    pub report: Option<Rc<SessionReport>>,
    /// The session's temporary directory.
    pub scratch: Option<Scratch>,
}

/// A session that a guardian or a sweep tore down.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct EndedSession {
    pub id: String,
    pub supervisor_pid: u32,
    pub command: String,
    /// `guardian` or `sweep`.
    pub ended_by: String,
    pub ended_at_unix_seconds: u64,
    /// Whether it is proven that no process survived.
    pub verified_empty: bool,
    pub problems: Vec<String>,
}

impl EndedSession {
    /// How long ago it ended.
    pub(crate) fn ago(&self) -> Duration {
        Duration::from_secs(unix_seconds(time::time_of_day()).saturating_sub(self.ended_at_unix_seconds))
    }
}

impl Record {
    pub(crate) fn new(
        directory: &Path,
        id: &SessionId,
        supervisor_pid: u32,
        command: &str,
        ended_by: &str,
    ) -> Self {
        let ended = EndedSession {
            id: id.to_string(),
            supervisor_pid,
            command: command.to_string(),
            ended_by: ended_by.to_string(),
            ended_at_unix_seconds: 0,
            verified_empty: false,
            problems: Vec::new(),
        };
        Self { directory: directory.to_path_buf(), ended, report: None, scratch: None }
    }

    /// Removes the session's temporary directory, unless it is to be kept, or a process survived that can use it.
    pub(crate) fn end_scratch(&self, verdict: &Verdict, has_failed: bool, limit: Duration) -> Option<Ended> {
        let scratch = self.scratch.as_ref()?;
        // What only cannot be excluded keeps nothing: nobody would ever remove it then.
        Some(if verdict.survivors.is_empty() { scratch.end(has_failed, limit) } else { scratch.leave() })
    }

    /// Writes the whole record or nothing. A failure is ignored: the session is over anyway.
    pub(crate) fn write(&self, verdict: &Verdict, tmp: Option<&Ended>) {
        let mut ended = self.ended.clone();
        ended.ended_at_unix_seconds = unix_seconds(time::time_of_day());
        ended.verified_empty = verdict.is_proven();
        ended.problems = verdict.problems();
        ended.problems.extend(tmp.filter(|it| it.problem.is_some()).and_then(Ended::news));
        let Ok(text) = serde_json::to_vec(&ended) else { return };
        let path = self.directory.join(format!("{}.json", ended.id));
        let draft = path.with_extension("draft");
        let _ = state_directory::create(&self.directory)
            .and_then(|()| write_new(&draft, &text))
            .and_then(|()| std::fs::rename(&draft, &path));
        if let Some(report) = &self.report {
            report.write_for_dead_supervisor(verdict, tmp);
        }
    }
}

/// Follows no link: root may write to a directory of the session's user, whose processes know the name of the file.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let _ = std::fs::remove_file(path);
    File::create_new(path)?.write_all(text)
}

/// The records of the last seven days, newest first. Older ones are removed.
pub(crate) fn read_all(directory: &Path) -> Vec<EndedSession> {
    let now = unix_seconds(time::time_of_day());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let is_record =
            entry.file_type().is_ok_and(|it| it.is_file()) && path.extension().is_some_and(|it| it == "json");
        let Some(text) = is_record.then(|| read_file(&path).ok()).flatten() else { continue };
        match serde_json::from_slice::<EndedSession>(&text) {
            Ok(ended) if now.saturating_sub(ended.ended_at_unix_seconds) > KEPT.as_secs() => {
                drop(std::fs::remove_file(&path))
            }
            Ok(ended) => found.push(ended),
            Err(_) => {}
        }
    }
    found.sort_by_key(|ended| std::cmp::Reverse(ended.ended_at_unix_seconds));
    found
}

/// Another user may own the directory, and put a link or a pipe there since it was listed.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(file) = open_regular(path, libc::O_NOFOLLOW)? {
        file.take(LONGEST).read_to_end(&mut text)?;
    }
    Ok(text)
}

fn unix_seconds(time: SystemTime) -> u64 {
    time::since_1970(time).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_as_a_record() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| directory.path().join(name));
        std::fs::write(&file, "record").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_file(&file).unwrap(), b"record");
        assert!(read_file(&link).is_err());
        // It does not wait for a writer either.
        assert_eq!(read_file(&pipe).unwrap(), b"");
    }
}
