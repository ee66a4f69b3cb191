//! Reads the small files of `/proc` and of cgroups with few system calls. `std::fs::read` asks for the size first, which
//! the kernel does not know, and then reads in small pieces.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::buffer::spare_capacity;

/// Most of these files fit into one read of this many bytes, a page.
const USUAL_BYTES: usize = 4096;
/// No entry of a list is longer: these are pids.
const LONGEST_ENTRY: usize = 16;

/// Reads a file that the kernel returns with one read if the buffer is large enough (`single_open`, linux/fs/seq_file.c).
pub(crate) fn read_single(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read(path, |got, room| got < room)
}

/// Reads a list, of which one read returns as many entries as fit into a page (`seq_read_iter`, linux/fs/seq_file.c).
pub(crate) fn read_list(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read(path, |got, room| got + LONGEST_ENTRY < room.min(USUAL_BYTES))
}

/// Reads a file of which one read may return only a part.
pub(crate) fn read_all(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read(path, |_, _| false)
}

/// Reads at most `most` bytes of a file of which one read returns all that fit.
pub(crate) fn read_start(path: impl AsRef<Path>, most: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(most);
    rustix::io::read(&file, spare_capacity(&mut bytes))?;
    bytes.truncate(most);
    Ok(bytes)
}

/// `is_complete` tells whether the end was reached by a read that returned so many bytes, where there was room for so many.
fn read(path: impl AsRef<Path>, is_complete: impl Fn(usize, usize) -> bool) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    loop {
        let room = bytes.capacity() - bytes.len();
        let got = rustix::io::read(&file, spare_capacity(&mut bytes))?;
        if got == 0 || is_complete(got, room) {
            return Ok(bytes);
        }
        if bytes.capacity() - bytes.len() < USUAL_BYTES {
            bytes.reserve(USUAL_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_to_the_end_whatever_their_size() {
        let directory = tempfile::tempdir().unwrap();
        for length in [0, 1, USUAL_BYTES - 1, USUAL_BYTES, USUAL_BYTES + 1, 5 * USUAL_BYTES] {
            let path = directory.path().join(length.to_string());
            std::fs::write(&path, "x".repeat(length)).unwrap();
            assert_eq!(read_single(&path).unwrap().len(), length);
            assert_eq!(read_list(&path).unwrap().len(), length);
            assert_eq!(read_start(&path, USUAL_BYTES).unwrap().len(), length.min(USUAL_BYTES));
        }
        assert!(read_single(directory.path().join("missing")).is_err());
    }
}
