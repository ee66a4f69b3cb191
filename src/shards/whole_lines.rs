//! Makes whole lines of what a shard writes, each with a prefix.

/// A longer line is passed on in pieces.
const LONGEST: usize = 64 << 10;
/// With which lines begin that the log of a CI system obeys, and only at the start of a line: GitHub's, Azure's and
/// GitLab's.
const COMMANDS: [&[u8]; 3] = [b"::", b"##", b"\x1b[0Ksection_"];

#[derive(Debug)]
pub(super) struct WholeLines {
    prefix: Vec<u8>,
    /// The beginning of a line.
    begun: Vec<u8>,
    /// A piece of this line was passed on already.
    is_continued: bool,
}

impl WholeLines {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), begun: Vec::new(), is_continued: false }
    }

    /// The lines that `bytes` complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.pass_on(&mut lines);
                self.is_continued = false;
            } else if self.begun.len() >= LONGEST {
                self.pass_on(&mut lines);
                self.is_continued = true;
            }
        }
        lines
    }

    /// The last line, if it has no end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        if self.begun.is_empty() && !self.is_continued { Vec::new() } else { self.push(b"\n") }
    }

    fn pass_on(&mut self, lines: &mut Vec<u8>) {
        if !self.is_continued && !COMMANDS.iter().any(|it| self.begun.starts_with(it)) {
            lines.extend_from_slice(&self.prefix);
        }
        lines.append(&mut self.begun);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_have_a_prefix() {
        let mut lines = WholeLines::new("[1/2] ");
        assert_eq!(lines.push(b"a"), b"");
        assert_eq!(lines.push(b"b\n\nc\nd"), b"[1/2] ab\n[1/2] \n[1/2] c\n");
        assert_eq!(lines.finish(), b"[1/2] d\n");
        assert_eq!(lines.finish(), b"");
    }

    #[test]
    fn a_command_for_the_log_stays_at_the_start_of_its_line() {
        let mut lines = WholeLines::new("> ");
        assert_eq!(lines.push(b"::group::x\na::b\n"), b"::group::x\n> a::b\n");
    }

    #[test]
    fn a_very_long_line_has_one_prefix_and_does_not_pile_up() {
        let mut lines = WholeLines::new("> ");
        let first = lines.push(&[b'x'; LONGEST]);
        assert_eq!(first.len(), LONGEST + 2);
        assert_eq!(lines.push(b"y\nz\n"), b"y\n> z\n");
        assert_eq!(lines.finish(), b"");
    }
}
