//! Formats values for people: errors, durations, sizes, counts, command lines.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

/// An I/O error without Rust's "(os error 2)".
pub(crate) fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => too_many_files(),
        Some(number) => Errno::from_raw(number).desc().to_string(),
        None => error.to_string(),
    }
}

fn too_many_files() -> String {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or("none".into(), |limit| limit.to_string());
    format!("too many open files: the limit is {limit}; raise it with ulimit -n")
}

/// Why no process can be created, if the kernel answers EAGAIN.
pub(crate) const PROCESS_LIMIT: &str =
    "process limit reached (--pids, the limits of this user, or of a cgroup above)";

/// An error and its causes. Each is named once: many of our errors quote their cause already, and end
/// with advice.
pub(crate) fn error_chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, link| {
        let errno = || link.downcast_ref::<rustix::io::Errno>().map(|&errno| plain(&errno.into()));
        let error = link.downcast_ref::<io::Error>().map(plain);
        let link = error.or_else(errno).unwrap_or_else(|| link.to_string());
        match (text.is_empty(), text.contains(&link)) {
            (true, _) => link,
            (_, true) => text,
            (_, false) => format!("{text}: {link}"),
        }
    })
}

/// `exit status 3`, `killed by SIGKILL`.
pub(crate) fn exit_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        _ => status.to_string(),
    }
}

/// An age in its largest useful unit: `240 ms`, `12 s`, `5 min`, `3 h`, `2 days`.
pub(crate) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long something took: `240 ms`, `12.3 s`, `5 min`, `3.5 h`.
pub(crate) fn elapsed(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A number of bytes: `512 MiB`, `1.5 GiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let text = match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            None => format!("{} B", self.0),
            Some((unit, name)) if self.0 % unit == 0 => format!("{} {name}", self.0 / unit),
            Some((unit, name)) => format!("{:.1} {name}", self.0 as f64 / unit as f64),
        };
        f.pad(&text)
    }
}

/// `1 session`, `3 sessions`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `1 process`, `3 processes`.
pub(crate) fn processes(count: usize) -> String {
    if count == 1 { "1 process".into() } else { format!("{count} processes") }
}

/// At most `width` characters of `text`; an ellipsis shows that some are missing.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

/// `text` with control characters escaped, so that no process can draw on the reader's terminal.
pub(crate) fn readable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            // A change of text direction could make a command line look like a different one.
            let turns =
                matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
            let is_bad = c.is_control() || turns;
            let escaped = is_bad.then(|| c.escape_default());
            let plain = (!is_bad).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let ages = [(0, "0 ms"), (59, "59 s"), (600, "10 min"), (3 * 3600, "3 h"), (3 * 86_400, "3 days")];
        for (seconds, text) in ages {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn sizes_have_one_unit() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (64 << 20, "64 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis() {
        assert_eq!(shorten("naïve", 3), "naï…");
        assert_eq!(shorten("abc", 3), "abc");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(readable("a\x1b[2Jb\n\u{9b}c é"), "a\\u{1b}[2Jb\\n\\u{9b}c é");
    }
}
