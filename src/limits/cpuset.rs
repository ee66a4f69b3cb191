//! The set of CPUs that a session can run on.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::limit::Limit;
use super::limit_file::LimitFile;
use super::number::whole;
use super::refused::Refused;
use crate::containment::ContainmentError;
use crate::containment::cgroup::files::write;

/// The highest CPU number that any kernel supports (`NR_CPUS`).
const LAST_CPU: u16 = 8191;

/// CPU numbers, such as `0-3,6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuSet(pub BTreeSet<u16>);

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for &cpu in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        let written = ranges.into_iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        f.write_str(&written.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for CpuSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid set of CPUs {text:?}; write numbers and ranges such as \"0-3,6\"");
        let mut numbers = BTreeSet::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let parse = |text: &str| whole(text).and_then(|it| u16::try_from(it).ok()).ok_or_else(wrong);
            let (first, last) = (parse(first)?, parse(last)?);
            if first > last {
                return Err(wrong());
            }
            if last > LAST_CPU {
                return Err(format!(
                    "{text:?} contains a CPU number above {LAST_CPU}, the highest that any kernel supports"
                ));
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

/// Sets the CPUs of a cgroup. The kernel silently drops those that the cgroups above do not grant; if that is
/// all of them, it uses whatever they have.
pub(super) fn set_cpuset(directory: &Path, asked: &CpuSet) -> Result<Option<String>, Refused> {
    let file = LimitFile::new(directory, Limit::Cpuset);
    let is_asked = |text: &str| text.parse::<CpuSet>().is_ok_and(|it| it == *asked);
    file.write("cpuset.cpus", &asked.to_string(), is_asked)?;
    let granted = file.read("cpuset.cpus.effective")?;
    let Ok(granted) = granted.parse::<CpuSet>() else {
        let other = std::io::Error::other(format!("the kernel reports {granted:?}"));
        let path = directory.join("cpuset.cpus.effective");
        return Err(file.refused("cpuset.cpus.effective", ContainmentError::on("interpret", &path)(other)));
    };
    if !granted.0.is_subset(&asked.0) {
        // Reset it, or it could take effect later, unexpectedly.
        let _ = write(&directory.join("cpuset.cpus"), b"\n");
        return Err(Refused::NotGranted { asked: asked.to_string(), granted: granted.to_string() });
    }
    let less = || format!("of CPUs {asked}, the cgroups above grant only {granted}");
    Ok((granted != *asked).then(less))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_cpus() {
        assert_eq!("3,0-2, 6".parse::<CpuSet>().unwrap().to_string(), "0-3,6");
        for text in ["", "a", "3-1", "-1", "1-", "0,,1", "+1", "8192", "0-65535", "99999999"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_set_or_an_error(text in "[0-9,+-]{0,9}") {
            let _ = text.parse::<CpuSet>();
        }
    }
}
