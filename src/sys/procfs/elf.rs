//! Finds the variable `environ` of a program or library in its ELF symbol table (elf(5)).

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::sys::regular_file::open_regular;

/// At most this many bytes of one table are read. No real table is larger.
const MOST_TABLE_BYTES: u64 = 16 << 20;

/// The offset of the variable `environ` from the address at which the file is mapped, from the dynamic
/// symbols of a 64-bit little-endian ELF file. `None` for any other file.
pub(super) fn environ_offset(path: &str) -> Option<u64> {
    let file = open_regular(path, 0).ok()??;
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
    Some(value.wrapping_sub(first_address(&file, &header)?))
}

/// The address that the file requests for its first byte.
fn first_address(file: &File, header: &[u8]) -> Option<u64> {
    let (at, size, count) = (u64_at(header, 32)?, u16_at(header, 54)?, u16_at(header, 56)?);
    let table = bytes(file, at, u64::from(size) * u64::from(count))?;
    let segments = table.chunks_exact(usize::from(size).max(56));
    let loaded = segments.filter(|segment| u32_at(segment, 0) == Some(1) && u64_at(segment, 8) == Some(0));
    loaded.filter_map(|segment| u64_at(segment, 16)).next()
}

fn bytes(file: &File, at: u64, length: u64) -> Option<Vec<u8>> {
    (length <= MOST_TABLE_BYTES).then_some(())?;
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

    #[test]
    fn files_that_are_not_programs_have_no_symbols() {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("empty", &b""[..]),
            ("text", b"#!/bin/sh\n"),
            ("cut", b"\x7fELF\x02\x01\x01"),
            ("full", &[255; 500]),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(environ_offset(path.to_str().unwrap()), None, "{name}");
        }
        // Reading a real program causes no panic, wherever it is cut off.
        let real = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in (0..4096).step_by(61) {
            let path = directory.path().join("part");
            std::fs::write(&path, &real[..length]).unwrap();
            let _ = environ_offset(path.to_str().unwrap());
        }
    }
}
