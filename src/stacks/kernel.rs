//! Where in the kernel the threads of a process are that cannot be interrupted.

use rustix::process::Pid;

use super::collect::Target;
use super::stack::Section;
use super::tool::Way;
use crate::sys::procfs::syscall::{kernel_stack, thread_ids};

/// No more threads are looked at.
const MOST: usize = 16;

/// Other tools would wait for the process as long as it waits.
pub(super) fn way(target: &Target) -> Way {
    let sections: Vec<Section> =
        thread_ids(target.pid, MOST).into_iter().filter_map(|thread| section(target.pid, thread)).collect();
    if sections.is_empty() {
        return Way::No("only root can read where in the kernel it is".into());
    }
    Way::Known("the kernel", sections)
}

fn section(pid: Pid, thread: Pid) -> Option<Section> {
    let lines = kernel_stack(pid, thread)?;
    let title = if thread == pid { String::new() } else { format!("thread {thread}") };
    (!lines.is_empty()).then_some(Section { title, lines })
}
