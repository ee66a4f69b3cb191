//! One of several sessions that run the same command side by side.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

use super::{Probe, SessionPlan};
use crate::config::ReportKind;

/// Counted from 1.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Shard {
    pub number: u16,
    pub count: u16,
}

impl Shard {
    /// `2 of 4`
    pub(crate) fn name(self) -> String {
        format!("{} of {}", self.number, self.count)
    }

    /// With which the lines of its output begin.
    pub(crate) fn prefix(self) -> String {
        format!("[{}] ", self.note())
    }

    /// `2/4`, with which its cgroup is marked.
    pub(crate) fn note(self) -> String {
        format!("{}/{}", self.number, self.count)
    }

    pub(crate) fn of_note(note: &str) -> Option<Self> {
        let (number, count) = note.split_once('/')?;
        Some(Self { number: number.parse().ok()?, count: count.parse().ok()? })
    }

    /// What its processes can read.
    pub(crate) fn variables(self) -> [(&'static str, String); 2] {
        [("CGRUN_SHARD", self.number.to_string()), ("CGRUN_SHARDS", self.count.to_string())]
    }

    /// `--shard={shard}/{shards}` becomes `--shard=2/4`. `${shard}` is a variable of a shell, and stays.
    fn fill_in(self, word: &OsStr) -> OsString {
        let values = [("{shard}", self.number), ("{shards}", self.count), ("{index}", self.number - 1)];
        let mut rest = word.as_bytes();
        let mut filled = Vec::with_capacity(rest.len());
        while let Some(&byte) = rest.first() {
            match values.iter().find(|(name, _)| rest.starts_with(name.as_bytes())) {
                Some((name, value)) if !filled.ends_with(b"$") => {
                    filled.extend_from_slice(value.to_string().as_bytes());
                    rest = &rest[name.len()..];
                }
                _ => {
                    filled.push(byte);
                    rest = &rest[1..];
                }
            }
        }
        OsString::from_vec(filled)
    }

    /// The plan of this shard. Its report goes to the pipe `report`, if there is to be any.
    pub(crate) fn plan(self, mut plan: SessionPlan, report: Option<RawFd>) -> SessionPlan {
        plan.command.iter_mut().for_each(|word| *word = self.fill_in(word));
        for service in plan.services.iter_mut() {
            let of_probe = match &mut service.probe {
                Probe::Command(command) => command.as_mut_slice(),
                _ => &mut [],
            };
            service.command.iter_mut().chain(of_probe).for_each(|word| *word = self.fill_in(word));
        }
        plan.logs = plan.logs.map(|logs| logs.join(format!("shard-{}", self.number)));
        plan.reports =
            report.map(|fd| (ReportKind::Json, format!("/dev/fd/{fd}").into())).into_iter().collect();
        plan.shard = Some(self);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_shard_is_filled_in() {
        let shard = Shard { number: 2, count: 4 };
        for (word, filled) in [
            ("--shard={shard}/{shards}", "--shard=2/4"),
            ("count:{shard}/{shards}", "count:2/4"),
            ("{index}", "1"),
            ("{{shard}}", "{2}"),
            ("${shard} ${index:-}", "${shard} ${index:-}"),
            ("{other}", "{other}"),
            ("", ""),
        ] {
            assert_eq!(shard.fill_in(OsStr::new(word)), filled);
        }
        assert_eq!(Shard::of_note(&shard.note()), Some(shard));
        assert_eq!(Shard::of_note("2 of 4"), None);
    }
}
