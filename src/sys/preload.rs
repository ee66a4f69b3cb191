//! Gets rid of the libraries that the environment preloads. They are meant for the session. In a supervisor they can do
//! harm: stop its clock, hide which user it runs as, or start a thread, after which a fork is unsafe.

use std::ffi::{CString, OsString, c_char};
use std::os::unix::ffi::OsStringExt;

/// The variables that make the loader load libraries of others (ld.so(8)). The last one alone is no reason to execute this
/// program again, because it is common and replaces only libraries that are meant to be equivalent.
const VARIABLES: [&str; 3] = ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"];
/// Precedes the name of a variable that is kept for the session.
const KEPT: &str = "CGRUN_KEPT_";

/// Executes this program again without those libraries if there are any, and then restores the environment. The pid, the
/// open descriptors and pending signals stay the same. If it fails, this program continues with the libraries.
///
/// Must be called first, while this process has a single thread.
pub(crate) fn shed_libraries() {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
    if !restore_environment() && VARIABLES[..2].iter().any(is_set) {
        let _ = execute_again();
    }
}

/// Restores the variables that were kept. Returns whether there were any.
fn restore_environment() -> bool {
    let mut any = false;
    for name in VARIABLES {
        let kept = format!("{KEPT}{name}");
        if let Some(value) = std::env::var_os(&kept) {
            // SAFETY: this process has one thread, so no other one reads the environment meanwhile.
            unsafe {
                std::env::set_var(name, value);
                std::env::remove_var(kept);
            }
            any = true;
        }
    }
    any
}

/// Returns only if it fails.
fn execute_again() -> Option<()> {
    let arguments = strings(std::env::args_os())?;
    let environment = strings(std::env::vars_os().map(|(name, value)| {
        let keep = VARIABLES.iter().any(|it| name == *it);
        let mut entry = OsString::from(if keep { KEPT } else { "" });
        entry.push(name);
        entry.push("=");
        entry.push(value);
        entry
    }))?;
    // SAFETY: as execve(2) requires, the arrays end with a null pointer, and their strings outlive the call. It is called
    // by its number because a library may have replaced the function of libc.
    unsafe {
        libc::syscall(
            libc::SYS_execve,
            c"/proc/self/exe".as_ptr(),
            pointers(&arguments).as_ptr(),
            pointers(&environment).as_ptr(),
        );
    }
    None
}

fn strings(words: impl Iterator<Item = OsString>) -> Option<Vec<CString>> {
    words.map(|word| CString::new(word.into_vec()).ok()).collect()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|it| it.as_ptr()).chain([std::ptr::null()]).collect()
}
