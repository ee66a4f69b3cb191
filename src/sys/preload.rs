//! Gets rid of the libraries that the environment preloads. They are meant for the session. In a supervisor they can do
//! harm: stop its clock, hide which user it runs as, or start a thread, after which a fork is unsafe.

use std::ffi::{CStr, CString, OsString, c_char, c_ulong};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The variables that make the loader load additional libraries (ld.so(8)). LD_LIBRARY_PATH is not one of them: cgrun
/// may need it to start, and it is meant to replace libraries only with equivalent ones.
const VARIABLES: [&str; 2] = ["LD_PRELOAD", "LD_AUDIT"];
/// Precedes the name of a variable that is kept for the session.
const KEPT: &str = "CGRUN_KEPT_";
/// Keeps the name of this process, which would otherwise become `exe`.
const KEPT_NAME: &str = "CGRUN_KEPT_NAME";
const OURSELVES: &CStr = c"/proc/self/exe";

/// Executes this program again without those libraries if there are any, and then restores the environment and the name
/// of the process. The pid, the open descriptors and pending signals stay the same. If it fails, this program continues
/// with the libraries.
///
/// Must be called first, while this process has a single thread.
pub(crate) fn shed_libraries() {
    let kept = take_kept();
    if was_executed_again() {
        restore(kept);
    } else if VARIABLES.iter().any(|it| std::env::var_os(it).is_some_and(|it| !it.is_empty())) {
        let _ = execute_again();
    }
}

/// Whether libraries may be loaded into this process that wrap the calls it makes.
pub(super) fn may_be_loaded() -> bool {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
    VARIABLES.iter().any(is_set) && !was_executed_again() || Path::new("/etc/ld.so.preload").exists()
}

/// Whether the kernel was told to execute `/proc/self/exe`, as only this program does. Anyone can set the variables.
fn was_executed_again() -> bool {
    let path = auxiliary(libc::AT_EXECFN) as *const c_char;
    // SAFETY: the kernel puts this string on the stack of the process, where it stays (getauxval(3)).
    !path.is_null() && unsafe { CStr::from_ptr(path) } == OURSELVES && auxiliary(libc::AT_SECURE) == 0
}

/// Removes the kept variables from the environment, and returns them.
fn take_kept() -> Vec<(OsString, OsString)> {
    let is_kept = |(name, _): &(OsString, OsString)| name.as_bytes().starts_with(KEPT.as_bytes());
    let kept: Vec<_> = std::env::vars_os().filter(is_kept).collect();
    for (name, _) in &kept {
        // SAFETY: this process has one thread, so no other one reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    kept
}

fn restore(kept: Vec<(OsString, OsString)>) {
    for (name, value) in kept {
        let variable = VARIABLES.iter().find(|it| name.as_bytes()[KEPT.len()..] == *it.as_bytes());
        if let Some(variable) = variable {
            // SAFETY: this process has one thread, so no other one reads the environment meanwhile.
            unsafe { std::env::set_var(variable, value) };
        } else if name == KEPT_NAME {
            let _ = CString::new(value.into_vec()).map(|name| rustix::thread::set_name(&name));
        }
    }
}

/// Returns only if it fails.
fn execute_again() -> Option<()> {
    is_this_program().then_some(())?;
    let arguments = strings(std::env::args_os())?;
    let mut name = OsString::from(KEPT_NAME);
    name.push("=");
    name.push(OsString::from_vec(rustix::thread::name().ok()?.into_bytes()));
    let environment = std::env::vars_os().map(|(name, value)| {
        let keep = VARIABLES.iter().any(|it| name == *it);
        let mut entry = OsString::from(if keep { KEPT } else { "" });
        entry.push(name);
        entry.push("=");
        entry.push(value);
        entry
    });
    let environment = strings(environment.chain([name]))?;
    // SAFETY: as execve(2) requires, the arrays end with a null pointer, and their strings outlive the call. It is called
    // by its number because a library may have replaced the function of libc.
    unsafe {
        libc::syscall(
            libc::SYS_execve,
            OURSELVES.as_ptr(),
            pointers(&arguments).as_ptr(),
            pointers(&environment).as_ptr(),
        );
    }
    None
}

/// Whether `/proc/self/exe` is this program, rather than a loader or an emulator that runs it. Executing one of those
/// with our arguments could run the command without cgrun.
fn is_this_program() -> bool {
    // The kernel does not load a loader for a program that is a loader itself.
    if auxiliary(libc::AT_BASE) == 0 {
        return false;
    }
    // An emulator may pretend that its file is ours if it is opened, but not if it is executed.
    let path = OsString::from_vec(OURSELVES.to_bytes().to_vec());
    let (Ok(file), Ok(metadata)) = (File::open(&path), std::fs::metadata(&path)) else { return false };
    let is_same = |it: std::fs::Metadata| (it.dev(), it.ino()) == (metadata.dev(), metadata.ino());
    let mut start = Vec::new();
    if !file.metadata().is_ok_and(is_same) || file.take(4096).read_to_end(&mut start).is_err() {
        return false;
    }
    let size = auxiliary(libc::AT_PHENT) as usize * auxiliary(libc::AT_PHNUM) as usize;
    let headers = auxiliary(libc::AT_PHDR) as *const u8;
    if headers.is_null() || size == 0 {
        return false;
    }
    // SAFETY: the kernel says where the program headers of this program are; they stay mapped and are never written.
    let headers = unsafe { std::slice::from_raw_parts(headers, size) };
    start.windows(size).any(|it| it == headers)
}

/// An entry of the auxiliary vector, or 0 (getauxval(3)).
fn auxiliary(kind: c_ulong) -> c_ulong {
    // SAFETY: it only reads what the kernel has given this process.
    unsafe { libc::getauxval(kind) }
}

fn strings(words: impl Iterator<Item = OsString>) -> Option<Vec<CString>> {
    words.map(|word| CString::new(word.into_vec()).ok()).collect()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|it| it.as_ptr()).chain([std::ptr::null()]).collect()
}
