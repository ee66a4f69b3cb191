//! `--reclaim-ports`: stops the processes that hold a port, because the user asked for that.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::runtime::clock;
use crate::runtime::events::{Event, Events, Wake};
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::descriptors::holds_socket;
use crate::sys::procfs::descriptors::socket_holders;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::walk;
use crate::sys::sockets::Listener;

/// Stops the processes that have one of these listening sockets open, never their clients. They are asked
/// first, then killed. Returns those that could not be stopped.
pub(crate) fn end_holders(
    listeners: &[Listener],
    grace: Duration,
    kill_wait: Duration,
    events: &Events,
) -> Result<Vec<String>, Interrupted> {
    let sockets: Vec<_> = listeners.iter().map(|listener| listener.inode).collect();
    let us = rustix::process::getpid();
    let ancestors: Vec<_> = walk::lineage(us).skip(1).collect();
    let mut problems = Vec::new();
    let mut holders = Vec::new();
    for pid in socket_holders(&sockets) {
        let Some(info) = ProcessInfo::read(pid) else { continue };
        // We may have inherited the socket from the process that started us.
        if pid == us {
            problems.push(format!(
                "cgrun itself inherited an open socket on a port that it should reclaim ({info})"
            ));
            continue;
        }
        // The host's first process holds sockets for services that it starts (socket activation).
        if ancestors.contains(&pid) || pid == Pid::INIT {
            problems.push(format!("{info} was not killed, because it started cgrun"));
            continue;
        }
        match Process::open(pid) {
            // Checked again after opening the pidfd: before that, the pid could have been reused.
            Ok(Some(process)) if holds_socket(pid, &sockets) => holders.push((process, info)),
            Ok(_) => {}
            Err(error) => problems.push(format!("cannot stop {info}: {error}")),
        }
    }
    for (signal, patience) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, kill_wait)] {
        let deadline = clock::now() + patience;
        holders.retain(|(process, info)| match process.signal(signal) {
            Ok(alive) => alive,
            Err(error) => {
                problems.push(format!("cannot stop {info}: {}", crate::text::plain(&error)));
                false
            }
        });
        while !holders.is_empty() && clock::now() < deadline {
            let wakes: Vec<_> = holders.iter().map(|(process, _)| Wake::readable(process.as_fd())).collect();
            let ending = events.wait(&wakes, Some(deadline))?.into_iter().find_map(|event| match event {
                Event::Signal(caught) if caught.is_about_ending() => Some(caught.signal),
                _ => None,
            });
            if let Some(signal) = ending {
                return Err(Interrupted::Signal(signal));
            }
            holders.retain(|(process, _)| !process.has_exited());
        }
    }
    problems.extend(holders.iter().map(|(_, info)| format!("{info} was killed but has not exited")));
    Ok(problems)
}

/// Why it is not known whether they exited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    #[error("{0} arrived while cgrun was waiting for the processes that hold the ports to exit")]
    Signal(Signal),
    #[error("cannot wait for the processes that hold the ports (ppoll): {0}")]
    Wait(#[from] std::io::Error),
}
