//! Escapes in JSON that stand for half of a surrogate pair: Python writes them for a file name that is not UTF-8. Engines read
//! them as the replacement character, and our parser refuses them.

const REPLACEMENT: &[u8] = b"\\ufffd";

/// The text with each of them replaced, as engines do.
pub(super) fn replaced(text: String) -> String {
    let mut bytes = text.into_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at += match (bytes[at], unit(&bytes[at..])) {
            (b'\\', Some(0xd800..=0xdbff)) if is_second(unit(&bytes[at + REPLACEMENT.len()..])) => {
                2 * REPLACEMENT.len()
            }
            (b'\\', Some(0xd800..=0xdfff)) => {
                bytes[at..at + REPLACEMENT.len()].copy_from_slice(REPLACEMENT);
                REPLACEMENT.len()
            }
            // What is escaped can be a backslash.
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn is_second(unit: Option<u16>) -> bool {
    unit.is_some_and(|it| (0xdc00..=0xdfff).contains(&it))
}

/// What `\uXXXX` at the beginning stands for.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_half_a_pair_is_replaced() {
        for (text, expected) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\uDC00\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83dx\ude00""#, r#""\ufffdx\ufffd""#),
            (r#""\\ud800 \u00e9 é""#, r#""\\ud800 \u00e9 é""#),
            (r#""\ud8"#, r#""\ud8"#),
            (r#""\ud800\"#, r#""\ufffd\"#),
            ("\\é", "\\é"),
        ] {
            assert_eq!(replaced(text.into()), expected, "{text}");
        }
    }
}
