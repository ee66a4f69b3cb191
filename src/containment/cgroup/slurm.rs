//! The cgroups of Slurm's `proctrack/cgroup`: `…/job_7/step_batch/user/task_0` is that of a task.
//!
//! Slurm signals, kills and awaits the processes in exactly that cgroup, not those in cgroups below it. So cgrun stays
//! there, whatever the limits of its session need, and the session's cgroup is beside it. When Slurm loses patience, it
//! kills all that it sees within a millisecond: the guardian has to be elsewhere, or nothing would end the session.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::files::open_for_writing;
use crate::containment::session_id::PREFIX;

/// No session's cgroup has a name that starts like this.
const NAME: &str = "guardian-";

/// Where a session of a task goes, if `own` is the cgroup of one.
pub(super) fn beside_task(own: &Path) -> Option<&Path> {
    let is_task = name(own).is_some_and(|name| name.starts_with("task_"));
    own.parent().filter(|above| is_task && has_tasks(above))
}

/// Whether this cgroup has those of a step's tasks in it.
pub(super) fn has_tasks(directory: &Path) -> bool {
    let mut names = directory.ancestors().map(|it| name(it).unwrap_or_default());
    let mut next = || names.next().unwrap_or_default();
    next() == "user" && next().starts_with("step_") && next().starts_with("job_")
}

fn name(directory: &Path) -> Option<&str> {
    directory.file_name()?.to_str()
}

/// The cgroup of one guardian, out of Slurm's sight.
#[derive(Debug)]
pub(crate) struct Shelter(PathBuf);

impl Shelter {
    /// That of the guardian with this pid, beside a session's cgroup. `None` outside of Slurm's tasks.
    pub(super) fn beside(session: &Path, guardian: Pid) -> Option<Self> {
        let parent = session.parent().filter(|parent| has_tasks(parent))?;
        Some(Self(parent.join(format!("{PREFIX}{NAME}{}", guardian.as_raw_nonzero()))))
    }

    /// Moves this process there.
    pub(crate) fn enter(&self) -> io::Result<()> {
        match std::fs::create_dir(&self.0) {
            // A dead guardian with the same pid left it behind.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        join(&self.0)
    }

    /// Moves this process to the cgroup of a task that is still there, and removes the shelter.
    pub(crate) fn leave(&self) {
        let beside = self.0.parent().and_then(|parent| std::fs::read_dir(parent).ok()).into_iter().flatten();
        let mut tasks = beside.flatten().map(|entry| entry.path()).filter(|it| beside_task(it).is_some());
        if tasks.any(|task| join(&task).is_ok()) {
            self.remove();
        }
    }

    /// Removes it, after the guardian has exited.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_dir(&self.0);
    }

    /// Removes those in which no process is left.
    pub(crate) fn clear(directory: &Path) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let is_one = |path: &PathBuf| {
            name(path).is_some_and(|it| it.strip_prefix(PREFIX).is_some_and(|it| it.starts_with(NAME)))
        };
        // The kernel refuses to remove one with a process in it.
        entries.map(|entry| entry.path()).filter(is_one).for_each(|path| drop(std::fs::remove_dir(path)));
    }
}

fn join(directory: &Path) -> io::Result<()> {
    io::Write::write_all(&mut open_for_writing(&directory.join("cgroup.procs"))?, b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_a_task_goes_beside_it() {
        let job = Path::new("/sys/fs/cgroup/system.slice/n0_slurmstepd.scope/job_7/step_batch");
        for task in ["task_special", "task_0"] {
            assert_eq!(beside_task(&job.join("user").join(task)), Some(job.join("user").as_path()));
        }
        for other in
            ["user", "user/cgrun-bcdfghjk", "slurm", "user/task_0/cgrun-bcdfghjk/command", "other/task_0"]
        {
            assert_eq!(beside_task(&job.join(other)), None, "{other}");
        }
        assert_eq!(beside_task(Path::new("/user/task_0")), None);
    }
}
