//! `cgrun sessions`: lists live and stale sessions, and those that a guardian or a sweep tore down recently; of this host, or
//! as other hosts have listed theirs.

mod listing;
mod merged;
mod prometheus;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::output::print;
use crate::merge::Draft;
use crate::report::Reporter;
use crate::runtime::exit_code::{Exit, NOT_CLEAN};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Prometheus,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub format: Format,
    /// `None` is stdout.
    pub output: Option<PathBuf>,
    /// The listings of other hosts, if those are to be shown.
    pub merge: Vec<PathBuf>,
}

/// `records` is the directory with those of ended sessions.
pub(crate) fn sessions(
    request: &Request,
    records: impl FnOnce() -> PathBuf,
    reporter: &Reporter,
) -> Result<Exit> {
    let (text, code) = if request.merge.is_empty() {
        (of_this_host(request.format, &records(), reporter)?, 0)
    } else {
        let (text, is_complete) = of_many_hosts(request, reporter)?;
        (text, if is_complete { 0 } else { NOT_CLEAN })
    };
    match &request.output {
        Some(path) => Draft::prepare(path)?.write(&text)?,
        None => match print(&text)? {
            Exit::Code(0) => {}
            other => return Ok(other),
        },
    }
    Ok(Exit::Code(code))
}

fn of_this_host(format: Format, records: &Path, reporter: &Reporter) -> Result<String> {
    let listing = listing::of_this_host(records)?;
    listing.incomplete.iter().for_each(|gap| reporter.say(gap));
    Ok(match format {
        Format::Text => table::of_host(&listing),
        Format::Json => serde_json::to_string_pretty(&listing)? + "\n",
        Format::Prometheus => prometheus::text(&listing, reporter),
    })
}

/// Also returns whether all listings could be read.
fn of_many_hosts(request: &Request, reporter: &Reporter) -> Result<(String, bool)> {
    let merged = merged::read(&request.merge);
    for it in &merged.left_out {
        reporter.error(&format!("{} is left out: {}", it.file, it.reason));
    }
    let listings = merged.listings().context("no listing can be read")?;
    for it in &listings {
        it.incomplete.iter().for_each(|gap| reporter.say(&format!("{}: {gap}", it.host)));
    }
    let text = match request.format {
        Format::Text => table::of_hosts(&listings),
        Format::Json => serde_json::to_string_pretty(&merged)? + "\n",
        Format::Prometheus => unreachable!("refused with the arguments"),
    };
    Ok((text, merged.left_out.is_empty()))
}
