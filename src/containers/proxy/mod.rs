//! Sockets of the session's own for its container engines. A process outside of the session serves them: it passes all on
//! to the engines, and adds labels to what is created, so that it is known whose it is.

mod abandoned;
mod body;
mod connection;
mod creator;
mod directory;
mod fields;
#[cfg(fuzzing)]
#[path = "../../../tests/fuzz/inside/proxy.rs"]
pub mod fuzzing;
mod head;
mod labelling;
mod pending;
#[cfg(test)]
mod properties;
mod refusal;
mod relay;
mod serve;
mod surrogates;
mod target;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
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
use crate::sys::process::identity::Identity;
use crate::sys::process::keeper::ENDING;
use crate::sys::process::line::Line;
use crate::sys::process::own_environment::forget_environment;
use crate::sys::process::pidfd::Process;

/// The sockets for clients of Docker and of podman.
const NAMES: [&str; 2] = ["docker.sock", "podman.sock"];

const READY: &[u8] = b"ready";
const DRAINED: &[u8] = b"drained";
const PENDING: &[u8] = b"pending";
/// How long it can take to get ready, even on a slow machine.
const BEGINNING: Duration = Duration::from_secs(30);
/// How long it can take to exit when it has answered.
const EXIT: Duration = Duration::from_millis(500);

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
        let (mut sockets, mut paths) = (Vec::new(), Vec::new());
        for (engine, name, variable) in
            [(&upstreams.docker, NAMES[0], "DOCKER_HOST"), (&upstreams.podman, NAMES[1], "CONTAINER_HOST")]
        {
            let Some(engine) = engine.clone() else { continue };
            let (listener, path) = directory.listen(name)?;
            variables.push((variable, format!("unix://{}", path.display())));
            paths.push(path);
            sockets.push(Socket { listener, engine });
        }
        directory.hand_over(&paths, identity)?;
        let inherited = InheritedMarks::ours();
        let family = Family { session: session.to_string(), supervisor: getpid(), inherited };
        let service = Service {
            labels: labels.pairs(),
            family,
            pending: Pending::default(),
            identity: identity.cloned(),
        };
        let (ours, theirs) = Line::pair()?;
        let pid = fork_detached(|| {
            let kept: Vec<_> = sockets.iter().map(|it| it.listener.as_fd()).chain([theirs.as_fd()]).collect();
            // It closes our end of the line too.
            let result = keep_only(&kept);
            forget_environment(&[MARKER, OUTER]);
            match result {
                Ok(()) => {
                    theirs.say(READY);
                    let is_drained = serve(std::mem::take(&mut sockets), service, &theirs);
                    // Once for the supervisor, and once for a guardian that takes its place meanwhile.
                    (0..2).for_each(|_| theirs.say(if is_drained { DRAINED } else { PENDING }));
                    directory.remove();
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

    /// Lets nothing more be created through it, and gives what was asked for so much time. See [`Proxy::answer`].
    pub(crate) fn close(&self, limit: Duration) {
        self.line.say(&u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).to_ne_bytes());
    }

    /// Whether all that was asked for is there: an engine that has not answered can still create it. `None` if it is not known
    /// yet.
    pub(crate) fn answer(&self) -> Option<bool> {
        match self.line.hear(Duration::ZERO) {
            Ok(said) => Some(said == DRAINED),
            Err(_) if self.is_running() => None,
            // The error of an end that was closed comes before what it has said.
            Err(_) => Some(self.line.hear(Duration::ZERO).is_ok_and(|said| said == DRAINED)),
        }
    }

    /// Readable when there is an answer.
    pub(crate) fn wakes_on(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

/// It has nothing more to do.
impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.say(&[]);
        if !self.process.wait(EXIT).unwrap_or(false) {
            let _ = self.process.signal(Signal::SIGKILL);
            let _ = self.process.wait(ENDING);
        }
        reap_detached(self.process.pid);
    }
}
