//! The leaks in the timeline: a lane for each test, with a mark where it started a process that it left behind.

use std::cmp::Reverse;

use maud::{Markup, html};

use crate::report::json::ReportDocument;
use crate::report::leak_text;
use crate::report::leaked_process::LeakedProcess;
use crate::text::shorten;

/// More marks than this would only blur.
const MARKS: usize = 200;
/// So many tests have lanes of their own. The others share one.
const LANES: usize = 12;

/// What one test started, and when.
struct Lane<'a> {
    test: Option<&'a str>,
    name: &'a str,
    starts: Vec<(f64, &'a LeakedProcess)>,
}

/// `total` is the length of the session.
pub(super) fn lanes(report: &ReportDocument, total: f64) -> Markup {
    let lanes = all(report);
    html! { @for lane in &lanes { (row(lane, total)) } }
}

/// The start of a process is computed from its age when it was seen, which says nothing if it was ended before. The lanes are in the order in which they begin.
fn all(report: &ReportDocument) -> Vec<Lane<'_>> {
    let life = &report.command;
    let Some(seen) = life.stop_requested_at_seconds.or(life.gone_at_seconds) else { return Vec::new() };
    let mut lanes: Vec<Lane<'_>> = Vec::new();
    for leak in report.leaks.iter().filter(|it| it.service.is_none() && it.ended_by.is_none()) {
        let origin = leak.started_during.as_ref();
        let test = origin.map(|origin| origin.test.as_deref().unwrap_or(&origin.text));
        // Start times are rounded down, and so may lie before that of the session.
        let start = ((seen - leak.age_seconds).max(0.0), leak);
        match lanes.iter_mut().find(|lane| lane.test == test) {
            Some(lane) => lane.starts.push(start),
            None => {
                lanes.push(Lane { test, name: test.map_or("unknown test", last_part), starts: vec![start] })
            }
        }
    }
    lanes.sort_by_key(|lane| (lane.test.is_none(), Reverse(lane.starts.len())));
    if lanes.len() > LANES + 1 {
        let others = lanes.split_off(LANES).into_iter().flat_map(|lane| lane.starts).collect();
        lanes.push(Lane { test: None, name: "other tests", starts: others });
    }
    lanes.sort_by(|one, other| {
        one.test.is_none().cmp(&other.test.is_none()).then(one.first().total_cmp(&other.first()))
    });
    if let [only] = &mut lanes[..] {
        only.name = only.test.map_or("leaks started", last_part);
    }
    lanes
}

impl Lane<'_> {
    fn first(&self) -> f64 {
        self.starts.iter().map(|(start, _)| *start).fold(f64::INFINITY, f64::min)
    }
}

/// The end of a test's name tells it from the others of its file.
fn last_part(test: &str) -> &str {
    let part = test.rsplit("::").next().unwrap_or(test);
    if part.is_empty() { test } else { part }
}

fn row(lane: &Lane<'_>, total: f64) -> Markup {
    html! {
        div.row {
            span title=[lane.test] { (lane.name) }
            div.track {
                @for (start, leak) in lane.starts.iter().take(MARKS) {
                    @let left = start / total * 100.0;
                    div.bar.leak style=(format!("left:{left:.2}%")) title=(shorten(&leak_text::line(leak), 160)) {}
                }
            }
        }
    }
}
