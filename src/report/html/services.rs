//! The sections for the services and for the session's usage.

use maud::{Markup, html};

use crate::limits::Usage;
use crate::report::json::ServiceSummary;
use crate::report::usage;
use crate::text::{elapsed, shorten};

pub(super) fn section(services: &[ServiceSummary]) -> Markup {
    html! {
        @if !services.is_empty() {
            section {
                h2 { "Services" }
                table { @for service in services { (row(service)) } }
            }
        }
    }
}

fn row(service: &ServiceSummary) -> Markup {
    let (started, ready) = (service.component.started_at_seconds, service.component.ready_at_seconds);
    let state = match (&service.problem, started, ready) {
        (Some(problem), ..) => problem.clone(),
        (None, Some(started), Some(ready)) => format!("ready after {}", elapsed(ready - started)),
        (None, Some(_), None) => "not ready".into(),
        (None, None, _) => "not started".into(),
    };
    html! {
        tr {
            td { (service.name) }
            td {
                (state)
                @if let Some(port) = service.port { ", port " (port) }
                br;
                code { (shorten(&service.command.join(" "), 300)) }
                @if let Some(log) = &service.log_file { br; code.dim { (log) } }
            }
        }
    }
}

pub(super) fn usage(usage: Option<&Usage>) -> Markup {
    html! {
        @if let Some(usage) = usage {
            section {
                h2 { "Resource usage" }
                div.scroll {
                    table.figures {
                        tr { @for name in usage::COLUMNS { th { (name) } } }
                        @for figures in usage.components.iter().chain([&usage.session]) {
                            tr { @for cell in usage::row(figures) { td { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}
