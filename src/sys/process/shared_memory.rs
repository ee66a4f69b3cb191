//! Creates a process that shares our memory until it executes a program, as posix_spawn(3) does, but in a cgroup. The
//! kernel then copies no page tables, and neither process has to copy the pages that it writes to.
//!
//! Only on x86-64: the new process needs a stack of its own, and only assembly can call a function on it.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

use super::fork::into_cgroup;
use super::pidfd::Process;
use crate::sys::preload;

/// Before this version, a core dump kills all processes that share the memory (Linux commit 0258b5fd7c71).
const SINCE: (u32, u32) = (5, 17);
/// Far more than what happens between the creation of a process and its exec.
const SIZE: usize = 32 * 1024;

/// Whether memory can be shared here. A preloaded library that wraps the calls before the exec may allocate, or need more
/// stack.
pub(super) fn is_safe() -> bool {
    cfg!(target_arch = "x86_64") && !preload::may_be_loaded() && kernel_version() >= Some(SINCE)
}

fn kernel_version() -> Option<(u32, u32)> {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().ok()?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The stack of the new process. It lies on ours, in pages that were used before.
#[repr(align(16))]
pub(super) struct Stack(MaybeUninit<[u8; SIZE]>);

impl Stack {
    pub(super) fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

/// Creates a process in the cgroup `directory` that calls `begin` with `argument`, while we go on.
///
/// # Safety
/// As vfork(2): `begin` makes only async-signal-safe calls and executes or exits. It must not take on another user,
/// which would change whether we are dumpable (prctl(2)). `stack`, and all that `argument` leads to, must stay until it
/// has executed, has exited, or was killed: after SIGKILL it runs no more code.
pub(super) unsafe fn create(
    directory: BorrowedFd<'_>,
    stack: &mut Stack,
    begin: unsafe extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
) -> io::Result<Process> {
    let mut pidfd: c_int = -1;
    let mut args = into_cgroup(directory, &mut pidfd);
    args.flags |= libc::CLONE_VM as u64;
    args.stack = stack.0.as_mut_ptr() as u64;
    args.stack_size = SIZE as u64;
    #[cfg(not(target_arch = "x86_64"))]
    let answer = {
        let _ = (&raw mut args, begin, argument);
        -i64::from(libc::ENOSYS)
    };
    #[cfg(target_arch = "x86_64")]
    let answer: i64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the parent continues after the label, with its registers and stack as they were. The child has an aligned
    // stack of its own, and calls a function that does not return. `args` and `pidfd` outlive the call.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") &raw mut args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") argument,
            in("r13") begin,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match i32::try_from(answer).ok().filter(|&pid| pid > 0).and_then(Pid::from_raw) {
        // SAFETY: the kernel has just stored a new descriptor there, which nothing else owns.
        Some(pid) => Ok(Process::from_parts(pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
        None => Err(io::Error::from_raw_os_error(-answer as i32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_this_kernel_is_known() {
        assert!(kernel_version() >= Some((5, 7)), "{:?}", kernel_version());
    }
}
