//! Parse errors in the words of TOML, with advice.

/// The end of a message about an unknown key of a profile.
const OF_A_PROFILE: &str = ", expected one of `session`, `limits`, `private`";

/// serde names Rust's types, but the user wrote TOML. `value` is the text that the error is about.
pub(crate) fn in_toml_terms(message: &str, value: &str) -> String {
    let words = [
        ("unknown field ", "unknown key "),
        ("missing field ", "missing key "),
        ("unknown variant ", "unknown value "),
        (", expected a sequence", ", expected a list"),
        (", expected a map", ", expected a table"),
        (", expected a boolean", ", expected true or false"),
        ("invalid type: sequence, ", "invalid type: list, "),
        ("invalid type: map, ", "invalid type: table, "),
    ];
    let text = words.into_iter().fold(message.to_string(), |text, (rust, toml)| text.replacen(rust, toml, 1));
    let is_short = value.len() <= 40 && !value.contains('\n');
    if text.ends_with(", expected a list") && is_short {
        return format!("{text}, such as [{value}]");
    }
    if text.ends_with(OF_A_PROFILE) {
        return format!(
            "{text}; its keys go into [profiles.NAME.session], [profiles.NAME.limits] and [profiles.NAME.private]"
        );
    }
    match meant(&text) {
        Some(meant) => format!("{text}; did you mean `{meant}`?"),
        None => text,
    }
}

/// The expected word that resembles the unknown one. The message has all of them in backticks, the unknown one first.
fn meant(text: &str) -> Option<&str> {
    if !text.starts_with("unknown ") {
        return None;
    }
    let mut words = text.split('`').skip(1).step_by(2);
    let unknown = words.next()?;
    let near = words.map(|word| (strsim::osa_distance(unknown, word), word)).min()?;
    let (distance, word) = near;
    // Short words resemble too many others.
    (distance * 3 <= word.len()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_is_recognized() {
        let message = |key: &str| {
            in_toml_terms(&format!("unknown field `{key}`, expected one of `ports`, `on_leak`, `grace`"), key)
        };
        assert!(message("porrts").ends_with("`grace`; did you mean `ports`?"));
        assert!(message("onleak").ends_with("; did you mean `on_leak`?"));
        assert!(message("retries").ends_with("`grace`"));
    }

    #[test]
    fn a_list_is_shown_with_the_value_that_was_written() {
        let message = "invalid type: integer `3000`, expected a sequence";
        assert_eq!(
            in_toml_terms(message, "3000"),
            "invalid type: integer `3000`, expected a list, such as [3000]"
        );
    }
}
