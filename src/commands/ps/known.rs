//! Tells a hook which of the processes that a test has left running are in the baseline: they are no reason to fail the test.
//! The hook writes them to stdin as it writes them to the leak log.

use std::io::{Read, stdin};

use anyhow::Result;

use super::super::output::print;
use crate::baseline::{Baseline, KNOWN_LEAKS, KnownLeaks};
use crate::leaks::{LARGEST_LOG, Logged};
use crate::runtime::exit_code::Exit;

/// Prints a list with a `true` for each process that is known, or nothing if that cannot be told.
pub(super) fn print_known() -> Result<Exit> {
    let mut bytes = Vec::new();
    stdin().lock().take(LARGEST_LOG).read_to_end(&mut bytes)?;
    let Logged { ended: mut leaks, undescribed, .. } = Logged::parse(&bytes);
    let said =
        std::env::var(KNOWN_LEAKS).ok().and_then(|text| serde_json::from_str::<KnownLeaks>(&text).ok());
    let baseline = said.as_ref().map(|said| Baseline::read(&said.baseline)).transpose()?.flatten();
    let (Some(said), Some(baseline), 0) = (said, baseline, undescribed) else { return print("") };
    baseline.judge(&mut leaks, None, &said.directory);
    let known: Vec<_> = leaks.iter().map(|leak| leak.is_known).collect();
    print(&(serde_json::to_string(&known)? + "\n"))
}
