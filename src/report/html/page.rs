//! The page as a whole.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{containers, leaks, leftovers, overview, services, timeline};
use crate::report::json::ReportDocument;
use crate::text::shorten;

const STYLE: &str = include_str!("page.css");

/// A whole page: the frame that all pages share around `content`. `style` is added to the common one.
pub(crate) fn frame(title: &str, style: &str, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (shorten(title, 100)) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body { main { (content) } }
        }
    };
    without_control_characters(&page.into_string()) + "\n"
}

pub(crate) fn page(report: &ReportDocument) -> String {
    let command = report.session.command.join(" ");
    let content = html! {
        (overview::header(report, &command))
        (overview::facts(report))
        (overview::why(report))
        (overview::problems(report))
        (leaks::by_test(&report.tests))
        (leaks::section("Leaked processes", &report.new_leaks().collect::<Vec<_>>(), report.undescribed_process_count))
        (containers::section(&report.leftovers))
        (leftovers::section(report))
        (timeline::section(report))
        (leaks::section("Known leaks", &report.known_leaks().collect::<Vec<_>>(), 0))
        (leaks::section("Allowed leaks", &report.allowed_leaks.iter().collect::<Vec<_>>(), 0))
        (services::section(&report.services))
        (services::usage(report.usage.as_ref()))
        footer.dim {
            "Session " (report.session.id) ", reported by the " (report.session.written_by)
            " of cgrun " (report.cgrun_version)
        }
    };
    frame(&format!("cgrun: {command}"), "", &content)
}

/// HTML has no way to write a control character. Line breaks are only white space.
fn without_control_characters(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    for c in page.chars() {
        if c.is_control() && c != '\n' { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "<script>&\"\u{1b}[2J\u{0}";
        let page = without_control_characters(&html! { p title=(hostile) { (hostile) } }.into_string());
        let escaped = "&lt;script&gt;&amp;&quot;\\u{1b}[2J\\u{0}";
        assert_eq!(page, format!("<p title=\"{escaped}\">{escaped}</p>"));
    }
}
