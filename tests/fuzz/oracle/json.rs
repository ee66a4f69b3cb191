//! JSON as Go's decoder reads it, with keys in their order (RFC 8259).

/// Deeper descriptions are not compared.
const DEEPEST: usize = 500;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    TooDeep,
}

/// The first value of a text, and what follows it.
pub fn first(text: &str) -> Option<(Json, &str)> {
    let mut reader = Reader { text, at: 0, depth: 0, is_too_deep: false };
    let value = reader.value()?;
    if reader.is_too_deep {
        return Some((Json::TooDeep, ""));
    }
    Some((value, &text[reader.at..]))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    is_too_deep: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        match self.peek()? {
            b'n' => self.take("null").map(|()| Json::Null),
            b't' => self.take("true").map(|()| Json::Bool(true)),
            b'f' => self.take("false").map(|()| Json::Bool(false)),
            b'"' => self.string().map(Json::Text),
            b'[' => self.nested(|it| it.list().map(Json::List)),
            b'{' => self.nested(|it| it.object().map(Json::Object)),
            _ => self.number().map(Json::Number),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Option<Json>) -> Option<Json> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEEPEST {
            self.is_too_deep = true;
            return Some(Json::TooDeep);
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Whether another element follows, after `count` of them.
    fn goes_on(&mut self, count: usize, end: &str) -> Option<bool> {
        self.space();
        if self.take(end).is_some() {
            return Some(false);
        }
        if count > 0 {
            self.take(",")?;
        }
        Some(true)
    }

    fn list(&mut self) -> Option<Vec<Json>> {
        let mut all = Vec::new();
        while !self.is_too_deep && self.goes_on(all.len(), "]")? {
            all.push(self.value()?);
        }
        Some(all)
    }

    fn object(&mut self) -> Option<Vec<(String, Json)>> {
        let mut all = Vec::new();
        while !self.is_too_deep && self.goes_on(all.len(), "}")? {
            self.space();
            let key = self.string()?;
            self.space();
            self.take(":")?;
            all.push((key, self.value()?));
        }
        Some(all)
    }

    fn number(&mut self) -> Option<String> {
        let from = self.at;
        let _ = self.take("-");
        if self.take("0").is_none() {
            self.digits()?;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _ = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
        }
        Some(self.text[from..self.at].into())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|it| it.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut units = Vec::new();
        loop {
            let next = self.text[self.at..].chars().next()?;
            self.at += next.len_utf8();
            match next {
                '"' => break,
                '\0'..='\x1f' => return None,
                '\\' => units.push(self.escape()?),
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
        // Go replaces half of a pair too.
        Some(String::from_utf16_lossy(&units))
    }

    fn escape(&mut self) -> Option<u16> {
        let byte = self.peek()?;
        self.at += 1;
        let unit = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                let is_hex = digits.bytes().all(|it| it.is_ascii_hexdigit());
                return u16::from_str_radix(digits, 16).ok().filter(|_| is_hex);
            }
            _ => return None,
        };
        Some(unit.into())
    }
}
