//! The body of a request that is changed: read as a whole (RFC 9112, 6 and 7.1).

use std::io::{self, Read, Write};

use super::head::{BadRequest, Head};

/// What describes a container is a few KiB.
const LONGEST: usize = 4 << 20;
/// A chunk's length with its extensions, or a line of a trailer.
const LONGEST_LINE: usize = 8 << 10;

/// How the length of a body is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// Reads the body. A client that waits for leave to send it gets it from us.
pub(super) fn read<C: Read + Write>(head: &mut Head, client: &mut C) -> Result<Vec<u8>, BadRequest> {
    let framing = framing(head)?;
    if matches!(framing, Framing::Length(length) if length > LONGEST) {
        return Err(BadRequest::TooLarge);
    }
    let expects = head.values("expect").any(|it| it.eq_ignore_ascii_case(b"100-continue"));
    if expects && !head.is_http_1_0() && framing != Framing::Length(0) {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let rest = std::mem::take(&mut head.rest);
    let mut input = Input { bytes: rest, at: 0, client };
    match framing {
        Framing::Length(length) => input.take(length),
        Framing::Chunked => chunks(&mut input),
    }
}

/// # Errors
/// If whoever comes next could read another body.
pub(super) fn framing(head: &Head) -> Result<Framing, BadRequest> {
    let lengths: Vec<_> = head.values("content-length").collect();
    let codings: Vec<_> = head.values("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) => {
            let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(length).ok().filter(|_| is_number).ok_or(BadRequest::Malformed)?;
            Ok(Framing::Length(text.parse().unwrap_or(usize::MAX)))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && !head.is_http_1_0() => {
            Ok(Framing::Chunked)
        }
        // Two lengths, or a length and chunks (RFC 9112, 11.2).
        _ => Err(BadRequest::Malformed),
    }
}

fn chunks(input: &mut Input<'_, impl Read>) -> Result<Vec<u8>, BadRequest> {
    let mut body = Vec::new();
    loop {
        let size = chunk_size(&input.line()?).ok_or(BadRequest::Malformed)?;
        if size == 0 {
            // What follows are the fields of a trailer.
            while !input.line()?.is_empty() {}
            return Ok(body);
        }
        if size > LONGEST - body.len() {
            return Err(BadRequest::TooLarge);
        }
        body.extend(input.take(size)?);
        if !input.line()?.is_empty() {
            return Err(BadRequest::Malformed);
        }
    }
}

/// `5;name=value`. httparse would take a line without a number for the last chunk.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii_end();
    let text = std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
    usize::from_str_radix(text, 16).ok()
}

/// What was read already, and what is to come.
struct Input<'a, C> {
    bytes: Vec<u8>,
    at: usize,
    client: &'a mut C,
}

impl<C: Read> Input<'_, C> {
    /// The next bytes, of which there must be so many.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, BadRequest> {
        while self.bytes.len() - self.at < length {
            self.fill()?;
        }
        let taken = self.bytes[self.at..self.at + length].to_vec();
        self.at += length;
        Ok(taken)
    }

    /// The next line, which must end with CR and LF, and have neither elsewhere.
    fn line(&mut self) -> Result<Vec<u8>, BadRequest> {
        loop {
            if let Some(end) = self.bytes[self.at..].iter().position(|&byte| byte == b'\n') {
                let mut line = self.take(end + 1)?;
                let is_line = line.ends_with(b"\r\n") && !line[..end - 1].contains(&b'\r');
                line.truncate(end.saturating_sub(1));
                return if is_line { Ok(line) } else { Err(BadRequest::Malformed) };
            }
            if self.bytes.len() - self.at > LONGEST_LINE {
                return Err(BadRequest::Malformed);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), BadRequest> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 16 << 10];
        match self.client.read(&mut chunk) {
            Ok(0) => Err(BadRequest::Malformed),
            Ok(length) => {
                self.bytes.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::{Opening, read as read_head};
    use super::*;

    /// A client that sends this, a few bytes at a time, and keeps what it is told.
    struct Client {
        sends: Vec<u8>,
        told: Vec<u8>,
    }

    impl Read for Client {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.sends.len().min(buffer.len()).min(7);
            buffer[..length].copy_from_slice(&self.sends[..length]);
            self.sends.drain(..length);
            Ok(length)
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.told.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn body_of(fields: &str, body: &str) -> (Result<Vec<u8>, BadRequest>, String) {
        let sends = format!("POST /containers/create HTTP/1.1\r\n{fields}\r\n{body}").into_bytes();
        let mut client = Client { sends, told: Vec::new() };
        let Ok(Opening::Request(mut head)) = read_head(&mut client) else { panic!("{fields}") };
        let body = read(&mut head, &mut client);
        (body, String::from_utf8(client.told).unwrap())
    }

    #[test]
    fn every_framing_gives_the_same_body() {
        for (fields, body) in [
            ("Content-Length: 11\r\n", "hello world"),
            ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"),
            ("transfer-encoding: Chunked\r\n", "b\r\nhello world\r\n0\r\nTrailer: x\r\n\r\n"),
        ] {
            assert_eq!(body_of(fields, body).0.unwrap(), b"hello world", "{fields}");
        }
        assert_eq!(body_of("", "").0.unwrap(), b"");
    }

    #[test]
    fn a_client_that_waits_is_told_to_go_on() {
        let (body, told) = body_of("Expect: 100-continue\r\nContent-Length: 2\r\n", "{}");
        assert_eq!((body.unwrap().as_slice(), told.as_str()), (&b"{}"[..], "HTTP/1.1 100 Continue\r\n\r\n"));
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 2\r\nContent-Length: 3\r\n",
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Content-Length: +2\r\n",
            "Content-Length: 2, 2\r\n",
            "Content-Length: -1\r\n",
        ] {
            assert!(matches!(body_of(fields, "{}").0, Err(BadRequest::Malformed)), "{fields}");
        }
        for body in [
            "x\r\n",
            "\r\n\r\n",
            ";x\r\n\r\n",
            "+0\r\n\r\n",
            "0\n\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX\r: y\r\n\r\n",
            "0\r;\r\n\r\n",
            "5\r\nhello6\r\n",
            "5\r\nhel",
            "",
            "2\r\n{}\r\n",
        ] {
            let read = body_of("Transfer-Encoding: chunked\r\n", body).0;
            assert!(matches!(read, Err(BadRequest::Malformed)), "{body:?}");
        }
        for (fields, body) in [
            (format!("Content-Length: {}\r\n", LONGEST + 1), ""),
            ("Content-Length: 99999999999999999999999\r\n".into(), ""),
            ("Transfer-Encoding: chunked\r\n".into(), "fffffff\r\n"),
        ] {
            assert!(matches!(body_of(&fields, body).0, Err(BadRequest::TooLarge)), "{fields}");
        }
    }
}
