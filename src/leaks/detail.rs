//! How much is read of each leaked process.

use super::runners::InheritedMarks;
use crate::containment::Sockets;
use crate::sys::procfs::descriptors::{descriptor_targets, socket_inode};
use crate::sys::sockets::Listener;

/// Most of the time that a snapshot takes is spent on what only reports contain.
#[derive(Debug)]
pub(crate) enum Detail {
    /// Everything that a report contains.
    Report,
    /// Only what the terminal shows, given how to recognize the session's sockets.
    Terminal(Sockets),
    /// What is shown of a session that another process supervises.
    Listing(InheritedMarks),
}

impl Detail {
    /// The marks that are no test's of the session.
    pub(super) fn inherited_marks(&self) -> InheritedMarks {
        match self {
            Self::Report | Self::Terminal(_) => InheritedMarks::ours(),
            Self::Listing(inherited) => inherited.clone(),
        }
    }

    /// Whether any leaked process may have one of these listeners. It may have inherited one that we have too.
    pub(super) fn may_listen(&self, listeners: &[Listener]) -> bool {
        let Self::Terminal(sockets) = self else { return !listeners.is_empty() };
        let is_ours = |it: &Listener| it.cgroup.is_none() || sockets.include(it);
        if listeners.is_empty() || listeners.iter().any(is_ours) {
            return !listeners.is_empty();
        }
        let inherited = descriptor_targets(rustix::process::getpid());
        let inherited: Vec<_> = inherited.iter().filter_map(|target| socket_inode(target)).collect();
        listeners.iter().any(|it| inherited.contains(&it.inode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::port::Port;

    #[test]
    fn only_listeners_that_a_process_of_the_session_can_have_are_looked_for() {
        let made_in = |cgroup, inode| Listener {
            address: "::".parse().unwrap(),
            port: Port::tcp(8000),
            inode,
            uid: 0,
            cgroup,
        };
        let detail = Detail::Terminal(Sockets::MadeIn(vec![7]));
        assert!(detail.may_listen(&[made_in(Some(8), 0), made_in(Some(7), 0)]));
        assert!(detail.may_listen(&[made_in(None, 0)]));
        assert!(!detail.may_listen(&[made_in(Some(8), 0)]) && !detail.may_listen(&[]));
        assert!(Detail::Report.may_listen(&[made_in(Some(8), 0)]) && !Detail::Report.may_listen(&[]));
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let targets = descriptor_targets(rustix::process::getpid());
        for inode in targets.iter().filter_map(|target| socket_inode(target)) {
            assert!(detail.may_listen(&[made_in(Some(8), inode)]));
        }
        drop(held);
    }
}
