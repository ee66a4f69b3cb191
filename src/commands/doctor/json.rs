//! The findings as JSON, with the same names hidden as in the text.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::home::HomeNames;

pub(super) fn as_json(found: &impl Serialize, names: &HomeNames) -> Result<String> {
    let mut json = Vec::new();
    let formatter = Hiding { names, pretty: PrettyFormatter::new() };
    found.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))?;
    Ok(String::from_utf8(json)? + "\n")
}

/// Hides the names in strings before they are written.
struct Hiding<'a> {
    names: &'a HomeNames,
    pretty: PrettyFormatter<'static>,
}

impl Formatter for Hiding<'_> {
    /// A fragment is a part of a string in which nothing has to be escaped.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(self.names.hide(fragment).as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_hides_what_the_text_hides_and_is_otherwise_the_same() {
        let found = serde_json::json!({ "a": ["\"/home/ann\\\"/x", 1, null, {}, []], "b": { "c": "in\n/home/bob." } });
        let expected = serde_json::json!({ "a": ["\"~\\\"/x", 1, null, {}, []], "b": { "c": "in\n~." } });
        let pretty = serde_json::to_string_pretty(&expected).unwrap() + "\n";
        assert_eq!(as_json(&found, &HomeNames::new("")).unwrap(), pretty);
    }
}
