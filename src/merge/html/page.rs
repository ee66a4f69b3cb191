//! The page as a whole: the verdict, then the details.

use maud::{Markup, html};

use super::{leaks, side_by_side};
use crate::merge::overview::{News, Overview};
use crate::merge::seconds::Seconds;
use crate::merge::verdict::{self, Mood};
use crate::report::frame;
use crate::text::{Bytes, elapsed, shorten};

const STYLE: &str = include_str!("page.css");
/// More problems than this would hide the leaks.
const PROBLEMS: usize = 50;

pub(crate) fn page(overview: &Overview<'_>) -> String {
    let title = title(overview);
    let content = html! {
        (header(overview, &title))
        (facts(overview))
        @match &overview.against {
            Some(against) => {
                @let since = against.last_session.date();
                (leaks::section(&format!("New since {since}"), overview, News::New))
                (problems(overview))
                (leaks::section("Still there", overview, News::StillThere))
                (leaks::gone(against, !overview.merged.knows_all_leaks()))
            }
            None => {
                (problems(overview))
                (leaks::section("Leaks by test", overview, News::NotCompared))
            }
        }
        (side_by_side::hosts(overview))
        (side_by_side::sessions(overview))
        footer.dim {
            "Merged by cgrun " (env!("CARGO_PKG_VERSION")) ". Times are in UTC."
            @if let Some(against) = &overview.against { " Compared with " code { (against.report) } "." }
        }
    };
    frame(&format!("cgrun: {title}"), STYLE, &content)
}

/// `Sessions of 2026-11-28`, `Sessions from 2026-11-27 to 2026-11-28`
fn title(overview: &Overview<'_>) -> String {
    let mut starts = overview.merged.sessions().map(|it| it.started_at_unix_seconds);
    let first = starts.next().unwrap_or_default();
    let last = starts.next_back().unwrap_or(first);
    if first.date() == last.date() {
        format!("Sessions of {}", first.date())
    } else {
        format!("Sessions from {} to {}", first.date(), last.date())
    }
}

fn header(overview: &Overview<'_>, title: &str) -> Markup {
    let (label, mood) = verdict::label(overview);
    let class = match mood {
        Mood::Good => "pill",
        Mood::Failed => "pill failed",
        Mood::Bad => "pill bad",
    };
    let sentences = verdict::sentences(overview);
    html! {
        header {
            h1 { (title) }
            span class=(class) { (label) }
        }
        @for (at, sentence) in sentences.iter().enumerate() {
            @if at == 0 { p.verdict { (sentence) } } @else { p { (sentence) } }
        }
    }
}

fn facts(overview: &Overview<'_>) -> Markup {
    let totals = &overview.totals;
    let most = |peak: Option<u64>, text: fn(u64) -> String| peak.map_or("-".into(), text);
    let memory = overview.hosts.iter().map(|host| host.memory_peak_bytes).max().flatten();
    let processes = overview.hosts.iter().map(|host| host.processes_peak).max().flatten();
    let longest = overview.hosts.iter().map(|host| host.longest_seconds).max().unwrap_or_default();
    let facts = [
        ("Sessions", totals.sessions.to_string()),
        ("Hosts", totals.hosts.to_string()),
        ("Failed", totals.failed_sessions.to_string()),
        ("Processes leaked", totals.leaked_processes.to_string()),
        ("Containers leaked", totals.leaked_containers.to_string()),
        ("Took, in total", time(totals.duration_seconds)),
        ("Longest session", time(longest)),
        ("Most memory", most(memory, |bytes| Bytes(bytes).to_string())),
        ("Most processes", most(processes, |count| count.to_string())),
    ];
    html! {
        section { dl.facts { @for (name, value) in &facts { div { dt { (name) } dd { (value) } } } } }
    }
}

fn time(seconds: Seconds) -> String {
    elapsed(seconds.get())
}

fn problems(overview: &Overview<'_>) -> Markup {
    let problems = verdict::troubles(overview);
    let more = problems.len().saturating_sub(PROBLEMS);
    html! {
        @if !problems.is_empty() {
            section {
                h2 { "Problems" }
                @for (tag, text) in problems.iter().take(PROBLEMS) {
                    p { span.tag.wrong { (tag) } (shorten(text, 600)) }
                }
                @if more > 0 { p.dim { "and " (more) " more" } }
            }
        }
    }
}
