//! Listening TCP sockets, from /proc/net/tcp: see proc_pid_net(5).

use std::io;
use std::path::Path;

use super::at;

const LISTEN: &str = "0A";

/// The ports that are listened on in this thread's network namespace.
pub(crate) fn listening() -> io::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].map(Path::new) {
        let table = match std::fs::read_to_string(file) {
            // The kernel has no IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.ends_with("tcp6") => continue,
            table => table.map_err(at(file))?,
        };
        for line in table.lines().skip(1) {
            ports.extend(listening_port(line).map_err(at(file))?);
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// The port of one line of the table, if its socket listens.
fn listening_port(line: &str) -> io::Result<Option<u16>> {
    let mut fields = line.split_whitespace().skip(1);
    let (Some(local), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(io::Error::other(format!("unexpected line {line:?}")));
    };
    if state != LISTEN {
        return Ok(None);
    }
    let port = local.rsplit(':').next().unwrap_or_default();
    u16::from_str_radix(port, 16).map(Some).map_err(io::Error::other)
}
