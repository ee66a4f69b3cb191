//! A JSON object whose values stay as they were written, and in their order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// As engines compare names (Go's `encoding/json`): two letters outside of ASCII are taken for others.
pub(super) fn is_named(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    pub(super) fn parse(json: &str) -> Option<Self> {
        Self::first(json).map(|(fields, _)| fields)
    }

    /// The first value of a text, and what follows it: podman reads no further. `null` has no fields.
    pub(super) fn first(json: &str) -> Option<(Self, &str)> {
        let mut values = serde_json::Deserializer::from_str(json).into_iter::<Option<Self>>();
        let fields = values.next()?.ok()?.unwrap_or_default();
        Some((fields, &json[values.byte_offset()..]))
    }

    /// The value that engines read: they ignore the case of a key, and take the last one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// All values of a key, in any case.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(it, _)| is_named(it, name)).map(|(_, value)| value.get())
    }

    /// Replaces all values of this key. A new key is written as here.
    pub(super) fn set(&mut self, name: &str, value: Box<RawValue>) {
        let key = self.0.iter().rfind(|(it, _)| is_named(it, name)).map(|(it, _)| it.clone());
        self.0.retain(|(it, _)| !is_named(it, name));
        self.0.push((key.unwrap_or_else(|| name.into()), value));
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
