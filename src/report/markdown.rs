//! Text as Markdown.

use crate::text::shorten;

/// The longest text of a cell, and of an item of a list (characters). If it is escaped, a character takes at most five
/// bytes.
const LONGEST_CELL: usize = 200;
const LONGEST_ITEM: usize = 1000;

pub(crate) fn cell(text: &str) -> String {
    escaped(&shorten(text, LONGEST_CELL))
}

pub(crate) fn item(text: &str) -> String {
    escaped(&shorten(text, LONGEST_ITEM))
}

/// Escapes text, so that it contains no Markdown, no HTML and no line end.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\r' | '\n' => escaped.push(' '),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_ascii_punctuation() => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_contains_only_text() {
        assert_eq!(cell("a|b\n<img> `x` [y](z)"), r"a\|b &lt;img&gt; \`x\` \[y\]\(z\)");
    }

    #[test]
    fn a_cell_is_short_whatever_it_contains() {
        assert!(cell(&"&".repeat(1_000_000)).len() < 5 * LONGEST_CELL + 5);
    }
}
