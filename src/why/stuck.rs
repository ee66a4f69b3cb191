//! Why a process that was killed has not exited.

use rustix::process::Pid;

use super::seen::tracer;
use crate::sys::procfs::stat::thread_state;
use crate::sys::procfs::syscall::{kernel_functions, thread_ids};

/// No more threads are looked at, and no more of the functions that called each other are named.
const MOST_THREADS: usize = 1000;
const FUNCTIONS: usize = 3;

/// The rest of a sentence whose subject is the process. `None` if the kernel says nothing.
pub(crate) fn why_stuck(pid: Pid) -> Option<String> {
    // The first thread may have exited, and another one hang.
    let states = thread_ids(pid, MOST_THREADS).into_iter();
    let states: Vec<_> = states.filter_map(|thread| Some((thread, thread_state(pid, thread)?))).collect();
    let is_alive = |state: char| !matches!(state, 'Z' | 'X');
    let hangs = states.iter().find(|(_, state)| *state == 'D');
    let &(thread, state) = hangs.or_else(|| states.iter().find(|(_, state)| is_alive(*state)))?;
    let functions = kernel_functions(pid, thread, FUNCTIONS);
    let within = match &functions[..] {
        [] => "; where is hidden: run as root".into(),
        functions => format!(" ({})", functions.join(", called by ")),
    };
    Some(match (state, tracer(pid)) {
        ('t' | 'T', Some(tracer)) => format!("is stopped by its tracer {tracer}"),
        ('D', _) => format!("is uninterruptible in the kernel{within}"),
        ('R', _) => format!("still runs in the kernel{within}"),
        _ => format!("waits in the kernel{within}"),
    })
}
