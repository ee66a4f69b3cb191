//! What a shard has written and nobody has read yet, in a file without a name: it can be more than fits into memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::text::plain;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Names the directory in which the file is.
pub(super) fn in_its_directory(error: io::Error) -> io::Error {
    let directory = std::env::temp_dir();
    io::Error::other(format!("no room for their output in {}: {}", directory.display(), plain(&error)))
}

#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    /// Which stream the next bytes are for, and how many they are.
    pieces: VecDeque<(Stream, u64)>,
    read_to: u64,
    written_to: u64,
}

impl Spool {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, pieces: VecDeque::new(), read_to: 0, written_to: 0 })
    }

    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(bytes, self.written_to).map_err(in_its_directory)?;
        let length = bytes.len() as u64;
        self.written_to += length;
        match self.pieces.back_mut() {
            Some((last, size)) if *last == stream => *size += length,
            _ => self.pieces.push_back((stream, length)),
        }
        Ok(())
    }

    /// The stream that the next bytes are for; `None` if everything was read.
    pub(super) fn next_stream(&self) -> Option<Stream> {
        self.pieces.front().map(|(stream, _)| *stream)
    }

    /// The next bytes of one stream, at most as many as `buffer` holds.
    pub(super) fn peek<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let Some(&(_, size)) = self.pieces.front() else { return Ok(&[]) };
        let length = buffer.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut buffer[..length], self.read_to)?;
        Ok(&buffer[..length])
    }

    /// So many of the bytes that `peek` returned were read.
    pub(super) fn advance(&mut self, length: usize) {
        let Some((_, size)) = self.pieces.front_mut() else { return };
        self.read_to += length as u64;
        *size -= length as u64;
        if *size == 0 {
            self.pieces.pop_front();
        }
        // The shards of a long night should not fill the disk with what was shown already.
        if self.pieces.is_empty() && self.file.set_len(0).is_ok() {
            (self.read_to, self.written_to) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_in_order_and_by_stream() {
        let mut spool = Spool::new().unwrap();
        for (stream, bytes) in
            [(Stream::Out, "a"), (Stream::Out, "bc"), (Stream::Err, "d"), (Stream::Out, "e")]
        {
            spool.push(stream, bytes.as_bytes()).unwrap();
        }
        let (mut read, mut buffer) = (Vec::new(), [0; 2]);
        while let Some(stream) = spool.next_stream() {
            let bytes = spool.peek(&mut buffer).unwrap().to_vec();
            spool.advance(bytes.len());
            read.push((stream, String::from_utf8(bytes).unwrap()));
        }
        let expected = [(Stream::Out, "ab"), (Stream::Out, "c"), (Stream::Err, "d"), (Stream::Out, "e")];
        assert_eq!(read, expected.map(|(stream, bytes)| (stream, bytes.to_string())));
        assert_eq!(spool.file.metadata().unwrap().len(), 0);
    }
}
