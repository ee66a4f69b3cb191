//! What is left that is not a process.

use maud::{Markup, html};

use crate::leftovers::{Fate, Leftover};
use crate::report::json::ReportDocument;
use crate::report::leftover_text::{origin, what};
use crate::text::{Bytes, shorten};

/// Further ones are counted, not shown.
const SHOWN: usize = 200;

pub(super) fn section(report: &ReportDocument) -> Markup {
    // What was removed from container engines has a section of its own.
    let is_here = |it: &&Leftover| !it.kind.is_of_engine() || it.fate != Fate::Removed;
    let all: Vec<_> = report.leftovers.iter().filter(is_here).collect();
    let (shown, hidden) = all.split_at(all.len().min(SHOWN));
    html! {
        @if !all.is_empty() || !report.leftovers_unverified.is_empty() {
            section {
                h2 { "Leftovers" }
                table {
                    @for it in shown {
                        tr {
                            td { code { (shorten(&what(it), 160)) } }
                            td { @if let Some(size) = it.size_bytes { (Bytes(size)) } }
                            td {
                                span.tag { (fate(it.fate)) }
                                @if let Some(origin) = origin(it) { (origin) }
                                @if let Some(command) = &it.remove_with { br; code { (command) } }
                            }
                        }
                    }
                }
                @if !hidden.is_empty() { p.dim { "and " (hidden.len()) " more" } }
                @for text in &report.leftovers_unverified { p { span.tag { "not verified" } (text) } }
            }
        }
    }
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Removed => "removed",
        Fate::LeftAlone => "left alone",
        Fate::GoneWithSession => "gone with the session",
    }
}
