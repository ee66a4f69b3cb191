//! Sockets of the session's own for its container engines. A process outside of the session serves them: it passes all on
//! to the engines, and adds labels to what is created, so that it is known whose it is.

mod body;
mod connection;
mod creator;
mod directory;
mod fields;
mod head;
mod labelling;
mod pending;
#[cfg(test)]
mod properties;
mod relay;
mod serve;
mod target;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::process::{Pid, getpid};

use connection::Service;
use creator::Family;
use directory::Directory;
use pending::Pending;
use serve::{Socket, serve};

use super::labels::Labels;
use super::upstream::Upstreams;
use crate::containment::{MARKER, OUTER, SessionId};
use crate::leaks::InheritedMarks;
use crate::sys::process::detach::{fork_detached, keep_only, reap_detached};
use crate::sys::process::identity::{ActingAs, Identity};
use crate::sys::process::line::Line;
use crate::sys::process::own_environment::forget_environment;
use crate::sys::process::pidfd::Process;

const READY: &[u8] = b"ready";
const DRAINED: &[u8] = b"drained";
const END: &[u8] = b"end";
/// How long it can take to get ready, even on a slow machine.
const BEGINNING: Duration = Duration::from_secs(30);
/// The engines have less time than that to answer what is asked at the end.
const ENDING: Duration = Duration::from_secs(8);

/// The process that serves the session's sockets. It ends when all who hold this value have ended.
#[derive(Debug)]
pub(crate) struct Proxy {
    line: Line,
    process: Process,
    /// Removed with this value.
    _directory: Directory,
    variables: Vec<(&'static str, String)>,
}

impl Proxy {
    /// Starts it. It dials with the rights of the session's user.
    ///
    /// Must be called while this process has a single thread.
    pub(crate) fn start(
        session: &SessionId,
        labels: &Labels,
        upstreams: &Upstreams,
        identity: Option<&Identity>,
    ) -> io::Result<Self> {
        let directory = Directory::create(session)?;
        let mut variables = Vec::new();
        let mut sockets = Vec::new();
        for (engine, name, variable) in [
            (&upstreams.docker, "docker.sock", "DOCKER_HOST"),
            (&upstreams.podman, "podman.sock", "CONTAINER_HOST"),
        ] {
            let Some(engine) = engine.clone() else { continue };
            let (listener, path) = directory.listen(name, &engine)?;
            variables.push((variable, format!("unix://{}", path.display())));
            sockets.push(Socket { listener, engine });
        }
        let inherited = InheritedMarks::ours();
        let family = Family { session: session.to_string(), supervisor: getpid(), inherited };
        let service = Service { labels: labels.pairs(), family, pending: Pending::default() };
        let (ours, theirs) = Line::pair()?;
        let pid = fork_detached(|| {
            let kept: Vec<_> = sockets.iter().map(|it| it.listener.as_fd()).chain([theirs.as_fd()]).collect();
            // It closes our end of the line too.
            let result = keep_only(&kept);
            forget_environment(&[MARKER, OUTER]);
            // Threads have the rights of the thread that starts them.
            let acting = ActingAs::session_user(identity).map_err(io::Error::from);
            match result.and(acting) {
                Ok(acting) => {
                    theirs.say(READY);
                    let is_drained = serve(std::mem::take(&mut sockets), service, &theirs);
                    theirs.say(if is_drained { DRAINED } else { END });
                    drop(acting);
                    let _ = std::fs::remove_dir_all(directory.path());
                }
                Err(error) => theirs.say(error.to_string().as_bytes()),
            }
        })?;
        drop(theirs);
        let process = Process::open(pid)?.ok_or_else(|| io::Error::other("it was killed at once"))?;
        let proxy = Self { line: ours, process, _directory: directory, variables };
        match proxy.line.hear(BEGINNING)? {
            said if said == READY => Ok(proxy),
            said if said.is_empty() => Err(io::Error::other("it was killed before it was ready")),
            said => Err(io::Error::other(String::from_utf8_lossy(&said).into_owned())),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// What leads the session's programs to it.
    pub(crate) fn variables(&self) -> &[(&'static str, String)] {
        &self.variables
    }

    /// What whoever can call [`Proxy::end`] has to keep open.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.line.as_fd(), self.process.as_fd()]
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.process.has_exited()
    }

    /// Ends it. Afterwards nothing is created through it any more. Returns whether all that was asked for before is there: an
    /// engine that has not answered can still create it.
    pub(crate) fn end(&self) -> bool {
        self.line.say(END);
        let is_drained = self.line.hear(ENDING).is_ok_and(|said| said == DRAINED);
        if !self.process.wait(ENDING).unwrap_or(false) {
            let _ = self.process.signal(nix::sys::signal::Signal::SIGKILL);
            let _ = self.process.wait(ENDING);
        }
        reap_detached(self.process.pid);
        is_drained
    }
}
