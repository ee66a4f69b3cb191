//! The body of a request, if all who read it find the same one (RFC 9112, 6 and 7.1).

use super::request::Reading;

pub fn body(reading: &Reading<'_>) -> Option<Vec<u8>> {
    let lengths = reading.values("content-length");
    let codings = reading.values("transfer-encoding");
    match (&lengths[..], &codings[..]) {
        ([], []) => Some(Vec::new()),
        ([length], []) => {
            let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length: usize = std::str::from_utf8(length).ok().filter(|_| is_number)?.parse().ok()?;
            reading.rest.get(..length).map(<[u8]>::to_vec)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && reading.minor == 1 => {
            chunks(reading.rest)
        }
        _ => None,
    }
}

/// Whether all who read it find the same length.
pub fn is_framed(reading: &Reading<'_>) -> bool {
    let lengths = reading.values("content-length");
    match &reading.values("transfer-encoding")[..] {
        [] => {
            lengths.is_empty()
                || lengths.len() == 1 && !lengths[0].is_empty() && lengths[0].iter().all(u8::is_ascii_digit)
        }
        [coding] => coding.eq_ignore_ascii_case(b"chunked") && reading.minor == 1 && lengths.is_empty(),
        _ => false,
    }
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(&mut rest)?;
        let size = size.split(|&byte| byte == b';').next()?;
        let digits = size.trim_ascii_end();
        let is_size = !digits.is_empty() && digits.len() < 16 && digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits).ok().filter(|_| is_size)?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            while !line(&mut rest)?.is_empty() {}
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.windows(2).position(|it| it == b"\r\n")?;
    let line = &rest[..end];
    *rest = &rest[end + 2..];
    (!line.contains(&b'\n') && !line.contains(&b'\r')).then_some(line)
}
