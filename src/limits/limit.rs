//! The limits, and the cgroup v2 controller of each.

/// A controller of cgroup v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
    Io,
    Cpuset,
}

impl Controller {
    /// All controllers that can limit something.
    pub(crate) const ALL: [Self; 5] = [Self::Memory, Self::Pids, Self::Cpu, Self::Cpuset, Self::Io];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Cpuset => "cpuset",
        }
    }
}

/// A limit, by its key in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Memory,
    Swap,
    Pids,
    Cpus,
    IoWeight,
    Cpuset,
}

/// The limits that are set in a struct that has a field for each.
macro_rules! limits_set_in {
    ($limits:expr) => {
        [
            ($limits.memory.is_some(), Limit::Memory),
            ($limits.swap.is_some(), Limit::Swap),
            ($limits.pids.is_some(), Limit::Pids),
            ($limits.cpus.is_some(), Limit::Cpus),
            ($limits.io_weight.is_some(), Limit::IoWeight),
            ($limits.cpuset.is_some(), Limit::Cpuset),
        ]
        .into_iter()
        .filter_map(|(is_set, limit)| is_set.then_some(limit))
        .collect::<Vec<Limit>>()
    };
}
pub(super) use limits_set_in;

impl Limit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Swap => "swap",
            Self::Pids => "pids",
            Self::Cpus => "cpus",
            Self::IoWeight => "io_weight",
            Self::Cpuset => "cpuset",
        }
    }

    pub(crate) fn controller(self) -> Controller {
        match self {
            Self::Memory | Self::Swap => Controller::Memory,
            Self::Pids => Controller::Pids,
            Self::Cpus => Controller::Cpu,
            Self::IoWeight => Controller::Io,
            Self::Cpuset => Controller::Cpuset,
        }
    }

    /// How to fix it if the kernel has no file for the limit.
    pub(crate) fn where_missing(self) -> &'static str {
        match self {
            Self::Memory => "use a kernel with CONFIG_MEMCG",
            Self::Swap => "use a kernel with CONFIG_SWAP, booted without swapaccount=0",
            Self::Pids => "use a kernel with CONFIG_CGROUP_PIDS",
            Self::Cpus => "use a kernel with CONFIG_CFS_BANDWIDTH",
            Self::IoWeight => "use a kernel with CONFIG_BLK_CGROUP_IOCOST, or load the bfq scheduler",
            Self::Cpuset => "use a kernel with CONFIG_CPUSETS",
        }
    }
}
