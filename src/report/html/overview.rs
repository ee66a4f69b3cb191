//! The overview that people read first: the result, the key facts and the problems.

use maud::{Markup, html};

use crate::report::json::ReportDocument;
use crate::report::limits_hit;
use crate::text::{Bytes, elapsed, shorten};

pub(super) fn header(report: &ReportDocument, command: &str) -> Markup {
    let leaked = report.leaked_process_count + report.leaked_container_count;
    let result = match (report.outcome.verified_empty, leaked) {
        (true, 0) if report.outcome.clean => "clean".to_string(),
        (true, 0) => "ended by force".into(),
        (true, _) if !report.has_new_leaks() => "only known leaks".into(),
        (true, _) if report.known_count() > 0 => {
            format!("{} leaked, {} are known", report.leaked_text(), report.known_count())
        }
        (true, _) => format!("{} leaked", report.leaked_text()),
        (false, _) => "not clean".into(),
    };
    html! {
        header {
            h1.mono { (shorten(command, 300)) }
            @if report.outcome.clean { span.pill { (result) } } @else { span.pill.bad { (result) } }
        }
        p.dim { (sentence(&report.outcome.reason)) }
    }
}

/// Adds an initial capital letter and a final period.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    first + chars.as_str() + end
}

pub(super) fn facts(report: &ReportDocument) -> Markup {
    let outcome = &report.outcome;
    let exit = match (outcome.exit_code, &outcome.signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => signal.clone(),
        (None, None) => "killed".into(),
    };
    let mut facts = vec![
        ("Exit", exit),
        ("Duration", elapsed(report.session.duration_seconds)),
        ("CPU time", elapsed(report.resources.cpu_seconds)),
        ("Largest process", Bytes(report.resources.largest_process_memory_bytes).to_string()),
        ("Layer", format!("{} {}", outcome.layer, outcome.layer_title)),
        ("Containment", report.containment.kind.to_string()),
    ];
    if !report.ports.watched.is_empty() {
        let ports: Vec<_> = report.ports.watched.iter().map(ToString::to_string).collect();
        facts.push(("Watched ports", ports.join(", ")));
    }
    html! {
        section {
            dl.facts {
                @for (name, value) in &facts { div { dt { (name) } dd { (value) } } }
            }
            p.dim { "Guarantee of this containment: " (report.containment.guarantee) "." }
        }
    }
}

/// What a session waited for that was ended because it hung.
pub(super) fn why(report: &ReportDocument) -> Markup {
    html! {
        @if !report.why.is_empty() {
            section {
                h2 { "What it waited for" }
                pre { (report.why.join("\n")) }
            }
        }
    }
}

pub(super) fn problems(report: &ReportDocument) -> Markup {
    let limits = limits_hit::all(report.usage.as_ref());
    let problems: Vec<(&str, &String)> = [
        ("survived", &report.survivors),
        ("not verified", &report.unverified),
        ("limit hit", &limits),
        ("left alone", &report.ports.held_by_others),
    ]
    .into_iter()
    .flat_map(|(tag, texts)| texts.iter().map(move |text| (tag, text)))
    .collect();
    html! {
        @if !problems.is_empty() {
            section {
                h2 { "Problems" }
                @for (tag, text) in &problems { p { span.tag { (tag) } (text) } }
            }
        }
    }
}
