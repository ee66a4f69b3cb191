//! `cgrun merge`: many reports become one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::output::print;
use crate::cli::Merge;
use crate::config::OnLeak;
use crate::merge::{self, Format, Merged, Outputs, Overview};
use crate::report::Reporter;
use crate::runtime::exit_code::{self, Exit};
use crate::text::counted;

pub(crate) fn merge(args: Merge, reporter: &Reporter) -> Result<Exit> {
    let reports = all_reports(&args)?;
    let outputs = outputs(&args)?;
    refuse_mix_up(&args, &outputs, &reports)?;
    let mut merged = merge_all(&reports, reporter)?;
    let last = args.against.as_deref().map(read_last).transpose()?;
    if let Some((_, last)) = &last {
        merged.remember(last);
    }
    let overview = Overview::new(&merged, last.as_ref().map(|(name, last)| (name.clone(), last)));
    let code = code(&overview, args.on_leak);
    match print(&outputs.write(&overview, args.on_leak)?)? {
        Exit::Code(0) => {
            if code != 0 && !outputs.is_empty() {
                reporter.error(&merge::sentences(&overview).join(" "));
            }
            Ok(Exit::Code(code))
        }
        other => Ok(other),
    }
}

/// The worst that is true. What could not be read can be neither clean nor leaking.
fn code(overview: &Overview<'_>, on_leak: OnLeak) -> u8 {
    if overview.totals.unverified_sessions > 0 {
        exit_code::NOT_PROVEN
    } else if on_leak == OnLeak::Fail && overview.leaks_fail() {
        exit_code::LEAKED
    } else if overview.is_incomplete() {
        exit_code::NOT_CLEAN
    } else {
        0
    }
}

/// Names every report that is left out.
fn merge_all(reports: &[PathBuf], reporter: &Reporter) -> Result<Merged> {
    let (mut merged, mut buffer) = (Merged::default(), Vec::new());
    let mut repeated = 0;
    for path in reports {
        match merge::read(path, &mut merged, &mut buffer) {
            Ok(again) => repeated += again,
            Err(reason) => {
                reporter.error(&format!("{} is left out: {reason}", path.display()));
                merged.leave_out(path.to_string_lossy().into_owned(), reason.to_string());
            }
        }
    }
    if merged.is_empty() {
        match reports.len() {
            0 => bail!("there is nothing to merge: no report is named"),
            1 => bail!("no report could be read"),
            count => bail!("none of the {count} reports could be read"),
        }
    }
    if repeated > 0 {
        let sessions = counted(repeated as u64, "session");
        reporter.say(&format!("{sessions} came more than once, and counted only once"));
    }
    Ok(merged)
}

/// The report to compare with. Without it, everything would look new.
fn read_last(path: &Path) -> Result<(String, Merged)> {
    let mut last = Merged::default();
    if let Err(reason) = merge::read(path, &mut last, &mut Vec::new()) {
        bail!("cannot compare with {}: {reason}; the first time, leave out --against", path.display());
    }
    Ok((path.to_string_lossy().into_owned(), last))
}

fn all_reports(args: &Merge) -> Result<Vec<PathBuf>> {
    let mut reports = args.reports.clone();
    if let Some(list) = &args.files_from {
        let mut names = Vec::new();
        let read = match list.to_str() {
            Some("-") => std::io::stdin().read_to_end(&mut names).map(drop),
            _ => std::fs::read(list).map(|text| names = text),
        };
        read.with_context(|| format!("cannot read the list of reports {}", list.display()))?;
        let names = names.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
        reports.extend(names.map(|name| PathBuf::from(OsStr::from_bytes(name))));
    }
    Ok(reports)
}

fn outputs(args: &Merge) -> Result<Outputs> {
    let outputs = [
        (Format::Html, &args.html),
        (Format::Json, &args.json),
        (Format::Junit, &args.junit),
        (Format::Markdown, &args.markdown),
    ];
    Outputs::new(outputs.into_iter().filter_map(|(format, path)| Some((format, path.clone()?))).collect())
}

/// A pattern such as *.json also names what the last merge wrote. Then everything of that night would count again.
fn refuse_mix_up(args: &Merge, outputs: &Outputs, reports: &[PathBuf]) -> Result<()> {
    let id = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let inputs: HashSet<_> = reports.iter().filter_map(|path| id(path)).collect();
    let is_input = |path: &Path| id(path).is_some_and(|id| inputs.contains(&id));
    if let Some(last) = args.against.iter().find(|path| is_input(path)) {
        bail!("{} cannot be merged and compared with at once; leave it out of the reports", last.display());
    }
    if let Some(output) = outputs.files().find(|path| is_input(path)) {
        bail!("{} is a report to merge and also an output; write to another file", output.display());
    }
    Ok(())
}
