//! The environment that this process was started with, as others see it in `/proc/PID/environ`.

use std::ffi::CStr;

/// Overwrites all variables except these, so that this process can no longer be found by them.
///
/// Must be called while this process has a single thread, and holds no reference into its environment.
pub(crate) fn forget_environment(kept: &[&str]) {
    // SAFETY: `environ` is an array of NUL-terminated strings that ends with a null pointer (environ(7)). The strings
    // are on our initial stack or heap, which are writable, and no other thread reads them.
    unsafe {
        let mut from = libc::environ;
        let mut to = from;
        while !from.is_null() && !(*from).is_null() {
            let entry = CStr::from_ptr(*from).to_bytes();
            let name = entry.split(|&byte| byte == b'=').next().unwrap_or_default();
            if kept.iter().any(|kept| kept.as_bytes() == name) {
                *to = *from;
                to = to.add(1);
            } else {
                std::ptr::write_bytes(*from, 0, entry.len());
            }
            from = from.add(1);
        }
        if !to.is_null() {
            *to = std::ptr::null_mut();
        }
    }
}
