//! Config errors, which show the faulty line with a caret below the fault.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::trust::Distrust;
use crate::text::plain;

/// How many characters of the line are shown.
const SHOWN: usize = 120;
/// How many characters of the message are shown. It may quote the file, so it can be long.
const LONGEST: usize = 500;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the config {}: {}; name a readable file with -c FILE", path.display(), plain(source))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the config {} is not UTF-8 text (byte {at}); save it as UTF-8", path.display())]
    NotText { path: PathBuf, at: usize },
    #[error("{} has no table [tool.cgrun]; add one, or name another file with -c", path.display())]
    NoTable { path: PathBuf },
    #[error("the config {0} is not trusted: {reason}; to use it, pass -c {0}, and to run without a config, pass --no-config", path.display())]
    Distrusted { path: PathBuf, reason: Distrust },
    #[error("the config {} has no profile {name:?}; {}", path.display(), existing(profiles))]
    NoProfile { path: PathBuf, name: String, profiles: Vec<String> },
    #[error("{0}")]
    Wrong(String),
}

impl ConfigError {
    /// An error with `message` about `span` (byte offsets) of `text`.
    pub(crate) fn at(path: &Path, text: &str, span: Range<usize>, message: String) -> Self {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let number = text[..line_start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count();
        // The fault may lie in the line ending, which `lines` strips.
        let end = floor_char_boundary(text, span.end).min(line_start + line.len()).max(start);
        let hidden = column.saturating_sub(SHOWN / 2);
        let shown: String = line.chars().skip(hidden).take(SHOWN).collect();
        let indent = column - hidden;
        let carets = "^".repeat(text[start..end].chars().count().clamp(1, SHOWN - indent));
        let margin = " ".repeat(number.to_string().len());
        let message: String = message.chars().take(LONGEST).collect();
        Self::Wrong(format!(
            "{path}:{number}:{at}: {message}\n{margin} |\n{number} | {line}\n{margin} | {indent}{carets}",
            path = path.display(),
            at = column + 1,
            line = shown.replace('\t', " "),
            indent = " ".repeat(indent),
        ))
    }
}

fn existing(profiles: &[String]) -> String {
    match profiles {
        [] => "it has none; add a table [profiles.NAME.session]".into(),
        [only] => format!("its only profile is {only}"),
        several => format!("its profiles are {}", several.join(", ")),
    }
}

fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_caret_points_at_the_fault() {
        let text = "[session]\nporrts = [1]\n";
        let error = ConfigError::at(Path::new("cgrun.toml"), text, 10..16, "unknown key".into());
        assert_eq!(error.to_string(), "cgrun.toml:2:1: unknown key\n  |\n2 | porrts = [1]\n  | ^^^^^^");
    }

    #[test]
    fn any_span_is_shown_without_a_panic() {
        let spans =
            [("", 0..0), ("é", 1..9), ("a\n", 2..2), ("a\nb", 0..3), ("a\r\n", 2..2), ("a\r\n", 2..3)];
        for (text, span) in spans {
            let _ = ConfigError::at(Path::new("x"), text, span, String::new()).to_string();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_shown_without_a_panic(text in "[a\"'=\\\\é\r\n ]{0,12}", start in 0..20usize, length in 0..20usize) {
            let _ = ConfigError::at(Path::new("x"), &text, start..start + length, String::new()).to_string();
        }
    }
}
