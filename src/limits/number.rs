//! Parses numbers in sizes and shares, as people write them.

/// Digits with at most one point: no sign, no exponent, no `inf` or `nan`.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| plain)
}

/// Digits alone: no sign.
pub(super) fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
}
