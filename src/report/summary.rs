//! The verdict in one line, for what shows no more: Kubernetes' termination message.

use super::json::ReportDocument;
use super::limits_hit;
use crate::text::{readable, shorten};

/// In characters. Kubernetes shows 4096 bytes, and a character takes at most four.
const LONGEST: usize = 1000;

/// `clean now: the command ended; exit code 121; contained by a process tree; leaked 3 processes`
pub(super) fn line(report: &ReportDocument) -> String {
    let outcome = &report.outcome;
    let state = match outcome.verified_empty {
        true if outcome.clean => "clean",
        true => "clean now",
        false => "NOT clean",
    };
    let leaked = report.has_new_leaks().then(|| format!("leaked {}", report.leaked_text()));
    let survivors = report.survivors.iter().map(|it| format!("SURVIVED: {it}"));
    let unverified = report.unverified.iter().map(|it| format!("not verified: {it}"));
    let parts = survivors.chain(unverified).chain(leaked).chain(limits_hit::all(report.usage.as_ref()));
    let parts: String = parts.map(|it| format!("; {it}")).collect();
    let exit = match (outcome.exit_code, &outcome.signal) {
        (Some(code), _) => format!("; exit code {code}"),
        (None, Some(signal)) => format!("; killed by {signal}"),
        // The guardian does not know how the supervisor would have exited.
        (None, None) => String::new(),
    };
    let text =
        format!("{state}: {}{exit}; contained by a {}{parts}", outcome.reason, report.containment.kind);
    shorten(&readable(&text), LONGEST) + "\n"
}
