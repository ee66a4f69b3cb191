//! The part of the limits that each of several sessions gets.

use super::cpus::{Cpus, LEAST_CPUS};
use super::limits_config::Limits;
use super::memory::{LEAST_MEMORY, Memory, Swap};
use super::pids::Pids;
use crate::text::Bytes;

impl Limits {
    /// An equal part of what can be divided. What is left over goes to nobody, so that all of them together keep within the
    /// limits.
    pub(crate) fn divided(self, among: u16) -> Result<Self, String> {
        let too_little = |what: String, least: String| {
            format!("{what} divided among {among} shards is too little for each; the minimum is {least}")
        };
        let memory = self.memory.map(|it| part(it, among));
        let pids = self.pids.map(|Pids(count)| Pids(count / u64::from(among)));
        let cpus = self.cpus.map(|it| match it {
            Cpus::Count(count) => Cpus::Count(count / f64::from(among)),
            Cpus::Percent(percent) => Cpus::Percent(percent / f64::from(among)),
        });
        if let (Some(Memory::Bytes(all)), Some(Memory::Bytes(each))) = (self.memory, memory) {
            if each < LEAST_MEMORY {
                return Err(too_little(format!("{} of memory", Bytes(all)), Bytes(LEAST_MEMORY).to_string()));
            }
        }
        if let (Some(Pids(all)), Some(Pids(0))) = (self.pids, pids) {
            return Err(too_little(format!("a limit of {all} processes"), "1".into()));
        }
        if let (Some(Cpus::Count(all)), Some(Cpus::Count(each))) = (self.cpus, cpus) {
            if each < LEAST_CPUS {
                return Err(too_little(format!("a limit of {all} CPUs"), LEAST_CPUS.to_string()));
            }
        }
        Ok(Self { memory, swap: self.swap.map(|Swap(all)| Swap(part(all, among))), pids, cpus, ..self })
    }
}

fn part(all: Memory, among: u16) -> Memory {
    match all {
        Memory::Bytes(bytes) => Memory::Bytes(bytes / u64::from(among)),
        Memory::Percent(percent) => Memory::Percent(percent / f64::from(among)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_an_equal_part() {
        let limits = Limits {
            memory: Some(Memory::Bytes(8 << 30)),
            swap: Some(Swap(Memory::Percent(50.0))),
            pids: Some(Pids(401)),
            cpus: Some(Cpus::Count(2.0)),
            ..Limits::default()
        };
        let each = limits.divided(4).unwrap();
        assert_eq!(each.memory, Some(Memory::Bytes(2 << 30)));
        assert_eq!(each.swap, Some(Swap(Memory::Percent(12.5))));
        assert_eq!((each.pids, each.cpus), (Some(Pids(100)), Some(Cpus::Count(0.5))));
    }

    #[test]
    fn a_part_that_is_too_small_is_refused() {
        let pids = Limits { pids: Some(Pids(3)), ..Limits::default() };
        assert!(pids.divided(4).unwrap_err().contains("a limit of 3 processes divided among 4 shards"));
        let memory = Limits { memory: Some(Memory::Bytes(2 << 20)), ..Limits::default() };
        assert!(memory.divided(4).unwrap_err().contains("the minimum is 1 MiB"));
        let cpus = Limits { cpus: Some(Cpus::Count(0.02)), ..Limits::default() };
        cpus.divided(4).unwrap_err();
    }
}
