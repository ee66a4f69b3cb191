//! The last lines that a container has written.

use std::time::Duration;

use super::exchange::{Ask, Limit};
use super::listing::Asking;
use super::object::{EngineObject, ObjectType};
use crate::runtime::clock;
use crate::sys::time::Instant;

/// So many lines of a container are read, of so many containers, in so much time together.
const LINES: usize = 5;
const CONTAINERS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(1);
/// The answer is not longer than this, and a line not longer than that (characters).
const LONGEST: usize = 64 << 10;
const LONGEST_LINE: usize = 200;
/// The header of a frame: the stream, three zeroes, and the length (Docker's API, "Attach to a container").
const HEADER: usize = 8;

impl Asking<'_> {
    /// Reads the end of the logs of the first containers that are running. If that fails, they are only missing in reports.
    pub(super) fn read_logs(&mut self, objects: &mut [EngineObject], deadline: Instant) {
        let wanted: Vec<usize> = (0..objects.len())
            .filter(|&at| objects[at].is_running() && objects[at].service.is_none())
            .filter(|&at| objects[at].kind == ObjectType::Container && !objects[at].is_reaper)
            .take(CONTAINERS)
            .collect();
        let engines = self.engines;
        let ask = |&at: &usize| {
            let path = format!("/containers/{}/logs?stdout=1&stderr=1&tail={LINES}", objects[at].id);
            Ask::get(&engines[objects[at].engine], path, LONGEST)
        };
        let asks: Vec<_> = wanted.iter().map(ask).collect();
        let limit = Limit { deadline: deadline.min(clock::now() + PATIENCE), unless_urgent: true };
        let answers = self.ask(&asks, limit);
        for (at, answer) in wanted.into_iter().zip(answers) {
            let body = answer.and_then(super::exchange::Answer::ok).unwrap_or_default();
            if let Some(container) = &mut objects[at].container {
                container.log = last_lines(&body);
            }
        }
    }
}

pub(super) fn last_lines(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(&without_frames(body)).into_owned();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| crate::text::shorten(line.trim_end(), LONGEST_LINE)).collect()
}

/// The contents of the frames. A container with a terminal has none.
fn without_frames(mut body: &[u8]) -> Vec<u8> {
    let is_framed = |it: &[u8]| it.len() >= HEADER && it[0] <= 2 && it[1..4] == [0, 0, 0];
    if !is_framed(body) {
        return body.to_vec();
    }
    let mut text = Vec::new();
    while is_framed(body) {
        let length = u32::from_be_bytes([body[4], body[5], body[6], body[7]]) as usize;
        let content = &body[HEADER..];
        let content = &content[..length.min(content.len())];
        text.extend_from_slice(content);
        body = &body[HEADER + content.len()..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], text.as_bytes()].concat()
    }

    #[test]
    fn the_lines_of_both_streams_are_read() {
        let body =
            [frame(1, "one\n"), frame(2, "two\n\n"), frame(1, "three, "), frame(1, "continued\n")].concat();
        assert_eq!(last_lines(&body), ["one", "two", "three, continued"]);
        assert_eq!(last_lines(b"a terminal\r\nhas no frames\r\n"), ["a terminal", "has no frames"]);
        assert_eq!(
            last_lines(&[b"1\n2\n3\n4\n5\n6\n".to_vec(), vec![0xff]].concat()),
            ["3", "4", "5", "6", "\u{fffd}"]
        );
    }

    #[test]
    fn an_answer_that_was_cut_off_is_read_as_far_as_it_goes() {
        let whole = [frame(1, "one\n"), frame(2, "two\n")].concat();
        for length in 0..whole.len() {
            let lines = last_lines(&whole[..length]);
            assert!(lines.len() <= 2, "{lines:?}");
        }
        assert_eq!(last_lines(&whole[..whole.len() - 2]), ["one", "tw"]);
        let huge = [vec![1, 0, 0, 0, 255, 255, 255, 255], b"x\n".to_vec()].concat();
        assert_eq!(last_lines(&huge), ["x"]);
    }
}
