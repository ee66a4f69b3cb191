//! Whether a weight of disk I/O means anything here: the kernel takes it in any case.

use std::path::Path;

use super::controllers::is_root_of_all;

/// Why a weight has no effect on any disk, where that is known, and what would help. `point` is where the
/// hierarchy is mounted, `sys` is `/sys`.
pub fn ignore_weights(point: &Path, sys: &Path) -> Option<String> {
    if !is_root_of_all(point) || has_cost_model(point) || has_bfq(sys) {
        return None;
    }
    Some(
        "io_weight has no effect on this host: no disk has the bfq scheduler, and io.cost is off; as root: \
         echo bfq >/sys/block/DISK/queue/scheduler"
            .into(),
    )
}

/// `8:0 enable=1 ctrl=auto ...`, a line for each disk. Only the root of all has that file.
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
    fn a_weight_needs_a_scheduler_that_knows_it() {
        let directory = tempfile::tempdir().unwrap();
        let (point, sys) = (directory.path().join("cgroup"), directory.path().join("sys"));
        let queue = sys.join("block/sda/queue");
        std::fs::create_dir_all(&point).unwrap();
        std::fs::create_dir_all(&queue).unwrap();
        let says = || ignore_weights(&point, &sys).is_some();
        std::fs::write(queue.join("scheduler"), "[none] mq-deadline bfq\n").unwrap();
        assert!(says());
        std::fs::write(point.join("io.cost.qos"), "8:0 enable=0 ctrl=auto\n").unwrap();
        assert!(says());
        std::fs::write(point.join("io.cost.qos"), "8:0 enable=1 ctrl=auto\n").unwrap();
        assert!(!says());
        std::fs::remove_file(point.join("io.cost.qos")).unwrap();
        std::fs::write(queue.join("scheduler"), "none mq-deadline [bfq]\n").unwrap();
        assert!(!says());
        // Below the root of all it cannot be told.
        std::fs::write(queue.join("scheduler"), "none\n").unwrap();
        std::fs::write(point.join("cgroup.type"), "domain\n").unwrap();
        assert!(!says());
    }
}
