//! Socket activation (sd_listen_fds(3)): a process that passes on listening sockets names the process they are for in
//! `LISTEN_PID`. If that is us, they are for the program that we start, whose pid is known only after the fork. If we do
//! the work of the first process of a container, the variable names that process.

use std::cell::Cell;
use std::ffi::{CString, c_char};

use super::first_process;

const NAME: &[u8] = b"LISTEN_PID=";
/// The digits of a pid, and NUL.
const LONGEST: usize = 11;

/// The variable, with room for any pid.
pub(super) struct ListenPid(Box<[Cell<u8>]>);

impl ListenPid {
    /// The position of the variable in the environment, and its replacement; `None` if it does not name us.
    pub(super) fn named_us(env: &[CString]) -> Option<(usize, Self)> {
        let first = first_process::is_behind_us().then_some(1);
        let ours = |pid: u32| [NAME, pid.to_string().as_bytes()].concat();
        let ours: Vec<_> = first.into_iter().chain([std::process::id()]).map(ours).collect();
        let position = env.iter().position(|entry| ours.iter().any(|it| entry.as_bytes() == it))?;
        let room = NAME.iter().copied().chain([0; LONGEST]);
        Some((position, Self(room.map(Cell::new).collect())))
    }

    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Sets it to our own pid. Async-signal-safe: allocates nothing.
    pub(super) fn set_to_us(&self) {
        // Not std::process::id(), whose value may be outdated after a fork or in a namespace.
        self.set(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs());
    }

    fn set(&self, mut pid: u32) {
        let digits = pid.checked_ilog10().unwrap_or(0) as usize + 1;
        let value = &self.0[NAME.len()..];
        for place in value[..digits].iter().rev() {
            place.set(b'0' + (pid % 10) as u8);
            pid /= 10;
        }
        value[digits].set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_written_in_full() {
        let entry = |pid: u32| CString::new(format!("LISTEN_PID={pid}")).unwrap();
        assert!(ListenPid::named_us(&[entry(1)]).is_none());
        let (position, variable) = ListenPid::named_us(&[c"A=1".into(), entry(std::process::id())]).unwrap();
        assert_eq!(position, 1);
        for pid in [7, 10, u32::MAX, 4711] {
            variable.set(pid);
            let written: Vec<u8> = variable.0.iter().map(Cell::get).take_while(|&byte| byte != 0).collect();
            assert_eq!(written, entry(pid).into_bytes());
        }
    }
}
