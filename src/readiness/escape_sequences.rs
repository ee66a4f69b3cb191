//! Lines as a terminal would show them: without colours and other escape sequences.

use std::borrow::Cow;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// The line without escape sequences (ECMA-48) and the carriage return at its end. An incomplete sequence at the end is
/// left out too, because the rest of it has not arrived yet.
pub(super) fn without_escapes(line: &[u8]) -> Cow<'_, [u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.contains(&ESCAPE) {
        return Cow::Borrowed(line);
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = if byte == ESCAPE {
            after_sequence(after)
        } else {
            plain.push(byte);
            after
        };
    }
    Cow::Owned(plain)
}

/// What follows the sequence that begins with ESC and continues with `rest`.
fn after_sequence(rest: &[u8]) -> &[u8] {
    let after = |position: Option<usize>| position.map_or(&[][..], |at| &rest[at + 1..]);
    match rest.first() {
        None => rest,
        // CSI: parameters, then a final byte.
        Some(b'[') => {
            after(rest.iter().skip(1).position(|byte| (0x40..=0x7e).contains(byte)).map(|at| at + 1))
        }
        // OSC and other strings, to BEL or ST (ESC \).
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let bell = rest.iter().position(|&byte| byte == BELL);
            let terminator = rest.windows(2).position(|pair| pair == [ESCAPE, b'\\']).map(|at| at + 1);
            after(bell.into_iter().chain(terminator).min())
        }
        // Intermediate bytes, then a final byte.
        Some(_) => after(rest.iter().position(|byte| (0x30..=0x7e).contains(byte))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_left_out() {
        for (line, plain) in [
            ("ready in \x1b[1m291\x1b[22m ms", "ready in 291 ms"),
            ("\x1b[38;2;1;2;3mred\x1b[0m\r", "red"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07!", "link!"),
            ("\x1b(Bplain\x1b7", "plain"),
            ("cut \x1b[1", "cut "),
            ("cut \x1b", "cut "),
            ("cut \x1b]8;;http", "cut "),
            ("none", "none"),
        ] {
            assert_eq!(without_escapes(line.as_bytes()), plain.as_bytes(), "{line:?}");
        }
    }
}
