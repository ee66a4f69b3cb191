//! Hides the name of a home directory, so that the text can be posted in public.

use std::path::Path;

/// Replaces our home, and every other directory in `/home`, with `~`.
pub(super) fn shorten_homes(text: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    // `/root` is every root's home, and `/` is part of every path.
    let is_telling = Path::new(&home).components().count() > 2;
    let text = if is_telling { replace_directory(text, &home) } else { text.to_string() };
    without_names(&text)
}

/// Replaces `directory` where it is a whole path, or the start of one.
fn replace_directory(text: &str, directory: &str) -> String {
    let mut parts = text.split(directory);
    let mut replaced = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let goes_on = part.starts_with(|it: char| it.is_alphanumeric() || "-_.".contains(it));
        replaced += if goes_on { directory } else { "~" };
        replaced += part;
    }
    replaced
}

/// Replaces each `/home/NAME` with `~`.
fn without_names(text: &str) -> String {
    let mut parts = text.split("/home/");
    let mut replaced = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let rest = part.find(|it: char| it == '/' || it.is_whitespace()).map_or("", |end| &part[end..]);
        replaced += "~";
        replaced += rest;
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_home_keeps_its_name() {
        assert_eq!(without_names("a /home/ann/x b /home/bob\nc"), "a ~/x b ~\nc");
        assert_eq!(replace_directory("in /data/ann/x and /data/anna", "/data/ann"), "in ~/x and /data/anna");
    }
}
