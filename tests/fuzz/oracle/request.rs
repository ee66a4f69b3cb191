//! The head of a request (RFC 9112, 2 to 5).

#[derive(Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub minor: u8,
    pub fields: Vec<(&'a [u8], &'a [u8])>,
    /// What follows the head.
    pub rest: &'a [u8],
}

impl<'a> Reading<'a> {
    pub fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let same = |it: &&(&[u8], &'a [u8])| it.0.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(same).map(|it| it.1).collect()
    }
}

/// As the letter has it.
pub fn strict(bytes: &[u8]) -> Option<Reading<'_>> {
    read(bytes, false)
}

/// A line can end without its CR, and empty lines can come first: servers can allow that (2.2).
pub fn lenient(bytes: &[u8]) -> Option<Reading<'_>> {
    read(bytes, true)
}

fn read(bytes: &[u8], is_lenient: bool) -> Option<Reading<'_>> {
    let mut rest = bytes;
    let mut lines = Vec::new();
    loop {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if is_lenient => line,
            None => return None,
        };
        if !line.is_empty() {
            lines.push(line);
        } else if !lines.is_empty() {
            break;
        } else if !is_lenient {
            return None;
        }
    }
    let mut words = lines[0].split(|&byte| byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let minor = match version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return None,
    };
    let is_target = !target.is_empty() && target.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    if words.next().is_some() || !is_token(method) || !is_target {
        return None;
    }
    let fields = lines[1..].iter().map(|line| field(line)).collect::<Option<_>>()?;
    Some(Reading { method, target, minor, fields, rest })
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, mut value) = (&line[..colon], &line[colon + 1..]);
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    let is_value = value.iter().all(|&byte| byte >= b' ' && byte != 0x7f || byte == b'\t');
    (is_token(name) && is_value).then_some((name, value))
}

fn is_token(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_part)
}
