//! The cgroups of Slurm's `proctrack/cgroup`: `…/job_7/step_batch/user/task_0` is that of a task.
//!
//! Slurm signals, kills and awaits the processes in exactly that cgroup, not those in cgroups below it. So cgrun never
//! leaves it: a session with limits is beside it, where Slurm has turned on its controllers, and any other below it, where
//! it counts as the task's. When Slurm loses patience, it kills all that it sees within a millisecond: the guardian has to
//! be elsewhere, or nothing would end the session.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;

use super::files::open_for_writing;
use crate::containment::session_id::PREFIX;
use crate::runtime::clock;
use crate::sys::time;

/// No session's cgroup has a name that starts like this.
const NAME: &str = "guardian-";
/// How long Slurm may hold its lock.
const LOCKED: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(1);

/// The cgroup around that of a task.
pub(super) fn around_task(own: &Path) -> Option<&Path> {
    let is_task = name(own).is_some_and(|name| name.starts_with("task_"));
    own.parent().filter(|above| is_task && has_tasks(above))
}

/// Whether this cgroup has those of a step's tasks in it.
fn has_tasks(directory: &Path) -> bool {
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
        let parent = session.parent()?;
        Step::of(parent)?;
        Some(Self(parent.join(format!("{PREFIX}{NAME}{}", guardian.as_raw_nonzero()))))
    }

    /// Moves this process there.
    pub(crate) fn enter(&self) -> io::Result<()> {
        match self.make_and_join() {
            // A sweep has removed it in between.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                self.make_and_join()
            }
            entered => entered,
        }
    }

    fn make_and_join(&self) -> io::Result<()> {
        match std::fs::create_dir(&self.0) {
            // A dead guardian with the same pid left it behind.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        join(&self.0)
    }

    /// Moves this process to where Slurm lets its own wait for a job, and removes the shelter. Nothing of the job keeps this
    /// process from exiting.
    pub(crate) fn leave(&self) {
        let Some(step) = self.0.parent().and_then(Step::of) else { return };
        if join(&step.scope.join("system")).is_ok() {
            self.remove();
            step.remove_if_empty();
        }
    }

    /// Removes it, after the guardian has exited.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_dir(&self.0);
    }

    /// Removes those beside a session's cgroup in which no process is left, after the session.
    pub(crate) fn clear(session: &Path) {
        let Some((parent, step)) = session.parent().and_then(|it| Some((it, Step::of(it)?))) else { return };
        let is_one = |path: &PathBuf| {
            name(path).and_then(|it| it.strip_prefix(PREFIX)).is_some_and(|it| it.starts_with(NAME))
        };
        let beside = std::fs::read_dir(parent).into_iter().flatten().flatten();
        // The kernel refuses to remove one with a process in it.
        beside.map(|it| it.path()).filter(is_one).for_each(|it| drop(std::fs::remove_dir(it)));
        step.remove_if_empty();
    }
}

/// The cgroups of a step, which Slurm tries to remove only once: when it sees no process in them any more.
struct Step<'a> {
    /// Contains the cgroups of the node's jobs.
    scope: &'a Path,
    /// From the innermost outwards.
    own: Vec<&'a Path>,
}

impl<'a> Step<'a> {
    /// That of a task's cgroup, or of the one around those.
    fn of(directory: &'a Path) -> Option<Self> {
        let user = around_task(directory).or_else(|| Some(directory).filter(|it| has_tasks(it)))?;
        let scope = user.ancestors().nth(3)?;
        Some(Self { scope, own: directory.ancestors().take_while(|it| *it != scope).collect() })
    }

    /// Removes what Slurm has left because a session was still in it. A cgroup that is in use cannot be removed.
    fn remove_if_empty(&self) {
        // Slurm takes this lock before it makes a cgroup in that of a job.
        let Ok(scope) = File::open(self.scope) else { return };
        let deadline = clock::now() + LOCKED;
        while flock(&scope, FlockOperation::NonBlockingLockExclusive).is_err() {
            if clock::now() >= deadline {
                return;
            }
            time::sleep(POLL);
        }
        let _ = self.own.iter().try_for_each(std::fs::remove_dir);
    }
}

fn join(directory: &Path) -> io::Result<()> {
    io::Write::write_all(&mut open_for_writing(&directory.join("cgroup.procs"))?, b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_recognized_by_its_cgroup() {
        let job = Path::new("/sys/fs/cgroup/system.slice/n0_slurmstepd.scope/job_7/step_batch");
        for task in ["task_special", "task_0"] {
            assert_eq!(around_task(&job.join("user").join(task)), Some(job.join("user").as_path()));
        }
        for other in
            ["user", "user/cgrun-bcdfghjk", "slurm", "user/task_0/cgrun-bcdfghjk/command", "other/task_0"]
        {
            assert_eq!(around_task(&job.join(other)), None, "{other}");
        }
        assert_eq!(around_task(Path::new("/user/task_0")), None);
    }

    #[test]
    fn a_step_ends_at_its_job() {
        let job = Path::new("/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7");
        let user = job.join("step_0/user");
        for inside in [user.clone(), user.join("task_0")] {
            let step = Step::of(&inside).unwrap();
            assert_eq!(Some(step.scope), job.parent());
            assert_eq!((step.own.first(), step.own.last()), (Some(&inside.as_path()), Some(&job)));
        }
        assert!(Step::of(&job.join("step_0")).is_none());
        let pid = Pid::from_raw(5).unwrap();
        assert!(Shelter::beside(&user.join("cgrun-bcdfghjk"), pid).is_some());
        assert!(Shelter::beside(Path::new("/sys/fs/cgroup/cgrun-bcdfghjk"), pid).is_none());
    }
}
