//! Processes that belong to a session, from /proc: see proc(5).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Leftover, Search, at, unless_gone};

/// Command lines are cut at this length.
const MAX_COMMAND_LINE: usize = 120;

/// Searches for processes by marks, command lines or parents.
pub(super) fn leftovers(search: &Search) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    if search.marks.is_empty() && search.command_lines.is_empty() && search.parents.is_empty() {
        return Ok(found);
    }
    let ancestors = ancestors()?;
    for pid in all()?.into_iter().filter(|pid| !ancestors.contains(pid)) {
        if let Some(reason) = unless_gone(reason(search, pid))?.flatten() {
            found.push(leftover(pid, reason));
        }
    }
    Ok(found)
}

/// This process and its ancestors. They started the search, so they are not leftovers. Also, in a container
/// even root cannot read everything about process 1.
fn ancestors() -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut pid = std::process::id();
    // The parent of process 1, or a parent outside this PID namespace, has pid 0.
    while pid != 0 {
        found.push(pid);
        pid = Stat::read(Path::new(&format!("/proc/{pid}")))?.parent;
    }
    Ok(found)
}

/// Why this process is a leftover.
fn reason(search: &Search, pid: u32) -> io::Result<Option<String>> {
    let mut directory = PathBuf::from(format!("/proc/{pid}"));
    let stat = Stat::read(&directory)?;
    if stat.is_dead() {
        return Ok(None);
    }
    if search.parents.contains(&stat.parent) {
        return Ok(Some(format!("is a child of {}", stat.parent)));
    }
    if stat.is_zombie {
        // Its first thread has exited, so nothing can be read in its directory.
        directory = live_thread(&directory)?;
    }
    let command_line = read(&directory.join("cmdline"))?;
    let mut sought = search.command_lines.iter().chain(&search.marks);
    if let Some(text) = sought.find(|text| contains(&command_line, text)) {
        return Ok(Some(format!("has {text:?} in its command line")));
    }
    if search.marks.is_empty() {
        return Ok(None);
    }
    let environment = read(&directory.join("environ"))?;
    if let Some(mark) = search.marks.iter().find(|mark| contains(&environment, mark)) {
        return Ok(Some(format!("has {mark:?} in its environment")));
    }
    let link = directory.join("cwd");
    let working_directory = std::fs::read_link(&link).map_err(name(&link))?;
    let is_there = |mark: &&String| contains(working_directory.as_os_str().as_bytes(), mark);
    Ok(search.marks.iter().find(is_there).map(|mark| format!("has {mark:?} in its working directory")))
}

/// The directory of a thread that has not exited.
fn live_thread(process: &Path) -> io::Result<PathBuf> {
    let tasks = process.join("task");
    for task in std::fs::read_dir(&tasks).map_err(name(&tasks))? {
        let task = task.map_err(name(&tasks))?.path();
        if !unless_gone(Stat::read(&task))?.is_none_or(|stat| stat.is_zombie) {
            return Ok(task);
        }
    }
    // All of them have exited.
    Err(rustix::io::Errno::SRCH.into())
}

/// A process, described as far as it still exists.
pub(super) fn leftover(pid: u32, reason: String) -> Leftover {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let command_line = line.trim_end().chars().take(MAX_COMMAND_LINE).collect();
    Leftover::Process { pid, command_line, reason }
}

fn all() -> io::Result<Vec<u32>> {
    let proc = Path::new("/proc");
    let mut pids = Vec::new();
    for entry in std::fs::read_dir(proc).map_err(at(proc))? {
        let name = entry.map_err(at(proc))?.file_name();
        pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

struct Stat {
    parent: u32,
    is_zombie: bool,
    threads: u32,
}

impl Stat {
    /// Reads it from the directory of a process or thread.
    fn read(directory: &Path) -> io::Result<Self> {
        let bytes = read(&directory.join("stat"))?;
        let text = String::from_utf8_lossy(&bytes);
        // The name can contain anything. The fields after its last parenthesis are numbers, except the first.
        let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Of proc_pid_stat(5): (3) state, (4) ppid, (20) num_threads.
        let (Some(state), Some(parent), Some(threads)) = (fields.first(), fields.get(1), fields.get(17))
        else {
            return Err(io::Error::other(format!("{}: unexpected text {text:?}", directory.display())));
        };
        Ok(Self {
            parent: parent.parse().map_err(io::Error::other)?,
            is_zombie: ["Z", "X"].contains(state),
            threads: threads.parse().map_err(io::Error::other)?,
        })
    }

    /// Whether the process has exited but has not been reaped by its parent.
    fn is_dead(&self) -> bool {
        self.is_zombie && self.threads <= 1
    }
}

/// Searches a command line, whose words are separated by a blank as one would type them.
fn contains(text: &[u8], wanted: &str) -> bool {
    let matches = |window: &[u8]| {
        window
            .iter()
            .zip(wanted.as_bytes())
            .all(|(byte, wanted)| byte == wanted || (*byte, *wanted) == (0, b' '))
    };
    !wanted.is_empty() && text.windows(wanted.len()).any(matches)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(name(path))
}

/// Names the path, unless the error says that the process is gone.
fn name(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| if super::is_gone(&error) { error } else { at(path)(error) }
}
