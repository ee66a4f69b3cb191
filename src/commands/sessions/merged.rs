//! What `cgrun sessions --json` has printed on many hosts.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::listing::{self, Listing};
use crate::sys::regular_file::open_regular;
use crate::text::{Bytes, plain};

/// What is larger is no listing.
const LARGEST: u64 = 64 << 20;
const SCHEMA: &str = "cgrun-sessions-merged";

#[derive(Serialize)]
pub(super) struct Merged {
    schema: &'static str,
    schema_version: u32,
    /// As the hosts have printed them.
    hosts: Vec<Value>,
    pub left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
pub(super) struct LeftOut {
    pub file: String,
    pub reason: String,
}

impl Merged {
    /// `None` if there are none.
    pub(super) fn listings(&self) -> Option<Vec<Listing>> {
        let listings: Vec<_> = self.hosts.iter().filter_map(|it| Listing::deserialize(it).ok()).collect();
        (!listings.is_empty()).then_some(listings)
    }
}

/// A file can hold the listings of several hosts, one after the other. `-` is stdin.
pub(super) fn read(files: &[PathBuf]) -> Merged {
    let mut merged = Merged {
        schema: SCHEMA,
        schema_version: listing::SCHEMA_VERSION,
        hosts: Vec::new(),
        left_out: Vec::new(),
    };
    for path in files {
        match load(path).and_then(|text| parse(&text)) {
            Ok(listings) => merged.hosts.extend(listings),
            Err(reason) => merged.left_out.push(LeftOut { file: path.display().to_string(), reason }),
        }
    }
    merged
}

fn load(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("it cannot be read: {}", plain(&error));
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(open_regular(path, 0).map_err(cannot)?.ok_or("it is not a regular file")?),
    };
    let mut text = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > LARGEST {
        return Err(format!("it is larger than {}, which no listing is", Bytes(LARGEST)));
    }
    Ok(text)
}

/// All or nothing: half a file can lack hosts.
fn parse(text: &[u8]) -> Result<Vec<Value>, String> {
    let mut listings = Vec::new();
    for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
        let value = value.map_err(|error| format!("it is truncated, or not JSON: {error}"))?;
        match (value["schema"].as_str(), value["schema_version"].as_u64()) {
            (Some(listing::SCHEMA), Some(version)) if version == u64::from(listing::SCHEMA_VERSION) => {}
            (Some(listing::SCHEMA), _) => return Err("it is of another version of cgrun".into()),
            _ => return Err("it is not what `cgrun sessions --json` prints".into()),
        }
        if let Err(error) = Listing::deserialize(&value) {
            return Err(format!("it is not a complete listing: {error}"));
        }
        listings.push(value);
    }
    if listings.is_empty() { Err("it is empty".into()) } else { Ok(listings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_counts_only_if_all_of_its_file_is_understood() {
        let listing = r#"{"schema": "cgrun-sessions", "schema_version": 1, "host": "a", "listed_at_unix_seconds": 1,
            "incomplete": null, "sessions": [], "ended": [], "later": 7}"#;
        let read = |text: &str| parse(text.as_bytes());
        assert_eq!(read(&format!("{listing}\n{listing}")).unwrap()[1]["later"], 7);
        for (text, reason) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            (&listing[..40], "it is truncated, or not JSON: "),
            (&format!("{listing}\n{}", &listing[..40]), "it is truncated, or not JSON: "),
            ("ssh: connect to host b: refused", "it is truncated, or not JSON: "),
            (&listing.replace("sessions\"", "report\""), "it is not what `cgrun sessions --json` prints"),
            ("[]", "it is not what"),
            (&listing.replace("version\": 1", "version\": 2"), "it is of another version of cgrun"),
            (&listing.replace("\"sessions\": [],", ""), "it is not a complete listing: "),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.starts_with(reason), "{text}: {found}");
        }
    }
}
