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

/// Escapes text, so that it contains no Markdown, no HTML and no line end. What has no meaning where it stands stays as it
/// is, because people also read the source.
fn escaped(text: &str) -> String {
    let chars: Vec<char> = text.trim_start().chars().collect();
    let is_word = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
    // A heading, a list, a line below a heading.
    let numbered = chars.iter().take_while(|c| c.is_ascii_digit()).count();
    let mut escaped = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let has_meaning = match c {
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '$' | '@' => true,
            '_' => !is_word(at.checked_sub(1)) || !is_word(Some(at + 1)),
            // Addresses become links.
            ':' => chars[at + 1..].starts_with(&['/', '/']),
            '.' if chars[..at].ends_with(&['w', 'w', 'w']) => true,
            '#' | '+' | '-' | '=' => at == 0,
            '.' | ')' => numbered > 0 && at == numbered,
            _ => false,
        };
        match c {
            '\r' | '\n' => escaped.push(' '),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if has_meaning => escaped.extend(['\\', c]),
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
        assert_eq!(cell("a|b\n<img> `x` [y](z)"), r"a\|b &lt;img&gt; \`x\` \[y\](z)");
        assert_eq!(cell("*a* _b_ __c ~~d~~ $e$ &amp; \\"), r"\*a\* \_b\_ \_\_c \~\~d\~\~ \$e\$ &amp;amp; \\");
        assert_eq!(cell("http://x www.x"), r"http\://x www\.x");
    }

    #[test]
    fn only_what_has_a_meaning_is_escaped() {
        for text in
            ["1 test leaked 2 processes.", "cgrun-leaks.toml", "t.py::test_a_b: x -m y.z --port=1 (#2)"]
        {
            assert_eq!(cell(text), text);
        }
        for (text, escaped) in [("- a", r"\- a"), (" # a", r"\# a"), ("12. a", r"12\. a"), ("=", r"\=")] {
            assert_eq!(item(text), escaped);
        }
    }

    #[test]
    fn a_cell_is_short_whatever_it_contains() {
        assert!(cell(&"&".repeat(1_000_000)).len() < 5 * LONGEST_CELL + 5);
    }
}
