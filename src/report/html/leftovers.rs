//! What is left that is not a process.

use maud::{Markup, html};

use crate::leftovers::Fate;
use crate::report::json::ReportDocument;
use crate::report::leftover_text::{origin, what};
use crate::text::{Bytes, shorten};

/// Further ones are counted, not shown.
const SHOWN: usize = 200;

pub(super) fn section(report: &ReportDocument) -> Markup {
    let (shown, hidden) = report.leftovers.split_at(report.leftovers.len().min(SHOWN));
    html! {
        @if !report.leftovers.is_empty() || !report.leftovers_unverified.is_empty() {
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
