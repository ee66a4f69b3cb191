//! What is hidden from us because we are not allowed to trace a process (ptrace(2)), and what helps.

use super::explanation::Explanation;
use crate::sys::small_file::read_single;
use crate::text::processes;

/// How far Yama restricts who can trace a process of the same user (`kernel.yama.ptrace_scope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yama {
    Off,
    OnlyAncestors,
    OnlyRoot,
    /// It stays so until the next boot.
    Nobody,
}

impl Explanation {
    /// What helps if something is hidden.
    pub(crate) fn hint(&self) -> Option<String> {
        let hidden: Vec<_> = self.seen.values().filter(|it| it.is_hidden).collect();
        let remedy = || {
            let us = rustix::process::geteuid();
            let is_of_our_user = hidden.iter().any(|it| it.process.uid == Some(us.as_raw()));
            remedy(us.is_root(), is_of_our_user, yama())
        };
        (!hidden.is_empty())
            .then(|| format!("the system calls of {} are hidden{}", processes(hidden.len()), remedy()))
    }
}

fn remedy(is_root: bool, is_of_our_user: bool, yama: Yama) -> &'static str {
    match yama {
        Yama::Nobody => " by Yama until the next boot (kernel.yama.ptrace_scope is 3)",
        _ if is_root => ": this root lacks CAP_SYS_PTRACE",
        // A supervisor is an ancestor of its processes.
        Yama::OnlyAncestors if is_of_our_user => {
            " by Yama (kernel.yama.ptrace_scope): run as root, or see what --warn-after prints"
        }
        Yama::OnlyRoot if is_of_our_user => " by Yama (kernel.yama.ptrace_scope): run as root",
        _ => ": run as root",
    }
}

fn yama() -> Yama {
    match read_single("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default().trim_ascii() {
        b"1" => Yama::OnlyAncestors,
        b"2" => Yama::OnlyRoot,
        b"3" => Yama::Nobody,
        _ => Yama::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yama_is_named_only_where_it_is_what_hides() {
        for (is_root, is_of_our_user, yama, expected) in [
            (false, true, Yama::OnlyAncestors, "run as root, or see what --warn-after prints"),
            (false, true, Yama::OnlyRoot, "Yama (kernel.yama.ptrace_scope): run as root"),
            (false, false, Yama::OnlyAncestors, ": run as root"),
            (false, true, Yama::Off, ": run as root"),
            (true, true, Yama::OnlyAncestors, ": this root lacks CAP_SYS_PTRACE"),
            (true, true, Yama::Nobody, "until the next boot (kernel.yama.ptrace_scope is 3)"),
        ] {
            let said = remedy(is_root, is_of_our_user, yama);
            assert!(said.ends_with(expected), "{said}");
            assert_eq!(said.contains("Yama"), said.contains("ptrace_scope"));
        }
        assert_eq!(remedy(false, false, Yama::OnlyAncestors), ": run as root");
    }
}
