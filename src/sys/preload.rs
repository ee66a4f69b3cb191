//! Without the libraries that the environment preloads. They are meant for the session, and in a supervisor each
//! could do harm: stop its clock, hide whose user it is, or start a thread, after which a fork is unsafe.

use std::ffi::{CString, OsString, c_char};
use std::os::unix::ffi::OsStringExt;

/// What makes the loader load them (ld.so(8)).
const VARIABLES: [&str; 2] = ["LD_PRELOAD", "LD_AUDIT"];
/// Goes before the name of a variable that the session is to have again.
const KEPT: &str = "CGRUN_KEPT_";

/// Executes this program once more if the environment has had libraries loaded into it, and then puts the
/// environment right again. If that is impossible, it goes on with them. It keeps its pid, its descriptors and the
/// signals that are pending.
///
/// Must be called first, while this process has a single thread.
pub(crate) fn shed_libraries() {
    if !give_back() && VARIABLES.iter().any(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty())) {
        let _ = execute_again();
    }
}

/// `false` if nothing was kept.
fn give_back() -> bool {
    let mut any = false;
    for name in VARIABLES {
        let kept = format!("{KEPT}{name}");
        if let Some(value) = std::env::var_os(&kept) {
            // SAFETY: this process has one thread, so that none reads the environment meanwhile.
            unsafe {
                std::env::set_var(name, value);
                std::env::remove_var(kept);
            }
            any = true;
        }
    }
    any
}

/// Returns only if that fails.
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
    // SAFETY: the arrays end with a null pointer, and the strings that they point to outlive the call, as execve(2)
    // needs. By its number, because a library may have put a function of its own before libc's.
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
