//! What a session says about itself, as extended attributes of its cgroup: they go with the object,
//! so no state file can outlive it or be missing.

use std::io;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::process::Pid;

use crate::sys::proc;

/// kernfs takes 64 KiB a value at most (fs/kernfs/inode.c); a command line this long says enough.
const LONGEST: usize = 1024;

/// The supervisor of a session: its pid alone could be somebody else's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub pid: Pid,
    /// Clock ticks after boot.
    pub start_time: u64,
}

impl Owner {
    /// This very process.
    pub fn us() -> io::Result<Self> {
        let pid = rustix::process::getpid();
        match proc::start_time(pid) {
            Some(start_time) => Ok(Self { pid, start_time }),
            None => Err(io::Error::other("cannot read /proc/self/stat; is /proc mounted?")),
        }
    }

    pub fn is_alive(self) -> bool {
        proc::start_time(self.pid) == Some(self.start_time)
    }
}

/// Writes who owns the session and what it runs onto its cgroup.
pub fn write(directory: &Path, owner: Owner, command: &[u8], ports: &[u16]) -> io::Result<()> {
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
    let owner = format!("{} {}", owner.pid, owner.start_time);
    let command = &command[..command.len().min(LONGEST)];
    for (name, value) in [
        ("user.cgrun.owner", owner.as_bytes()),
        ("user.cgrun.command", command),
        ("user.cgrun.ports", ports.as_bytes()),
    ] {
        rustix::fs::setxattr(directory, name, value, XattrFlags::empty())?;
    }
    Ok(())
}

/// The owner as written; `None` where the cgroup carries none, or none that can be read.
pub fn owner(directory: &Path) -> Option<Owner> {
    let mut value = [0u8; 64];
    let length = rustix::fs::getxattr(directory, "user.cgrun.owner", &mut value[..]).ok()?;
    let text = std::str::from_utf8(value.get(..length)?).ok()?;
    let (pid, start_time) = text.split_once(' ')?;
    Some(Owner {
        pid: Pid::from_raw(pid.parse().ok().filter(|&pid: &i32| pid > 0)?)?,
        start_time: start_time.parse().ok()?,
    })
}
