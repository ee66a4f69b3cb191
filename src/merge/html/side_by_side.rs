//! Hosts and sessions side by side, with bars on common scales.

use maud::{Markup, html};

use super::leaks::and_more;
use crate::merge::overview::Overview;
use crate::merge::tables;
use crate::text::{Bytes, elapsed, shorten};

/// Further rows are counted. Those that leaked or failed come first.
const SHOWN: usize = 100;

/// One figure of a row: its text, and what it is compared by. Both are `None` if it was not measured.
struct Figure {
    name: &'static str,
    text: Option<String>,
    value: Option<f64>,
}

struct Row {
    name: String,
    details: String,
    /// What is wrong with it, such as an exit code.
    tags: Vec<String>,
    figures: [Figure; 4],
}

pub(super) fn hosts(overview: &Overview<'_>) -> Markup {
    let rows = overview.hosts.iter().map(|host| Row {
        name: host.name().to_string(),
        details: crate::text::counted(host.sessions, "session"),
        tags: [(host.leaked(), "leaked"), (host.failed_sessions, "failed")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect(),
        figures: [
            time("took", Some(host.duration_seconds.get())),
            time("longest", Some(host.longest_seconds.get())),
            size("memory", host.memory_peak_bytes),
            count("processes", host.processes_peak),
        ],
    });
    section("By host", rows.collect())
}

pub(super) fn sessions(overview: &Overview<'_>) -> Markup {
    let rows = tables::notable(overview).into_iter().map(|it| Row {
        name: shorten(&it.command, 120),
        details: format!("{}, {}, {}", it.host(), it.id, shorten(&it.report, 120)),
        tags: [
            it.failed().then(|| format!("exit {}", it.exit())),
            (it.leaked() > 0).then(|| format!("{} leaked", it.leaked())),
            (!it.leaks_known).then(|| "leaks not known".into()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        figures: [
            time("took", Some(it.duration_seconds.get())),
            time("CPU", it.cpu_seconds.map(|cpu| cpu.get())),
            size("memory", it.memory_peak_bytes),
            count("processes", it.processes_peak),
        ],
    });
    section("Sessions side by side", rows.collect())
}

fn section(title: &str, rows: Vec<Row>) -> Markup {
    let largest = |column: usize| {
        let values = rows.iter().filter_map(|row| row.figures[column].value);
        values.fold(0.0, f64::max).max(f64::MIN_POSITIVE)
    };
    let scales = [0, 1, 2, 3].map(largest);
    html! {
        section {
            h2 { (title) span.count { (rows.len()) } }
            @if let Some(row) = rows.first() {
                div.side.head { span {} @for figure in &row.figures { span { (figure.name) } } }
            }
            @for row in rows.iter().take(SHOWN) { (line(row, &scales)) }
            (and_more(rows.len().saturating_sub(SHOWN)))
        }
    }
}

fn line(row: &Row, scales: &[f64; 4]) -> Markup {
    html! {
        div.side {
            div.who {
                b { (row.name) }
                @for tag in &row.tags { " " span.tag.wrong { (tag) } }
                br;
                span.dim { (row.details) }
            }
            @for (figure, scale) in row.figures.iter().zip(scales) {
                div {
                    span.key { (figure.name) " " }
                    (figure.text.as_deref().unwrap_or("-"))
                    div.track {
                        @if let Some(value) = figure.value {
                            div.bar.run style=(format!("left:0;width:{:.1}%", value / scale * 100.0)) {}
                        }
                    }
                }
            }
        }
    }
}

fn time(name: &'static str, seconds: Option<f64>) -> Figure {
    Figure { name, text: seconds.map(elapsed), value: seconds }
}

fn size(name: &'static str, bytes: Option<u64>) -> Figure {
    Figure { name, text: bytes.map(|it| Bytes(it).to_string()), value: bytes.map(|it| it as f64) }
}

fn count(name: &'static str, count: Option<u64>) -> Figure {
    Figure { name, text: count.map(|it| it.to_string()), value: count.map(|it| it as f64) }
}
