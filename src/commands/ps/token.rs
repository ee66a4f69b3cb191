//! A moment in the life of a host, in terms of its processes: a token divides them into older and newer ones.
//!
//! Start times are in clock ticks of 10 ms, so several processes can share one. The kernel allocates pids in
//! ascending order, which tells those apart. So a token is one process: the cgrun that printed it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;

use crate::sys::procfs::stat::{ProcStat, ProcessKey};
use crate::sys::small_file::read_single;

/// The kernel's default on large machines (`PID_MAX_LIMIT`, linux/threads.h).
const MOST_PIDS: i32 = 1 << 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pid: i32,
    /// Clock ticks after boot.
    started: u64,
}

impl Token {
    /// This process. What its caller starts from now on is newer.
    pub(super) fn now() -> Result<Self> {
        let us = ProcStat::read(rustix::process::getpid());
        Ok(Self::of(us.context("cannot read /proc/self/stat; is /proc mounted?")?.key()))
    }

    fn of((pid, started): ProcessKey) -> Self {
        Self { pid: pid.as_raw_nonzero().get(), started }
    }

    /// Fails if the token cannot have been made here before this process was started.
    pub(super) fn check(self) -> Result<Self> {
        if self.started > Self::now()?.started {
            bail!(
                "the token {self} is from another boot or time namespace; get one where it is used, with: cgrun ps \
                 --token"
            );
        }
        Ok(self)
    }

    /// Whether the process was started after the one that printed the token.
    pub(super) fn is_before(self, stat: &ProcStat) -> bool {
        self.is_before_key(stat.key(), most_pids)
    }

    fn is_before_key(self, (pid, started): ProcessKey, most_pids: impl FnOnce() -> i32) -> bool {
        match started.cmp(&self.started) {
            Ordering::Greater => true,
            Ordering::Less => false,
            // Pids wrap around, and nobody allocates half of them within one tick.
            Ordering::Equal => {
                let most_pids = most_pids();
                let distance = (pid.as_raw_nonzero().get() - self.pid).rem_euclid(most_pids);
                distance > 0 && distance < most_pids / 2
            }
        }
    }
}

fn most_pids() -> i32 {
    let text = read_single("/proc/sys/kernel/pid_max").unwrap_or_default();
    String::from_utf8_lossy(&text).trim().parse().unwrap_or(MOST_PIDS)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started, self.pid)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (started, pid) = text.split_once('.')?;
            let pid = pid.parse().ok().filter(|&pid| pid > 0).and_then(Pid::from_raw)?;
            Some(Self::of((pid, started.parse().ok()?)))
        };
        parse().ok_or_else(|| format!("invalid token {text:?}; get one with: cgrun ps --token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pid: i32, started: u64) -> ProcessKey {
        (Pid::from_raw(pid).unwrap(), started)
    }

    #[test]
    fn processes_of_the_same_tick_are_told_apart_by_their_pids() {
        let token = Token::of(key(500, 70));
        for (pid, started, is_newer) in
            [(499, 70, false), (500, 70, false), (501, 70, true), (499, 71, true), (501, 69, false)]
        {
            assert_eq!(token.is_before_key(key(pid, started), || 32768), is_newer, "{pid} {started}");
        }
    }

    #[test]
    fn pids_wrap_around() {
        let token = Token::of(key(32760, 70));
        assert!(
            token.is_before_key(key(301, 70), || 32768) && !token.is_before_key(key(32700, 70), || 32768)
        );
        let token = Token::of(key(301, 70));
        assert!(!token.is_before_key(key(32760, 70), || 32768));
    }

    #[test]
    fn a_token_is_read_back() {
        let token = Token::now().unwrap();
        assert_eq!(token.to_string().parse(), Ok(token));
        for wrong in ["", "1", "1.", ".1", "1.0", "1.-2", "x.1", "1.2.3"] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
        assert!(token.check().is_ok() && Token { started: u64::MAX, ..token }.check().is_err());
    }
}
