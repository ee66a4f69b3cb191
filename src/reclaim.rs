//! `--reclaim-ports`: ending whoever holds a port, because the user asked for just that.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::clock;
use crate::sys::pidfd::Process;
use crate::sys::proc::{self, ProcessInfo};
use crate::sys::sock_diag::Listener;

/// Ends the processes that have one of these listening sockets open, never their clients: asked
/// first, then killed. Returns what could not be ended.
pub fn end_holders(listeners: &[Listener], grace: Duration, kill_wait: Duration) -> Vec<String> {
    let sockets: Vec<_> = listeners.iter().map(|listener| listener.inode).collect();
    let mut problems = Vec::new();
    let mut holders = Vec::new();
    for pid in proc::holders(&sockets) {
        let Some(info) = ProcessInfo::read(pid) else { continue };
        // Whoever started us may have left its socket open in us.
        if pid == rustix::process::getpid() {
            problems
                .push(format!("cgrun itself was started with an open socket of a port to reclaim ({info})"));
            continue;
        }
        match Process::open(pid) {
            // Asked again after opening: only then is it surely this process's socket.
            Ok(Some(process)) if proc::holds(pid, &sockets) => holders.push((process, info)),
            Ok(_) => {}
            Err(error) => problems.push(format!("cannot end {info}: {error}")),
        }
    }
    for (signal, patience) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, kill_wait)] {
        let deadline = clock::now() + patience;
        holders.retain(|(process, info)| match process.signal(signal) {
            Ok(alive) => alive,
            Err(error) => {
                problems.push(format!("cannot end {info}: {}", crate::sys::tty::plain(&error)));
                false
            }
        });
        holders.retain(|(process, _)| {
            let left = deadline.saturating_duration_since(clock::now());
            !process.wait(left).unwrap_or(false)
        });
    }
    problems.extend(holders.iter().map(|(_, info)| format!("{info} was killed but does not end")));
    problems
}
