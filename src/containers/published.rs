//! The ports of the host that lead into a session's containers. The engine listens on them, and no process of the session.

use std::io;

use serde::Deserialize;
use serde_json::json;

use super::engine::Engine;
use super::labels::SESSION;
use super::listing::escaped;
use crate::sys::port::{Port, Protocol};
use crate::sys::time::Instant;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    ports: Option<Vec<Published>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Published {
    #[serde(default)]
    public_port: Option<u16>,
    #[serde(default)]
    r#type: String,
}

/// Each engine has until `deadline` to answer.
pub(crate) fn published(engines: &[Engine], session: &str, deadline: Instant) -> io::Result<Vec<Port>> {
    let filter = escaped(&json!({ "label": [format!("{SESSION}={session}")] }).to_string());
    let path = format!("/containers/json?filters={filter}");
    let mut ports = Vec::new();
    for engine in engines {
        ports.extend(parsed(&engine.get(&path)?.answer(deadline)?)?);
    }
    Ok(ports)
}

fn parsed(body: &[u8]) -> io::Result<Vec<Port>> {
    let listed: Vec<Listed> = serde_json::from_slice(body)?;
    let all = listed.into_iter().flat_map(|it| it.ports.unwrap_or_default());
    Ok(all
        .filter_map(|it| {
            let protocol = if it.r#type == "udp" { Protocol::Udp } else { Protocol::Tcp };
            Some(Port { number: it.public_port.filter(|&number| number > 0)?, protocol })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_of_the_host_are_published() {
        let body = br#"[
            { "Ports": [{ "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000, "Type": "tcp" },
                        { "PrivatePort": 53, "PublicPort": 5353, "Type": "udp" },
                        { "PrivatePort": 9, "Type": "tcp" }] },
            { "Ports": null },
            {}
        ]"#;
        assert_eq!(parsed(body).unwrap(), [Port::tcp(8000), "5353/udp".parse().unwrap()]);
        parsed(b"{}").unwrap_err();
    }
}
