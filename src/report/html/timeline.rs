//! The timeline of the session, as bars on one time axis.

use maud::{Markup, html};

use super::test_lanes;
use crate::report::json::ReportDocument;
use crate::text::elapsed;

struct Bar<'a> {
    class: &'static str,
    what: &'a str,
    from: Option<f64>,
    to: Option<f64>,
}

pub(super) fn section(report: &ReportDocument) -> Markup {
    let total = report.session.duration_seconds.max(0.001);
    html! {
        section {
            h2 { "Timeline" }
            @for service in &report.services {
                @let life = &service.component;
                @let until = life.stop_requested_at_seconds.or(life.gone_at_seconds).or(Some(total));
                @let gone = life.gone_at_seconds.or(Some(total));
                (row(&service.name, total, &[
                    Bar { class: "start", what: "starting", from: life.started_at_seconds, to: life.ready_at_seconds.or(until) },
                    Bar { class: "serve", what: "ready", from: life.ready_at_seconds, to: until },
                    Bar { class: "stop", what: "stopping", from: life.stop_requested_at_seconds, to: gone },
                ]))
            }
            (command_row(report, total))
            (test_lanes::lanes(report, total))
            @for phase in report.teardown.phases.iter().filter(|it| it.ended_at_seconds > it.started_at_seconds) {
                @let (from, to) = (Some(phase.started_at_seconds), Some(phase.ended_at_seconds));
                (row(&format!("teardown: {}", phase.name), total, &[Bar { class: "stop", what: phase.name, from, to }]))
            }
            div.axis { span { "0" } span { (elapsed(total / 2.0)) } span { (elapsed(total)) } }
            div.legend {
                @for (class, name) in [("start", "starting"), ("serve", "ready"), ("run", "command"), ("stop", "teardown")] {
                    span { i class=(class) {} (name) }
                }
                @if !report.leaks.is_empty() { span { i.leak {} "start of a leaked process" } }
            }
        }
    }
}

fn command_row(report: &ReportDocument, total: f64) -> Markup {
    let life = &report.command;
    let exited = life.exited_at_seconds.or(life.gone_at_seconds);
    let gone = life.gone_at_seconds.filter(|gone| Some(*gone) > exited);
    row(
        "command",
        total,
        &[
            Bar { class: "run", what: "running", from: life.started_at_seconds, to: exited.or(Some(total)) },
            Bar { class: "stop", what: "stopping the processes that it left behind", from: exited, to: gone },
        ],
    )
}

fn row(name: &str, total: f64, bars: &[Bar<'_>]) -> Markup {
    html! {
        div.row {
            span title=(name) { (name) }
            div.track {
                @for bar in bars {
                    @if let (Some(from), Some(to)) = (bar.from, bar.to) {
                        @let (left, width) = (from / total * 100.0, ((to - from) / total * 100.0).max(0.0));
                        div class={ "bar " (bar.class) }
                            style=(format!("left:{left:.2}%;width:{width:.2}%"))
                            title={ (bar.what) ": " (elapsed(from)) " to " (elapsed(to)) } {}
                    }
                }
            }
        }
    }
}
