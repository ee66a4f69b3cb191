//! The process that stands between a session and its container engines.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::Service;
use crate::sys::process::line::Line;
use crate::sys::time::sleep;

/// Each connection needs two threads and two descriptors. Further clients wait.
const MOST: usize = 400;
/// How often to look for room while there is none.
const ROOM: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// How long an engine can take to answer the last creations.
const DRAIN: Duration = Duration::from_secs(5);
const STACK: usize = 256 << 10;

/// A socket of the session, and the engine's own behind it.
#[derive(Debug)]
pub(super) struct Socket {
    pub listener: UnixListener,
    pub engine: PathBuf,
}

/// Serves until the line is used or closed, and then until what was asked for has been created. Returns whether that is so.
pub(super) fn serve(sockets: Vec<Socket>, service: Service, line: &Line) -> bool {
    let service = Arc::new(service);
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let mut fds = vec![PollFd::new(line, PollFlags::IN)];
        let is_full = busy.load(Ordering::Acquire) >= MOST;
        if !is_full {
            fds.extend(sockets.iter().map(|it| PollFd::from_borrowed_fd(it.listener.as_fd(), PollFlags::IN)));
        }
        match poll(&mut fds, is_full.then_some(&ROOM)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
        if !fds[0].revents().is_empty() {
            break;
        }
        let ready: Vec<_> = fds.iter().skip(1).map(|it| !it.revents().is_empty()).collect();
        for (socket, _) in sockets.iter().zip(ready).filter(|(_, is_ready)| *is_ready) {
            accept(socket, &service, &busy);
        }
    }
    // What is left unread would discard our own last word.
    let _ = line.hear(Duration::ZERO);
    drop(sockets);
    service.pending.close(DRAIN)
}

/// A client that has given up, and a lack of descriptors or threads, are passing: the client can try again.
fn accept(socket: &Socket, service: &Arc<Service>, busy: &Arc<AtomicUsize>) {
    let Ok((client, _)) = socket.listener.accept() else {
        sleep(Duration::from_millis(1));
        return;
    };
    let (service, engine) = (service.clone(), socket.engine.clone());
    let occupied = Occupied::new(busy.clone());
    let spawned: io::Result<_> = thread::Builder::new().stack_size(STACK).spawn(move || {
        let _occupied = occupied;
        service.serve(&client, &engine);
    });
    drop(spawned);
}

struct Occupied(Arc<AtomicUsize>);

impl Occupied {
    fn new(busy: Arc<AtomicUsize>) -> Self {
        busy.fetch_add(1, Ordering::AcqRel);
        Self(busy)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
