//! Writing limits to a cgroup: the boundary to `cgroups-rs`.
//!
//! Of that crate only the setters of single controllers are used, which say whether they worked; what
//! was set is read back. What it cannot do, or does without a word, is written here.

use std::path::{Path, PathBuf};

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{MaxValue, error::Error};

use super::bounds::Bounds;
use super::cgroup::write;
use super::controllers::Refused;
use super::error::ContainmentError;
use super::limit::Limit;
use crate::size::CpuSet;

/// In which so much processor time is granted, in microseconds; the kernel's own choice.
const PERIOD: u64 = 100_000;
/// The kernel counts memory in pages, which are no larger than this.
const PAGE: u64 = 64 << 10;

/// Limits the cgroup in one way, where `bounds` do, and sees that it is limited. Returns what is less
/// than was asked for.
pub fn set(bounds: &Bounds, limit: Limit, directory: &Path) -> Result<Option<String>, Refused> {
    let file = Target { directory, limit };
    let set = match limit {
        Limit::Memory => bounds.memory.map_or(Ok(()), |bytes| memory(&file, bytes)),
        Limit::Swap => bounds.swap.map_or(Ok(()), |bytes| {
            file.write("memory.swap.max", &bytes.to_string(), |text| is_about(text, bytes))
        }),
        Limit::Pids => bounds.pids.map_or(Ok(()), |count| pids(&file, count)),
        Limit::Cpus => bounds.cpus.map_or(Ok(()), |cpus| quota(&file, cpus)),
        Limit::IoWeight => bounds.io_weight.map_or(Ok(()), |weight| {
            let expected = format!("default {weight}");
            file.write("io.weight", &expected, |text| text.lines().any(|line| line == expected))
        }),
        Limit::Cpuset => return bounds.cpuset.as_ref().map_or(Ok(None), |set| cpuset(&file, set)),
    };
    set.map(|()| None)
}

fn memory(file: &Target<'_>, bytes: u64) -> Result<(), Refused> {
    let set = MemController::new(file.path(), file.path(), true).set_limit(signed(bytes));
    file.check("memory.max", set, |text| is_about(text, bytes))?;
    // A session half of which is gone would limp on.
    file.write("memory.oom.group", "1", |text| text == "1")
}

fn pids(file: &Target<'_>, count: u64) -> Result<(), Refused> {
    let set = PidController::new(file.path(), file.path(), true).set_pid_max(MaxValue::Value(signed(count)));
    file.check("pids.max", set, |text| text == count.to_string())
}

fn quota(file: &Target<'_>, cpus: f64) -> Result<(), Refused> {
    let quota = (cpus * PERIOD as f64).round() as i64;
    let controller = CpuController::new(file.path(), file.path(), true);
    let set = controller.set_cfs_quota_and_period(Some(quota), Some(PERIOD));
    file.check("cpu.max", set, |text| text == format!("{quota} {PERIOD}"))
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
