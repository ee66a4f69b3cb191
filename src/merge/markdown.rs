//! The overview as Markdown, for the summary of a job or for a chat.

use super::compare::Missing;
use super::overview::{Leak, News, Overview};
use super::{tables, verdict};
use crate::report::markdown;
use crate::text::readable;

/// Further rows of a table are counted. With 50, everything stays far below the 1 MiB that GitHub shows.
const ROWS: usize = 50;
const PROGRAM: usize = 160;

pub(crate) fn page(overview: &Overview<'_>) -> String {
    let (label, _) = verdict::label(overview);
    let mut text = format!("### cgrun: {label}\n\n");
    text.extend(verdict::sentences(overview).iter().map(|sentence| format!("{}\n", cell(sentence))));
    let troubles = verdict::troubles(overview);
    let trouble = |(tag, text): &(&str, String)| [format!("**{tag}**"), cell(text)];
    text += &table("Problems", ["problem", "what"], troubles.iter().map(trouble));
    match &overview.against {
        Some(against) => {
            text += &leaks("New", overview, News::New);
            text += &leaks("Still there", overview, News::StillThere);
            text += &missing("Gone", &against.gone);
            text += &missing(tables::NOT_SEEN, &against.not_seen);
        }
        None => text += &leaks("Leaks", overview, News::NotCompared),
    }
    let hosts = tables::hosts(overview).into_iter().skip(1).map(|row| row.map(|text| cell(&text)));
    text += &table("By host", tables::HOST_COLUMNS, hosts);
    let sessions = tables::sessions(&tables::notable(overview)).into_iter().skip(1);
    text += &table("Sessions", tables::SESSION_COLUMNS, sessions.map(|row| row.map(|text| cell(&text))));
    text
}

fn leaks(title: &str, overview: &Overview<'_>, news: News) -> String {
    let all = overview.by_owner(news);
    let all = all.into_iter().flat_map(|(_, leaks)| leaks);
    table(title, ["test", "program", "seen", "since"], all.map(|leak| row(overview, leak)))
}

fn missing(title: &str, leaks: &[Missing]) -> String {
    let row = |it: &Missing| [cell(&it.key.owner.to_string()), cell(&it.key.program), it.first_seen.date()];
    table(title, ["test", "program", "since"], leaks.iter().map(row))
}

fn row(overview: &Overview<'_>, leak: &Leak<'_>) -> [String; 4] {
    [
        cell(&leak.key.owner.to_string()),
        cell(&tables::program(leak, PROGRAM)),
        cell(&(tables::seen_in(overview, leak) + if leak.known { ", in the baseline" } else { "" })),
        leak.first_seen.date(),
    ]
}

/// Nothing if there are no rows.
fn table<const N: usize>(
    title: &str,
    columns: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("\n#### {title}\n\n{}", line(&columns.map(String::from)));
    text += &line(&columns.map(|_| "---".to_string()));
    text.extend(rows.by_ref().take(ROWS).map(|row| line(&row)));
    match rows.count() {
        0 => text,
        more => text + &format!("\nand {more} more\n"),
    }
}

/// The text can go to a terminal.
fn cell(text: &str) -> String {
    markdown::cell(&readable(text))
}
