//! Whether the command has done anything since the last look.
//!
//! It has if it used the CPU more than a trickle. A program that waits forever still uses a trickle if its runtime has
//! timers: an idle JVM uses 0.1 % of a CPU, uvicorn 0.2 %, its reloader 0.3 %. But so does a shell that polls with
//! `sleep 5` (0.02 %). What tells them apart is that the latter starts processes, reads, writes or connects. So only if
//! there was a trickle, its processes are read.
//!
//! On a virtual machine that shares its CPUs, caches are cold whenever a timer wakes a process: a wake of an idle Node
//! then costs 7 ms instead of 0.1, and uvicorn with its reloader uses 12 % of a CPU. So more than a trickle still is none
//! if it was used in short bits, each ended by the process itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rustix::process::Pid;

use crate::containment::Leaf;
use crate::containment::cgroup::files::read_keyed;
use crate::runtime::clock;
use crate::sys::connections::tcp_connections;
use crate::sys::network_namespace::within;
use crate::sys::procfs::descriptors::{descriptor_targets, socket_inode};
use crate::sys::procfs::io::{bytes, loopback_packets};
use crate::sys::procfs::stat::{ProcStat, ProcessKey};
use crate::sys::procfs::switches::Switches;
use crate::sys::time::Instant;
use crate::teardown::Component;

/// A trickle is at most this part of one CPU,
const TRICKLE: u32 = 100;
/// or this part, if it was used in bits of `BIT`.
const TRICKLE_OF_BITS: u32 = 5;
/// What a wake of a process that has nothing to do can cost.
const BIT: Duration = Duration::from_millis(20);
/// The kernel tells the CPU time of a process in ticks of this length, rounded down.
const TICK: Duration = Duration::from_millis(10);

/// Compares what the command has done at one look with what it had done at the one before.
#[derive(Debug)]
pub(super) struct ActivityMeter {
    at: Instant,
    /// `None` without a cgroup.
    cpu: Option<Duration>,
    /// `None` if it was not read, or cannot be known.
    traces: Option<Traces>,
}

impl ActivityMeter {
    pub(super) fn begin(command: &Component) -> Self {
        Self { at: clock::now(), cpu: cpu_of(&command.leaf), traces: None }
    }

    /// Whether the command has done something since the last call. What cannot be known counts as something.
    pub(super) fn has_worked(&mut self, command: &Component) -> bool {
        let now = clock::now();
        let window = now - std::mem::replace(&mut self.at, now);
        let cpu = cpu_of(&command.leaf);
        let before = std::mem::replace(&mut self.cpu, cpu);
        let used = cpu.zip(before).map(|(now, before)| now.saturating_sub(before));
        match used {
            // What did not run has neither read nor written.
            Some(Duration::ZERO) => return false,
            Some(used) if used > window / TRICKLE_OF_BITS => {
                self.traces = None;
                return true;
            }
            _ => {}
        }
        let traces = Traces::read(command);
        let before = std::mem::replace(&mut self.traces, traces);
        match (&before, &self.traces) {
            (Some(before), Some(now)) => now.show_work_since(before, used, window),
            _ => true,
        }
    }
}

/// What the processes of a leaf have used of the CPU, including those that have exited. The kernel adds it up.
fn cpu_of(leaf: &Leaf) -> Option<Duration> {
    read_keyed(leaf.path()?, "cpu.stat", "usage_usec").map(Duration::from_micros)
}

/// What the processes of the command have left in the kernel's counters.
#[derive(Debug)]
struct Traces {
    processes: HashMap<ProcessKey, Duration>,
    switches: Switches,
    bytes: u64,
    /// The packets of the loopback interface. The kernel does not say whose they are.
    packets: u64,
    /// The open sockets by their inodes, and the bytes that each has carried over TCP. The kernel counts no others.
    sockets: BTreeMap<u32, u64>,
}

impl Traces {
    /// `None` if we are not allowed to know.
    fn read(command: &Component) -> Option<Self> {
        let members: Vec<_> = command.leaf.members().ok()?.into_iter().filter_map(ProcStat::read).collect();
        let leader = command.leader.pid;
        let mut sum = 0u64;
        let mut switches = Switches::default();
        for member in &members {
            sum = sum.wrapping_add(bytes(member.pid).ok()?.unwrap_or_default());
            switches += Switches::of(member.pid);
        }
        Some(Self {
            processes: members.iter().map(|it| (it.key(), it.cpu)).collect(),
            switches,
            bytes: sum,
            packets: loopback_packets(leader).ok()?,
            sockets: sockets_of(&members, leader)?,
        })
    }

    /// `used` is the CPU time that the cgroup has counted, if there is one.
    fn show_work_since(&self, before: &Self, used: Option<Duration>, window: Duration) -> bool {
        let each: Option<Vec<_>> = self
            .processes
            .iter()
            .map(|(key, cpu)| Some(cpu.saturating_sub(*before.processes.get(key)? + TICK)))
            .collect();
        // One has started since, or has exited.
        let Some(each) = each.filter(|each| each.len() == before.processes.len()) else { return true };
        let used = used.unwrap_or_else(|| each.into_iter().sum());
        !is_trickle(used, self.switches.since(before.switches), window)
            || self.bytes != before.bytes
            || self.packets != before.packets
            || self.sockets != before.sockets
    }
}

/// A process that is kept from the CPU uses little of it too, but it does not give it up by itself.
fn is_trickle(used: Duration, switches: Switches, window: Duration) -> bool {
    let Switches { voluntary, involuntary } = switches;
    let in_bits = involuntary <= voluntary / 2
        && u32::try_from(voluntary).is_ok_and(|bits| used <= BIT.saturating_mul(bits))
        && used <= window / TRICKLE_OF_BITS;
    used <= window / TRICKLE || in_bits
}

/// In the network namespace of the leader.
fn sockets_of(members: &[ProcStat], leader: Pid) -> Option<BTreeMap<u32, u64>> {
    let inodes = members.iter().flat_map(|it| descriptor_targets(it.pid));
    let mut found: BTreeMap<u32, u64> =
        inodes.filter_map(|target| Some((socket_inode(&target)?, 0))).collect();
    if !found.is_empty() {
        for connection in within(leader, tcp_connections).ok()?.ok()? {
            found.entry(connection.inode).and_modify(|bytes| *bytes = connection.carried);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    /// Traces of one process that has used the CPU for so many milliseconds.
    fn traces(started: u64, cpu: u64, bytes: u64, packets: u64, carried: u64) -> Traces {
        let key = (Pid::from_raw(7).unwrap(), started);
        Traces {
            processes: [(key, Duration::from_millis(cpu))].into(),
            switches: Switches::default(),
            bytes,
            packets,
            sockets: [(4, carried)].into(),
        }
    }

    #[test]
    fn each_trace_alone_shows_work() {
        let before = traces(1, 100, 5, 5, 5);
        for (work, shown) in [
            (traces(1, 100, 5, 5, 5), false),
            (traces(1, 120, 5, 5, 5), false),
            (traces(1, 130, 5, 5, 5), true),
            (traces(1, 100, 6, 5, 5), true),
            (traces(1, 100, 5, 6, 5), true),
            (traces(1, 100, 5, 5, 6), true),
            (traces(2, 100, 5, 5, 5), true),
        ] {
            assert_eq!(work.show_work_since(&before, None, WINDOW), shown, "{work:?}");
        }
    }

    #[test]
    fn short_bits_are_a_trickle_unless_they_were_cut_short() {
        for (used, voluntary, involuntary, expected) in [
            (10, 0, 0, true),
            (11, 0, 0, false),
            (60, 20, 3, true),
            (60, 2, 0, false),
            (60, 20, 20, false),
            (200, 30, 0, true),
            (201, 30, 0, false),
        ] {
            let switches = Switches { voluntary, involuntary };
            let is = is_trickle(Duration::from_millis(used), switches, WINDOW);
            assert_eq!(is, expected, "{used} ms, {switches:?}");
        }
    }
}
