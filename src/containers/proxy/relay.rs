//! Copies bytes between two sockets, in both directions, until one of them has ended.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// As much as the buffer of a socket takes at once.
const CHUNK: usize = 128 << 10;
const STACK: usize = 64 << 10;

/// Connects the two until both directions have ended. A direction that one side has closed is closed on the other; if a side
/// has closed both, so is everything.
pub(super) fn relay(client: &UnixStream, engine: &UnixStream) -> io::Result<()> {
    thread::scope(|scope| {
        let up = thread::Builder::new().name("up".into()).stack_size(STACK);
        up.spawn_scoped(scope, || pass(client, engine))?;
        pass(engine, client);
        Ok(())
    })
}

fn pass(mut from: &UnixStream, mut to: &UnixStream) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                // Nobody reads from it any more, and the other direction can be silent for long.
                wait_until_closed(from);
                break;
            }
            Ok(length) => {
                if to.write_all(&chunk[..length]).is_err() {
                    // What the receiver said before it closed is still on its way to the other side.
                    let _ = from.shutdown(Shutdown::Read);
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It has closed, and not read all.
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Waits until both directions are closed, by whichever end (unix(7), poll(2)).
fn wait_until_closed(stream: &UnixStream) {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    while poll(&mut fds, None) == Err(Errno::INTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of a client and an engine that are connected.
    fn connected() -> (UnixStream, UnixStream, thread::JoinHandle<()>) {
        let (client, ours) = UnixStream::pair().unwrap();
        let (engine, theirs) = UnixStream::pair().unwrap();
        (client, engine, thread::spawn(move || relay(&ours, &theirs).unwrap()))
    }

    fn read_all(mut stream: &UnixStream) -> Vec<u8> {
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read);
        read
    }

    #[test]
    fn each_direction_can_be_closed_by_itself() {
        let (mut client, mut engine, relaying) = connected();
        client.write_all(b"input").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&engine), b"input");
        engine.write_all(b"output").unwrap();
        engine.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&client), b"output");
        relaying.join().unwrap();
    }

    #[test]
    fn what_was_said_before_the_end_arrives() {
        let (mut client, mut engine, relaying) = connected();
        let answer = thread::spawn(move || {
            engine.write_all(&vec![b'x'; 10 << 20]).unwrap();
            // The client still wants to send.
            drop(engine);
        });
        client.write_all(b"more").unwrap();
        assert_eq!(read_all(&client).len(), 10 << 20);
        answer.join().unwrap();
        relaying.join().unwrap();
    }

    #[test]
    fn a_client_that_is_gone_is_noticed_while_the_engine_is_silent() {
        let (client, engine, relaying) = connected();
        drop(client);
        assert_eq!(read_all(&engine), b"");
        relaying.join().unwrap();
    }

    #[test]
    fn a_client_that_has_sent_all_and_is_gone_is_noticed_while_the_engine_is_silent() {
        let (client, engine, relaying) = connected();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&engine), b"");
        drop(client);
        relaying.join().unwrap();
        drop(engine);
    }

    #[test]
    fn an_engine_that_has_answered_and_is_gone_is_noticed_while_the_client_is_silent() {
        let (client, engine, relaying) = connected();
        engine.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&client), b"");
        drop(engine);
        relaying.join().unwrap();
        drop(client);
    }
}
