//! Reads one report, or says why it cannot be merged. Only one is in memory at a time.

use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::error::Category;
use thiserror::Error;

use super::document::{self, MergedDocument};
use super::merged::Merged;
use super::session_file::SessionFile;
use crate::report::{SCHEMA, SCHEMA_VERSION};
use crate::sys::regular_file::open_regular;
use crate::text::{Bytes, plain};

/// A larger file is not a report.
pub(crate) const LARGEST: u64 = 256 << 20;

/// Why a report is left out.
#[derive(Debug, Error)]
pub(crate) enum Unreadable {
    #[error("it cannot be read: {}", plain(.0))]
    Io(io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is empty")]
    Empty,
    #[error("it is larger than {}, which no report is", Bytes(LARGEST))]
    TooLarge,
    #[error("it is truncated: it ends in line {0}")]
    Truncated(usize),
    #[error("it is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("it is not a report of cgrun, which `cgrun --report json=FILE` writes")]
    Foreign,
    #[error(
        "it has version {found}, and this cgrun reads version {read}; merge it with the cgrun that wrote it"
    )]
    OtherVersion { found: u64, read: u32 },
    #[error("it is not a complete report: {0}")]
    Incomplete(serde_json::Error),
}

/// The keys by which reports are recognized.
#[derive(Deserialize)]
struct Header<'a> {
    schema: Option<&'a str>,
    schema_version: Option<u64>,
}

/// Adds the sessions of a file, and returns how many were there already. `buffer` is used again for each file.
pub(crate) fn read(path: &Path, merged: &mut Merged, buffer: &mut Vec<u8>) -> Result<usize, Unreadable> {
    load(path, buffer)?;
    add(&path.to_string_lossy(), buffer, merged)
}

/// Adds the sessions of a report that is already in memory, and returns how many were there already.
pub(crate) fn add(name: &str, text: &[u8], merged: &mut Merged) -> Result<usize, Unreadable> {
    match text.len() as u64 {
        0 => return Err(Unreadable::Empty),
        length if length > LARGEST => return Err(Unreadable::TooLarge),
        _ => {}
    }
    let header: Header<'_> = serde_json::from_slice(text).map_err(|error| match error.classify() {
        Category::Eof => Unreadable::Truncated(error.line()),
        Category::Data => Unreadable::Foreign,
        _ => Unreadable::NotJson(error),
    })?;
    let expect = |version: u32| match header.schema_version {
        Some(found) if found == u64::from(version) => Ok(()),
        Some(found) => Err(Unreadable::OtherVersion { found, read: version }),
        None => Err(Unreadable::Foreign),
    };
    match header.schema {
        Some(SCHEMA) => {
            expect(SCHEMA_VERSION)?;
            let file: SessionFile<'_> = serde_json::from_slice(text).map_err(Unreadable::Incomplete)?;
            let session = file.into_result(name, merged);
            Ok(usize::from(!merged.add(session)))
        }
        Some(document::SCHEMA) => {
            expect(document::SCHEMA_VERSION)?;
            let document: MergedDocument = serde_json::from_slice(text).map_err(Unreadable::Incomplete)?;
            Ok(document.add_to(merged))
        }
        _ => Err(Unreadable::Foreign),
    }
}

/// Without waiting for the other end, if it is a pipe.
fn load(path: &Path, buffer: &mut Vec<u8>) -> Result<(), Unreadable> {
    let file = open_regular(path, 0).map_err(Unreadable::Io)?.ok_or(Unreadable::NotAFile)?;
    buffer.clear();
    file.take(LARGEST + 1).read_to_end(buffer).map_err(Unreadable::Io)?;
    Ok(())
}
