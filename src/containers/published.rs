//! The ports of the host that lead into a session's containers. The engine listens on them, and no process of the session.

use std::io;

use serde_json::json;

use super::container::Listed;
use super::engine::Engine;
use super::exchange::{Ask, LONGEST_LIST, get_all};
use super::labels::SESSION;
use super::listing::escaped;
use crate::sys::port::Port;
use crate::sys::time::Instant;

/// Each engine has until `deadline` to answer.
pub(crate) fn published(engines: &[Engine], session: &str, deadline: Instant) -> io::Result<Vec<Port>> {
    let filter = escaped(&json!({ "label": [format!("{SESSION}={session}")] }).to_string());
    let path = format!("/containers/json?filters={filter}");
    let asks: Vec<_> = engines.iter().map(|it| Ask::get(it, path.clone(), LONGEST_LIST)).collect();
    let mut ports = Vec::new();
    for answer in get_all(&asks, deadline) {
        ports.extend(parsed(&answer?)?);
    }
    Ok(ports)
}

pub(super) fn parsed(body: &[u8]) -> io::Result<Vec<Port>> {
    let listed: Vec<Listed> = serde_json::from_slice(body)?;
    Ok(listed.iter().flat_map(Listed::published).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_of_the_host_are_published() {
        let body = br#"[
            { "Id": "1", "Ports": [{ "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000, "Type": "tcp" },
                        { "PrivatePort": 53, "PublicPort": 5353, "Type": "udp" },
                        { "PrivatePort": 9, "Type": "tcp" }] },
            { "Id": "2", "Ports": null },
            { "Id": "3" }
        ]"#;
        assert_eq!(parsed(body).unwrap(), [Port::tcp(8000), "5353/udp".parse().unwrap()]);
        parsed(b"{}").unwrap_err();
    }
}
