//! The weight of disk I/O relative to other cgroups, and whether it has an effect here: the kernel accepts it
//! in any case.

use std::path::Path;
use std::str::FromStr;

use super::limit::Limit;
use super::limit_file::LimitFile;
use super::number::whole;
use super::refused::Refused;
use crate::containment::cgroup::files::is_root;

const BFQ: &str = "io.bfq.weight";

/// The weight of disk I/O relative to other cgroups: 1 to 10000, by default 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoWeight(pub u16);

impl FromStr for IoWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match whole(text).and_then(|it| u16::try_from(it).ok()) {
            Some(weight @ 1..=10_000) => Ok(Self(weight)),
            _ => Err(format!(
                "invalid weight {text:?}; write a whole number from 1 to 10000 (100 is the default)"
            )),
        }
    }
}

/// Sets the weight for each I/O scheduler that the kernel has.
pub(super) fn set_io_weight(directory: &Path, weight: u16) -> Result<(), Refused> {
    let file = LimitFile::new(directory, Limit::IoWeight);
    let is = |weight| {
        move |text: &str| text.lines().any(|line| line.trim_start_matches("default ") == format!("{weight}"))
    };
    let has_bfq = directory.join(BFQ).exists();
    if has_bfq {
        let weight = to_bfq_scale(weight);
        file.write(BFQ, &weight.to_string(), is(weight))?;
    }
    if has_bfq && !directory.join("io.weight").exists() {
        return Ok(());
    }
    file.write("io.weight", &format!("default {weight}"), is(weight))
}

/// bfq accepts weights up to 1000, and its default is also 100.
fn to_bfq_scale(weight: u16) -> u16 {
    let above = u32::from(weight.saturating_sub(100));
    weight.min(100) + u16::try_from(above * 900 / 9900).unwrap_or(900)
}

/// Why a weight has no effect on any disk, if that is known, and how to fix it. `point` is where the
/// hierarchy is mounted, `sys` is `/sys`.
pub(super) fn why_ineffective(point: &Path, sys: &Path) -> Option<String> {
    if !is_root(point) || has_cost_model(point) || has_bfq(sys) {
        return None;
    }
    Some(
        "io_weight has no effect on this host: no disk has the bfq scheduler, and io.cost is off; as root: \
         echo bfq >/sys/block/DISK/queue/scheduler"
            .into(),
    )
}

/// `8:0 enable=1 ctrl=auto ...`, a line for each disk. Only the root cgroup has that file.
fn has_cost_model(root: &Path) -> bool {
    let text = std::fs::read_to_string(root.join("io.cost.qos")).unwrap_or_default();
    text.split_whitespace().any(|field| field == "enable=1")
}

/// `mq-deadline [bfq] none`
fn has_bfq(sys: &Path) -> bool {
    let disks = std::fs::read_dir(sys.join("block")).into_iter().flatten().flatten();
    let schedulers =
        disks.filter_map(|disk| std::fs::read_to_string(disk.path().join("queue/scheduler")).ok());
    schedulers.into_iter().any(|text| text.contains("[bfq]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_needs_a_scheduler_that_supports_it() {
        let directory = tempfile::tempdir().unwrap();
        let (point, sys) = (directory.path().join("cgroup"), directory.path().join("sys"));
        let queue = sys.join("block/sda/queue");
        std::fs::create_dir_all(&point).unwrap();
        std::fs::create_dir_all(&queue).unwrap();
        let is_ineffective = || why_ineffective(&point, &sys).is_some();
        std::fs::write(queue.join("scheduler"), "[none] mq-deadline bfq\n").unwrap();
        assert!(is_ineffective());
        std::fs::write(point.join("io.cost.qos"), "8:0 enable=0 ctrl=auto\n").unwrap();
        assert!(is_ineffective());
        std::fs::write(point.join("io.cost.qos"), "8:0 enable=1 ctrl=auto\n").unwrap();
        assert!(!is_ineffective());
        std::fs::remove_file(point.join("io.cost.qos")).unwrap();
        std::fs::write(queue.join("scheduler"), "none mq-deadline [bfq]\n").unwrap();
        assert!(!is_ineffective());
        // Below the root this is unknown.
        std::fs::write(queue.join("scheduler"), "none\n").unwrap();
        std::fs::write(point.join("cgroup.type"), "domain\n").unwrap();
        assert!(!is_ineffective());
    }

    #[test]
    fn an_invalid_weight_is_refused() {
        for text in ["", "0", "10001", "-1", "1.5", "+5"] {
            assert!(text.parse::<IoWeight>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_available_scheduler_gets_its_weight() {
        let directory = tempfile::tempdir().unwrap();
        let read = |file: &str| std::fs::read_to_string(directory.path().join(file)).unwrap();
        std::fs::write(directory.path().join(BFQ), "").unwrap();
        set_io_weight(directory.path(), 1090).unwrap();
        assert_eq!(read(BFQ), "190");
        std::fs::write(directory.path().join("io.weight"), "").unwrap();
        set_io_weight(directory.path(), 1090).unwrap();
        assert_eq!(read("io.weight"), "default 1090");
        assert_eq!([1, 100, 110, 10_000].map(to_bfq_scale), [1, 100, 100, 1000]);
    }
}
