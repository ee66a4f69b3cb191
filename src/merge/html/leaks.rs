//! The leaks by test. Each opens on a click, and lists the sessions that it was seen in.

use maud::{Markup, html};

use crate::leaks::Owner;
use crate::merge::compare::{Against, Missing};
use crate::merge::overview::{Leak, News, Overview};
use crate::merge::tables;
use crate::text::shorten;

/// So many tests are shown at once, and so many more on a click. Further ones, and further sessions of a leak, are counted.
const FIRST: usize = 12;
const TESTS: usize = 300;
const SESSIONS: usize = 12;
const HOSTS: usize = 20;
const PROGRAM: usize = 160;
/// Does not end a line within a date.
const HYPHEN: &str = "\u{2011}";

pub(super) fn section(title: &str, overview: &Overview<'_>, news: News) -> Markup {
    let groups = overview.by_owner(news);
    let leaks: usize = groups.iter().map(|(_, leaks)| leaks.len()).sum();
    let (first, others) = groups.split_at(groups.len().min(FIRST));
    let others = &others[..others.len().min(TESTS)];
    let hidden = groups.len() - first.len() - others.len();
    let class = if news == News::StillThere { "leaks old" } else { "leaks" };
    html! {
        @if !groups.is_empty() {
            section class=(class) {
                h2 { (title) span.count { (leaks) } }
                @for (owner, leaks) in first { (group(overview, owner, leaks)) }
                @if !others.is_empty() {
                    details.others {
                        summary { "Show " (others.len()) " more" }
                        @for (owner, leaks) in others { (group(overview, owner, leaks)) }
                        (and_more(hidden))
                    }
                }
            }
        }
    }
}

fn group(overview: &Overview<'_>, owner: &Owner, leaks: &[&Leak<'_>]) -> Markup {
    html! {
        div.owner {
            (name(owner))
            @for leak in leaks { (entry(overview, leak)) }
        }
    }
}

fn name(owner: &Owner) -> Markup {
    html! {
        @match owner {
            Owner::Test(_) => p.test { (owner) },
            _ => p.test.other { (owner) },
        }
    }
}

fn entry(overview: &Overview<'_>, leak: &Leak<'_>) -> Markup {
    let share = leak.sessions.len() as f64 / overview.totals.sessions.max(1) as f64 * 100.0;
    let (shown, hidden) = leak.sessions.split_at(leak.sessions.len().min(SESSIONS));
    html! {
        details {
            summary {
                code { (tables::program(leak, PROGRAM)) }
                span.where {
                    span.share title=(format!("{share:.0} % of the sessions")) { i style=(format!("width:{share:.1}%")) {} }
                    span {
                        (tables::seen_in(overview, leak))
                        (tables::remarks(leak).replace('-', HYPHEN))
                    }
                }
            }
            @if leak.sessions.len() > 1 && overview.totals.hosts > 1 {
                p.dim { "Sessions by host: " (tables::hosts_of(leak, HOSTS)) }
            }
            table {
                @for it in shown {
                    tr {
                        td { (it.session.host()) }
                        td {
                            (leak.key.counted(it.count))
                            span.dim { " in session " (it.session.id) ", started " (it.session.started_at_unix_seconds.minute()) }
                            br;
                            code.dim { (shorten(&it.session.report, PROGRAM)) }
                        }
                    }
                }
            }
            (and_more(hidden.len()))
        }
    }
}

pub(super) fn gone(against: &Against, is_incomplete: bool) -> Markup {
    let since = format!("Seen on {}, and not in these sessions", against.last_session.date());
    let unknown = if is_incomplete { "Not all leaks of these sessions are known." } else { "" };
    html! {
        (missing("Gone", "owner gone", &format!("{since}, although their tests ran."), &against.gone))
        (missing("Not seen", "owner", &format!("{since}. Their tests need not have run. {unknown}"), &against.not_seen))
    }
}

fn missing(title: &str, class: &str, note: &str, leaks: &[Missing]) -> Markup {
    html! {
        @if !leaks.is_empty() {
            section.leaks.old {
                h2 { (title) span.count { (leaks.len()) } }
                p.dim { (note.trim_end()) }
                @for it in leaks.iter().take(TESTS) {
                    div class=(class) {
                        (name(&it.key.owner))
                        p.was { code { (shorten(&it.key.program, PROGRAM)) } span.where { "since " (it.first_seen.date().replace('-', HYPHEN)) } }
                    }
                }
                (and_more(leaks.len().saturating_sub(TESTS)))
            }
        }
    }
}

pub(super) fn and_more(count: usize) -> Markup {
    html! { @if count > 0 { p.dim { "and " (count) " more" } } }
}
