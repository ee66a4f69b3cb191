//! Writing limits to a cgroup: the boundary to `cgroups-rs`.
//!
//! Of that crate only the setters of single controllers are used, which say whether they worked; what
//! was set is read back. What it cannot do, or does without a word, is written here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{MaxValue, error::Error};

use super::bounds::Bounds;
use super::controllers::Refused;
use super::limit::Limit;
use super::size::CpuSet;
use crate::containment::ContainmentError;
use crate::containment::cgroup::write;

/// In which so much processor time is granted; the kernel's own choice.
pub const PERIOD: Duration = Duration::from_millis(100);
/// The kernel counts memory in pages, which are no larger than this.
const PAGE: u64 = 64 << 10;
const SWAP: &str = "memory.swap.max";
const BFQ: &str = "io.bfq.weight";

/// Limits the cgroup in one way, where `bounds` do, and sees that it is limited. So many `helpers` of ours
/// are in it besides. Returns what is less than was asked for.
pub fn set(bounds: &Bounds, limit: Limit, directory: &Path, helpers: u64) -> Result<Option<String>, Refused> {
    let file = Target { directory, limit };
    let set = match limit {
        Limit::Memory => bounds.memory.map_or(Ok(()), |bytes| memory(&file, bytes, bounds.swap)),
        Limit::Swap => bounds
            .swap
            .map_or(Ok(()), |bytes| file.write(SWAP, &bytes.to_string(), |text| is_about(text, bytes))),
        Limit::Pids => bounds.pids.map_or(Ok(()), |count| pids(&file, count + helpers)),
        Limit::Cpus => bounds.cpus.map_or(Ok(()), |cpus| quota(&file, cpus)),
        Limit::IoWeight => bounds.io_weight.map_or(Ok(()), |weight| io_weight(&file, weight)),
        Limit::Cpuset => return bounds.cpuset.as_ref().map_or(Ok(None), |set| cpuset(&file, set)),
    };
    set.map(|()| None)
}

fn memory(file: &Target<'_>, bytes: u64, swap: Option<u64>) -> Result<(), Refused> {
    let set = MemController::new(file.path(), file.path(), true).set_limit(signed(bytes));
    file.check("memory.max", set, |text| is_about(text, bytes))?;
    // Otherwise what is over the limit is swapped out, without end.
    if swap.is_none() && file.directory.join(SWAP).exists() {
        file.write(SWAP, "0", |text| text == "0")?;
    }
    // A session half of which is gone would limp on.
    file.write("memory.oom.group", "1", |text| text == "1")
}

fn pids(file: &Target<'_>, count: u64) -> Result<(), Refused> {
    let set = PidController::new(file.path(), file.path(), true).set_pid_max(MaxValue::Value(signed(count)));
    file.check("pids.max", set, |text| text == count.to_string())
}

fn quota(file: &Target<'_>, cpus: f64) -> Result<(), Refused> {
    let period = PERIOD.as_micros() as u64;
    let quota = (cpus * period as f64).round() as i64;
    let controller = CpuController::new(file.path(), file.path(), true);
    let set = controller.set_cfs_quota_and_period(Some(quota), Some(period));
    file.check("cpu.max", set, |text| text == format!("{quota} {period}"))
}

/// Each scheduler of disks has a weight of its own, and not every kernel has each.
fn io_weight(file: &Target<'_>, weight: u16) -> Result<(), Refused> {
    let is = |weight| {
        move |text: &str| text.lines().any(|line| line.trim_start_matches("default ") == format!("{weight}"))
    };
    let has_bfq = file.directory.join(BFQ).exists();
    if has_bfq {
        let weight = for_bfq(weight);
        file.write(BFQ, &weight.to_string(), is(weight))?;
    }
    if has_bfq && !file.directory.join("io.weight").exists() {
        return Ok(());
    }
    file.write("io.weight", &format!("default {weight}"), is(weight))
}

/// Its scale ends at 1000, and 100 is what everybody has there as well.
fn for_bfq(weight: u16) -> u16 {
    let above = u32::from(weight.saturating_sub(100));
    weight.min(100) + u16::try_from(above * 900 / 9900).unwrap_or(900)
}

/// What the cgroups above do not grant, the kernel leaves out without a word; and where that is all, it
/// takes whatever they have.
fn cpuset(file: &Target<'_>, asked: &CpuSet) -> Result<Option<String>, Refused> {
    let is_asked = |text: &str| text.parse::<CpuSet>().is_ok_and(|it| it == *asked);
    file.write("cpuset.cpus", &asked.to_string(), is_asked)?;
    let granted = file.read("cpuset.cpus.effective")?;
    let Ok(granted) = granted.parse::<CpuSet>() else {
        let other = std::io::Error::other(format!("the kernel has {granted:?} there"));
        let path = file.directory.join("cpuset.cpus.effective");
        return Err(file.refused("cpuset.cpus.effective", ContainmentError::on("understand", &path)(other)));
    };
    if !granted.0.is_subset(&asked.0) {
        // It is not to come into force later, when nobody expects it any more.
        let _ = write(&file.directory.join("cpuset.cpus"), b"\n");
        return Err(Refused::NotGranted { asked: asked.clone(), granted });
    }
    let less = || format!("of the CPUs {asked} the cgroups above grant {granted} only");
    Ok((granted != *asked).then(less))
}

/// Sizes are made sure to fit when they are read.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn is_about(text: &str, bytes: u64) -> bool {
    // More than the kernel can count reads `max`.
    text.parse::<u64>().map_or(text == "max", |set| set <= bytes && bytes - set < PAGE)
}

/// The cgroup, and what it is limited in.
struct Target<'a> {
    directory: &'a Path,
    limit: Limit,
}

impl Target<'_> {
    /// As the crate wants it, whose second argument is of no use with cgroup v2.
    fn path(&self) -> PathBuf {
        self.directory.to_path_buf()
    }

    fn write(&self, file: &'static str, value: &str, is_set: impl Fn(&str) -> bool) -> Result<(), Refused> {
        write(&self.directory.join(file), value.as_bytes()).map_err(|error| self.refused(file, error))?;
        self.read_back(file, is_set)
    }

    /// The crate's error, in our words: its source is the kernel's.
    fn check(
        &self,
        file: &'static str,
        set: Result<(), Error>,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<(), Refused> {
        use std::error::Error as _;
        set.map_err(|error| {
            let source = error.source().and_then(|it| it.downcast_ref::<std::io::Error>());
            let source = source.and_then(std::io::Error::raw_os_error).map(std::io::Error::from_raw_os_error);
            let source = source.unwrap_or_else(|| std::io::Error::other(error.to_string()));
            self.refused(file, ContainmentError::on("write to", &self.directory.join(file))(source))
        })?;
        self.read_back(file, is_set)
    }

    fn read(&self, file: &'static str) -> Result<String, Refused> {
        let path = self.directory.join(file);
        let text = std::fs::read_to_string(&path).map_err(ContainmentError::on("read", &path));
        text.map(|text| text.trim().to_string()).map_err(|error| self.refused(file, error))
    }

    fn read_back(&self, file: &'static str, is_set: impl Fn(&str) -> bool) -> Result<(), Refused> {
        let text = self.read(file)?;
        if is_set(&text) {
            return Ok(());
        }
        let other = std::io::Error::other(format!("the kernel has {text:?} there"));
        Err(self.refused(file, ContainmentError::on("set the limit in", &self.directory.join(file))(other)))
    }

    fn refused(&self, file: &'static str, source: ContainmentError) -> Refused {
        let limit = self.limit;
        match source.is_not_there() && self.directory.exists() {
            true => Refused::NoFile { limit, file },
            false => Refused::NotSet { limit, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_a_word_on_swap_bounds_that_too() {
        let directory = tempfile::tempdir().unwrap();
        let read = |file: &str| std::fs::read_to_string(directory.path().join(file)).unwrap();
        let set_with = |swap| {
            for file in ["memory.max", "memory.oom.group", SWAP] {
                std::fs::write(directory.path().join(file), "").unwrap();
            }
            let bounds = Bounds { memory: Some(1 << 20), swap, ..Bounds::default() };
            set(&bounds, Limit::Memory, directory.path(), 0).unwrap();
        };
        set_with(None);
        assert_eq!((read("memory.max").as_str(), read(SWAP).as_str()), ("1048576", "0"));
        // Which is written by itself.
        set_with(Some(1 << 20));
        assert_eq!(read(SWAP), "");
    }

    #[test]
    fn each_scheduler_of_disks_that_is_there_gets_its_weight() {
        let directory = tempfile::tempdir().unwrap();
        let read = |file: &str| std::fs::read_to_string(directory.path().join(file)).unwrap();
        let bounds = Bounds { io_weight: Some(1090), ..Bounds::default() };
        std::fs::write(directory.path().join(BFQ), "").unwrap();
        set(&bounds, Limit::IoWeight, directory.path(), 0).unwrap();
        assert_eq!(read(BFQ), "190");
        std::fs::write(directory.path().join("io.weight"), "").unwrap();
        set(&bounds, Limit::IoWeight, directory.path(), 0).unwrap();
        assert_eq!(read("io.weight"), "default 1090");
        assert_eq!([1, 100, 110, 10_000].map(for_bfq), [1, 100, 100, 1000]);
    }
}
