//! The numbers of processes in nested PID namespaces (pid_namespaces(7)).

use rustix::process::Pid;

use super::stat;
use super::status::Status;
use super::walk::children;

/// The child of `parent` that has this number in the PID namespace of `parent`. `None` if there is none.
pub(crate) fn child_with_number(parent: Pid, number: i32) -> Option<Pid> {
    match depth(parent)? {
        0 => Pid::from_raw(number).filter(|&child| stat::parent(child) == Some(parent)),
        depth => children(parent).ok()?.into_iter().find(|&it| number_at(it, "NSpid", depth) == Some(number)),
    }
}

/// A process group as we see it, of which a child of `parent` is a member, by its number in the namespace of `parent`.
pub(crate) fn group_with_number(parent: Pid, number: i32) -> Option<i32> {
    let depth = depth(parent)?;
    if depth == 0 {
        return Some(number);
    }
    let mut children = children(parent).ok()?.into_iter();
    let member = children.find(|&child| number_at(child, "NSpgid", depth) == Some(number))?;
    number_at(member, "NSpgid", 0)
}

/// How many namespaces a process is below ours.
fn depth(pid: Pid) -> Option<usize> {
    numbers(pid, "NSpid")?.len().checked_sub(1)
}

fn number_at(pid: Pid, key: &str, depth: usize) -> Option<i32> {
    numbers(pid, key)?.get(depth).copied()
}

/// The numbers of one process in each namespace, ours first (proc_pid_status(5)).
fn numbers(pid: Pid, key: &str) -> Option<Vec<i32>> {
    Status::of(pid)?.numbers(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_in_our_own_namespace_has_one_number() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (us, pid) = (rustix::process::getpid(), Pid::from_raw(child.id() as i32).unwrap());
        let number = pid.as_raw_nonzero().get();
        assert_eq!(child_with_number(us, number), Some(pid));
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        assert_eq!(group_with_number(us, group), Some(group));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(child_with_number(us, number), None);
    }
}
