//! The overview as plain text.

use super::compare::Missing;
use super::overview::{Leak, News, Overview};
use super::{tables, verdict};
use crate::text::{readable, shorten};

/// So many entries of each list are shown. The other formats have more.
const LISTED: usize = 30;
const WIDTH: usize = 100;
/// In characters.
const LONGEST_LINE: usize = 1000;

pub(crate) fn text(overview: &Overview<'_>) -> String {
    let mut lines = verdict::sentences(overview);
    if let Some(against) = &overview.against {
        section(&mut lines, "New", leaks(overview, News::New));
        section(&mut lines, "Still there", leaks(overview, News::StillThere));
        section(&mut lines, "Gone", missing(&against.gone));
        section(&mut lines, tables::NOT_SEEN, missing(&against.not_seen));
    } else {
        section(&mut lines, "Leaks", leaks(overview, News::NotCompared));
    }
    let troubles = verdict::troubles(overview);
    section(&mut lines, "Problems", troubles.iter().map(|(tag, text)| format!("{tag}: {text}")).collect());
    section(&mut lines, "By host", aligned(tables::hosts(overview)));
    section(&mut lines, "Sessions", aligned(tables::sessions(&tables::notable(overview))));
    lines.iter().map(|line| readable(line) + "\n").collect()
}

/// The sentences of the verdict in one line.
pub(crate) fn line(overview: &Overview<'_>) -> String {
    shorten(&readable(&verdict::sentences(overview).join(" ")), LONGEST_LINE) + "\n"
}

fn missing(leaks: &[Missing]) -> Vec<String> {
    let line = |it: &Missing| {
        format!("{}: {}, since {}", it.key.owner, shorten(&it.key.program, WIDTH), it.first_seen.date())
    };
    leaks.iter().map(line).collect()
}

fn section(lines: &mut Vec<String>, title: &str, entries: Vec<String>) {
    if entries.is_empty() {
        return;
    }
    lines.extend([String::new(), format!("{title}:")]);
    let more = entries.len().saturating_sub(LISTED);
    lines.extend(entries.into_iter().take(LISTED).map(|entry| format!("  {entry}")));
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
}

/// A line for a test that left one program, otherwise one for the test and one for each program.
fn leaks(overview: &Overview<'_>, news: News) -> Vec<String> {
    let mut lines = Vec::new();
    for (owner, leaks) in overview.by_owner(news) {
        match &leaks[..] {
            [leak] => lines.push(format!("{owner}: {}", entry(overview, leak))),
            leaks => {
                lines.push(format!("{owner}:"));
                lines.extend(leaks.iter().map(|leak| format!("  {}", entry(overview, leak))));
            }
        }
    }
    lines
}

/// `3 x python3 mail.py, in 2 of 12 sessions, since 2026-11-01`
fn entry(overview: &Overview<'_>, leak: &Leak<'_>) -> String {
    let program = tables::program(leak, WIDTH);
    format!("{program}, {}{}", tables::seen_in(overview, leak), tables::remarks(leak))
}

fn aligned<const N: usize>(rows: Vec<[String; N]>) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}
