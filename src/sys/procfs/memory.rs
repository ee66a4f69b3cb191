//! The current environment of a process, read from its memory.
//!
//! `/proc/PID/environ` shows the environment that the process was executed with. A process that was forked
//! and has executed nothing since (the double fork of a daemon, `multiprocessing`) still shows the one that
//! its parent was executed with, even if the parent has since changed its environment. The C library keeps
//! the current one in the variable `environ`, whose address is in the symbol table of the program or the
//! library.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

use super::elf::environ_offset;
use super::stat::{Image, ProcStat};

/// Most lists of mappings fit into this many bytes.
const USUAL_MAPS_BYTES: usize = 1 << 14;
/// Bounds in bytes and entries: no environment that is useful to us exceeds them.
const MOST_MAPS_BYTES: u64 = 1 << 20;
const MOST_VARIABLES: usize = 4096;
const MOST_VARIABLE_BYTES: usize = 4096;
/// How many bytes of a process's memory are read at a time.
const BLOCK: usize = 512;
const WORD: usize = size_of::<u64>();

/// Reads current environments, and caches their addresses.
#[derive(Debug, Default)]
pub(crate) struct EnvironmentReader {
    /// The offset of `environ` in each file, by path and inode.
    offsets: HashMap<(String, u64), Option<u64>>,
    /// The addresses of `environ` in each image. Processes forked from one another share one image.
    addresses: HashMap<Image, Vec<u64>>,
}

impl EnvironmentReader {
    /// The variables in `names` that the process has now, each as `NAME=VALUE`. `None` if its memory cannot
    /// be read or has an unknown layout. `executed` is the content of `/proc/PID/environ`: most variables
    /// still point into it and need no second read.
    pub(crate) fn environment(
        &mut self,
        process: &ProcStat,
        executed: &[u8],
        names: &[&str],
    ) -> Option<Vec<Vec<u8>>> {
        let memory = ProcessMemory {
            file: File::open(format!("/proc/{}/mem", process.pid)).ok()?,
            executed,
            executed_range: &process.environment,
        };
        for &address in self.addresses_of_environ(process)? {
            let array = memory.words(address, 1)?[0];
            if array != 0 {
                return memory.variables(array, names);
            }
        }
        None
    }

    /// The program's own comes first: if it has a copy of the variable, the library uses that one.
    fn addresses_of_environ(&mut self, process: &ProcStat) -> Option<&[u64]> {
        let (pid, image) = (process.pid, process.image);
        if !self.addresses.contains_key(&image) {
            let addresses = program_and_library(pid)?.into_iter().filter_map(|(start, inode, path)| {
                let file = format!("/proc/{pid}/root{path}");
                let offset = *self.offsets.entry((path, inode)).or_insert_with(|| environ_offset(&file));
                start.checked_add(offset?)
            });
            let addresses = addresses.collect();
            self.addresses.insert(image, addresses);
        }
        self.addresses.get(&image).map(Vec::as_slice)
    }
}

/// At most `length` bytes of the memory of a process. `None` if it cannot be read.
pub(crate) fn read_memory(pid: Pid, address: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = File::open(format!("/proc/{pid}/mem")).ok()?.read_at(&mut bytes, address).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

/// The program and the C library as they are mapped: address, inode, path.
fn program_and_library(pid: Pid) -> Option<Vec<(u64, u64, String)>> {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let program = program.to_str()?;
    let mut bytes = Vec::with_capacity(USUAL_MAPS_BYTES);
    File::open(format!("/proc/{pid}/maps")).ok()?.take(MOST_MAPS_BYTES).read_to_end(&mut bytes).ok()?;
    let maps = String::from_utf8_lossy(&bytes);
    let mut mappings: Vec<_> = maps.lines().filter_map(first_mapping).collect();
    let is_library = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("libc.") || name.starts_with("libc-") || name.starts_with("ld-musl-")
    };
    mappings.retain(|(_, _, path)| path == program || is_library(path));
    mappings.sort_by_key(|(_, _, path)| path != program);
    Some(mappings)
}

/// Parses `7f0c1000-7f0c2000 r--p 00000000 fe:01 4711    /lib/libc.so.6` (proc_pid_maps(5)); `None` unless
/// it maps the beginning of a file.
fn first_mapping(line: &str) -> Option<(u64, u64, String)> {
    let mut fields = line.splitn(6, ' ');
    let (range, _, offset, _, inode, path) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let start = u64::from_str_radix(range.split('-').next()?, 16).ok()?;
    let is_beginning = offset.bytes().all(|digit| digit == b'0');
    is_beginning.then_some(())?;
    Some((start, inode.parse().ok()?, path.trim_start().to_string()))
}

/// The memory of one process (`/proc/PID/mem`).
struct ProcessMemory<'a> {
    file: File,
    /// The part of the memory that was already read, and its address.
    executed: &'a [u8],
    executed_range: &'a Range<u64>,
}

impl ProcessMemory<'_> {
    /// The variables that the null-terminated array at `array` points to.
    fn variables(&self, mut array: u64, names: &[&str]) -> Option<Vec<Vec<u8>>> {
        let mut variables = Vec::new();
        for _ in 0..MOST_VARIABLES * WORD / BLOCK {
            let pointers = self.words(array, BLOCK / WORD)?;
            for &pointer in &pointers {
                if pointer == 0 {
                    return Some(variables);
                }
                variables.extend(self.variable(pointer, names));
            }
            array = array.checked_add((WORD * pointers.len()) as u64)?;
        }
        Some(variables)
    }

    /// At least one word and at most `count`.
    fn words(&self, address: u64, count: usize) -> Option<Vec<u64>> {
        let mut bytes = vec![0; WORD * count];
        let length = self.file.read_at(&mut bytes, address).ok()?;
        let words: Vec<_> = bytes[..length]
            .chunks_exact(WORD)
            .filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes))
            .collect();
        (!words.is_empty()).then_some(words)
    }

    /// The variable at `address`, if it has one of these names.
    fn variable(&self, address: u64, names: &[&str]) -> Option<Vec<u8>> {
        let is_wanted = |text: &[u8]| {
            names
                .iter()
                .any(|name| text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
        };
        if let Some(text) = self.already_read(address) {
            return is_wanted(text).then(|| text[..text.len().min(MOST_VARIABLE_BYTES)].to_vec());
        }
        let mut text = Vec::new();
        while text.len() < MOST_VARIABLE_BYTES {
            let mut block = [0; BLOCK];
            let length = self.file.read_at(&mut block, address.checked_add(text.len() as u64)?).ok()?;
            let end = block[..length].iter().position(|&byte| byte == 0);
            text.extend_from_slice(&block[..end.unwrap_or(length)]);
            if !is_wanted(&text) {
                return None;
            }
            if end.is_some() || length == 0 {
                break;
            }
        }
        Some(text)
    }

    /// The text at `address`, if it was read together with `/proc/PID/environ` up to its end.
    fn already_read(&self, address: u64) -> Option<&[u8]> {
        let start = self.executed_range.contains(&address).then(|| address - self.executed_range.start)?;
        let rest = self.executed.get(usize::try_from(start).ok()?..)?;
        rest.iter().position(|&byte| byte == 0).map(|end| &rest[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::procfs::environ::environ;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn sees_variables_set_after_exec() {
        let script = "import os; os.environ['CGRUN_TEST_LATE'] = 'a b'; print(flush=True); input()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .env("CGRUN_TEST_EARLY", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let names = ["CGRUN_TEST_LATE", "CGRUN_TEST_EARLY", "CGRUN_TEST_NEVER"];
        let (stat, executed) = (ProcStat::read(pid).unwrap(), environ(pid).unwrap());
        let length = stat.environment.end - stat.environment.start;
        assert_eq!(length, executed.len() as u64, "the stat tells where the environment is");
        let mut variables = EnvironmentReader::default().environment(&stat, &executed, &names).unwrap();
        let mut elsewhere = stat;
        elsewhere.environment = 0..0;
        let mut read_again = EnvironmentReader::default().environment(&elsewhere, &[], &names).unwrap();
        read_again.sort();
        variables.sort();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(variables, [b"CGRUN_TEST_EARLY=1".to_vec(), b"CGRUN_TEST_LATE=a b".to_vec()]);
        assert_eq!(read_again, variables);
    }
}
