//! The process that stands between a session and its container engines.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::connection::Service;
use super::refusal::Refusal;
use crate::sys::process::line::Line;
use crate::sys::time::sleep;

/// Each connection needs two threads and two descriptors. Further clients are refused.
const MOST: usize = 400;
/// Enough for the deepest description that is parsed. Only what is used takes memory.
const STACK: usize = 2 << 20;

/// A socket of the session, and the engine's own behind it.
#[derive(Debug)]
pub(super) struct Socket {
    pub listener: UnixListener,
    pub engine: PathBuf,
}

/// Serves until the line is closed, or says how many milliseconds there still are for what was asked for to be created. Returns
/// whether it has been.
pub(super) fn serve(sockets: Vec<Socket>, service: Service, line: &Line) -> bool {
    let service = Arc::new(service);
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let mut fds = vec![PollFd::new(line, PollFlags::IN)];
        fds.extend(sockets.iter().map(|it| PollFd::from_borrowed_fd(it.listener.as_fd(), PollFlags::IN)));
        match poll(&mut fds, None) {
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
    drop(sockets);
    // Whoever has died can have no more time. What is left unread would discard our own last word.
    let limit = line.hear(Duration::ZERO).ok().and_then(|said| said.try_into().ok()).map(u64::from_ne_bytes);
    service.pending.close(Duration::from_millis(limit.unwrap_or_default()))
}

/// A client that has given up, and a lack of descriptors or threads, are passing: the client can try again.
fn accept(socket: &Socket, service: &Arc<Service>, busy: &Arc<AtomicUsize>) {
    let Ok((client, _)) = socket.listener.accept() else {
        sleep(Duration::from_millis(1));
        return;
    };
    if busy.load(Ordering::Acquire) >= MOST {
        refuse(&client);
        return;
    }
    let (service, engine) = (service.clone(), socket.engine.clone());
    let occupied = Occupied::new(busy.clone());
    let spawned: io::Result<_> = thread::Builder::new().stack_size(STACK).spawn(move || {
        let _occupied = occupied;
        service.serve(&client, &engine);
    });
    drop(spawned);
}

/// It is a few bytes, for which a new socket has room.
fn refuse(client: &UnixStream) {
    let refusal = format!("cgrun passes on at most {MOST} requests at a time");
    let _ = client.set_nonblocking(true);
    Refusal::busy(refusal).tell(client);
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
