//! The environment of a process as it stands in its memory.
//!
//! `/proc/PID/environ` is what the process was executed with. One that was forked and has executed
//! nothing since (a daemon's double fork, `multiprocessing`) shows there what its parent was executed
//! with, however the parent has changed it since. The C library keeps the present one in the variable
//! `environ`, whose place the program's or the library's symbol table tells.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::process::Pid;

use super::details::{Glimpse, Image};

/// Bounds: what is beyond is no environment that says anything to us.
const MAPS: u64 = 1 << 20;
const TABLE: u64 = 16 << 20;
const VARIABLES: usize = 4096;
const LONGEST: usize = 4096;
const BLOCK: usize = 512;

/// Reads environments, and remembers where they are.
#[derive(Debug, Default)]
pub struct Memories {
    /// The symbol of each file, by path and inode.
    symbols: HashMap<(String, u64), Option<Symbol>>,
    /// Where the variable is in each image. Those that were forked of one another have one image.
    places: HashMap<Image, Vec<u64>>,
}

/// Where `environ` is in a file, from where the file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Symbol(u64);

impl Memories {
    /// Those variables, of the names asked for, that the process has now; `NAME=VALUE` each. `None` where
    /// its memory cannot be read, or it is built as no program we know is. `executed` is what
    /// `/proc/PID/environ` shows: most of it still stands there, and need not be read again.
    pub fn environment(
        &mut self,
        process: &Glimpse,
        executed: &[u8],
        names: &[&str],
    ) -> Option<Vec<Vec<u8>>> {
        let (pid, image) = (process.pid, process.image);
        let memory = Memory {
            file: File::open(format!("/proc/{pid}/mem")).ok()?,
            known: &process.environment,
            executed,
        };
        if !self.places.contains_key(&image) {
            let found = candidates(pid)?.into_iter().filter_map(|(start, inode, path)| {
                let file = format!("/proc/{pid}/root{path}");
                let symbol = *self.symbols.entry((path, inode)).or_insert_with(|| find(&file));
                start.checked_add(symbol?.0)
            });
            let found = found.collect();
            self.places.insert(image, found);
        }
        // The program first: where it has a copy of the variable, the library uses that.
        for &place in &self.places[&image] {
            let mut array = memory.words(place, 1)?[0];
            if array == 0 {
                continue;
            }
            let mut found = Vec::new();
            for _ in 0..VARIABLES * 8 / BLOCK {
                let texts = memory.words(array, BLOCK / 8)?;
                for &text in &texts {
                    if text == 0 {
                        return Some(found);
                    }
                    found.extend(memory.variable(text, names));
                }
                array = array.checked_add(8 * texts.len() as u64)?;
            }
            return Some(found);
        }
        None
    }
}

/// The program and the C library as they are mapped: address, inode, path.
fn candidates(pid: Pid) -> Option<Vec<(u64, u64, String)>> {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let program = program.to_str()?;
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/maps")).ok()?.take(MAPS).read_to_end(&mut bytes).ok()?;
    let maps = String::from_utf8_lossy(&bytes);
    let mut found: Vec<_> = maps.lines().filter_map(first_mapping).collect();
    let is_library = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("libc.") || name.starts_with("libc-") || name.starts_with("ld-musl-")
    };
    found.retain(|(_, _, path)| path == program || is_library(path));
    found.sort_by_key(|(_, _, path)| path != program);
    Some(found)
}

/// `7f0c1000-7f0c2000 r--p 00000000 fe:01 4711    /lib/libc.so.6`, where the file's begin is mapped.
fn first_mapping(line: &str) -> Option<(u64, u64, String)> {
    let mut fields = line.splitn(6, ' ');
    let (range, _, offset, _, inode, path) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let start = u64::from_str_radix(range.split('-').next()?, 16).ok()?;
    let is_first = offset.bytes().all(|digit| digit == b'0');
    is_first.then_some(())?;
    Some((start, inode.parse().ok()?, path.trim_start().to_string()))
}

/// What a process has in its memory.
struct Memory<'a> {
    file: File,
    /// What of it is known already, and where it stands.
    executed: &'a [u8],
    known: &'a Range<u64>,
}

impl Memory<'_> {
    /// Up to so many words, at least one.
    fn words(&self, at: u64, count: usize) -> Option<Vec<u64>> {
        let mut bytes = vec![0; 8 * count];
        let length = self.file.read_at(&mut bytes, at).ok()?;
        let words: Vec<_> =
            bytes[..length].as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        (!words.is_empty()).then_some(words)
    }

    fn variable(&self, at: u64, names: &[&str]) -> Option<Vec<u8>> {
        let is_one = |text: &[u8]| {
            names
                .iter()
                .any(|name| text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
        };
        if let Some(text) = self.known_text(at) {
            return is_one(text).then(|| text[..text.len().min(LONGEST)].to_vec());
        }
        let mut text = Vec::new();
        while text.len() < LONGEST {
            let mut block = [0; BLOCK];
            let length = self.file.read_at(&mut block, at.checked_add(text.len() as u64)?).ok()?;
            let end = block[..length].iter().position(|&byte| byte == 0);
            text.extend_from_slice(&block[..end.unwrap_or(length)]);
            if !is_one(&text) {
                return None;
            }
            if end.is_some() || length == 0 {
                break;
            }
        }
        Some(text)
    }

    /// `None` also where the end of it was not read.
    fn known_text(&self, at: u64) -> Option<&[u8]> {
        let begin = self.known.contains(&at).then(|| at - self.known.start)?;
        let rest = self.executed.get(usize::try_from(begin).ok()?..)?;
        rest.iter().position(|&byte| byte == 0).map(|end| &rest[..end])
    }
}

/// Looks `environ` up in the dynamic symbols of an ELF file (elf(5)) of our own kind.
fn find(path: &str) -> Option<Symbol> {
    // Whatever took the file's place since: a FIFO would keep us waiting for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    file.metadata().is_ok_and(|it| it.is_file()).then_some(())?;
    let header = bytes(&file, 0, 64)?;
    // 64 bits, little-endian.
    header.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    if cfg!(target_endian = "big") {
        return None;
    }
    let (sections, size, count) = (u64_at(&header, 40)?, u16_at(&header, 58)?, u16_at(&header, 60)?);
    let table = bytes(&file, sections, u64::from(size) * u64::from(count))?;
    let section = |index: usize| table.get(index * usize::from(size)..)?.get(..64);
    let is_symbols = |section: &&[u8]| u32_at(section, 4) == Some(11);
    let symbols = (0..usize::from(count)).filter_map(section).find(is_symbols)?;
    let names = section(u32_at(symbols, 40)? as usize)?;
    let content = |section: &[u8]| bytes(&file, u64_at(section, 24)?, u64_at(section, 32)?);
    let (symbols, names) = (content(symbols)?, content(names)?);
    let value = symbols.chunks_exact(24).find_map(|symbol| {
        let is_defined = u16_at(symbol, 6)? != 0;
        let name = names.get(u32_at(symbol, 0)? as usize..)?;
        let is_it = name.starts_with(b"environ\0") || name.starts_with(b"__environ\0");
        (is_defined && is_it).then(|| u64_at(symbol, 8)).flatten()
    })?;
    Some(Symbol(value.wrapping_sub(first_address(&file, &header)?)))
}

/// The address at which the file says that its begin is to be mapped.
fn first_address(file: &File, header: &[u8]) -> Option<u64> {
    let (at, size, count) = (u64_at(header, 32)?, u16_at(header, 54)?, u16_at(header, 56)?);
    let table = bytes(file, at, u64::from(size) * u64::from(count))?;
    let segments = table.chunks_exact(usize::from(size).max(56));
    let loaded = segments.filter(|segment| u32_at(segment, 0) == Some(1) && u64_at(segment, 8) == Some(0));
    loaded.filter_map(|segment| u64_at(segment, 16)).next()
}

fn bytes(file: &File, at: u64, length: u64) -> Option<Vec<u8>> {
    (length <= TABLE).then_some(())?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::environ::environ;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn sees_what_a_process_has_set_since_it_was_executed() {
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
        let (glimpse, executed) = (Glimpse::of(pid).unwrap(), environ(pid).unwrap());
        let length = glimpse.environment.end - glimpse.environment.start;
        assert_eq!(length, executed.len() as u64, "it stands where it is said to");
        let mut found = Memories::default().environment(&glimpse, &executed, &names).unwrap();
        let mut elsewhere = glimpse;
        elsewhere.environment = 0..0;
        let mut read_again = Memories::default().environment(&elsewhere, &[], &names).unwrap();
        read_again.sort();
        found.sort();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(found, [b"CGRUN_TEST_EARLY=1".to_vec(), b"CGRUN_TEST_LATE=a b".to_vec()]);
        assert_eq!(read_again, found);
    }

    #[test]
    fn what_is_no_program_has_no_symbols() {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("empty", &b""[..]),
            ("text", b"#!/bin/sh\n"),
            ("cut", b"\x7fELF\x02\x01\x01"),
            ("full", &[255; 500]),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(find(path.to_str().unwrap()), None, "{name}");
        }
        // Cut off anywhere, a real one is read without a panic.
        let real = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in (0..4096).step_by(61) {
            let path = directory.path().join("part");
            std::fs::write(&path, &real[..length]).unwrap();
            let _ = find(path.to_str().unwrap());
        }
    }
}
