//! Ports that no process holds but that some servers still cannot bind.

use std::time::Duration;

use crate::sys::port::Port;
use crate::sys::sockets::in_time_wait;

/// One sentence for each of these ports that closed connections still occupy. The caller has checked that nothing
/// listens on them. Empty if the kernel does not show its connections.
pub(crate) fn remarks(ports: &[Port]) -> Vec<String> {
    let waiting = in_time_wait().unwrap_or_default();
    let longest =
        |port: Port| waiting.iter().filter(|it| Port::tcp(it.port) == port).map(|it| it.time_left).max();
    ports.iter().filter_map(|&port| Some(remark(port, longest(port)?))).collect()
}

fn remark(port: Port, time_left: Duration) -> String {
    let seconds = time_left.as_secs_f32().ceil();
    format!(
        "port {port} has closed connections in TIME_WAIT, for up to {seconds} s more: until then, a server that does not set SO_REUSEADDR cannot bind it (EADDRINUSE)"
    )
}
