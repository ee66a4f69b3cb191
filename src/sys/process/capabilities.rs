//! Dropping capabilities between fork and exec, where nothing may allocate (the `caps` crate does).

use nix::errno::Errno;

/// `_LINUX_CAPABILITY_VERSION_3` (linux/capability.h): two sets of 32 capabilities.
const VERSION_3: u32 = 0x2008_0522;
const CAP_SETPCAP: u32 = 8;
/// No kernel has more capabilities than the sets have bits.
const MOST: libc::c_ulong = 64;

/// The kernel reads a prctl(2) argument as unsigned long.
const UNUSED: libc::c_ulong = 0;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Empties the ambient, inheritable, effective and permitted sets of this thread.
pub(super) fn drop_all() -> nix::Result<()> {
    // SAFETY: clears a set of this thread and reads no memory (PR_CAP_AMBIENT(2const)).
    let cleared = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
            UNUSED,
            UNUSED,
            UNUSED,
        )
    };
    Errno::result(cleared)?;
    let mut header = Header { version: VERSION_3, pid: 0 };
    let none = [Sets::default(); 2];
    // SAFETY: both structures are laid out as capset(2) reads them, and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) }).map(drop)
}

/// Whether this thread can empty its bounding set, which requires CAP_SETPCAP.
pub(super) fn may_drop_bounding() -> nix::Result<bool> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both structures are laid out as capget(2) reads and fills them, and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets[0].effective & 1 << CAP_SETPCAP != 0)
}

/// Empties the bounding set.
pub(super) fn drop_bounding() -> nix::Result<()> {
    for capability in 0..MOST {
        // SAFETY: changes a set of this thread and reads no memory (PR_CAPBSET_DROP(2const)).
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, UNUSED, UNUSED, UNUSED) })
        {
            // This is beyond the last capability that the kernel knows.
            Err(Errno::EINVAL) => break,
            other => drop(other?),
        }
    }
    Ok(())
}
