//! The JSON Schema of the config, for editors. It is generated from the types that parse the config.
//!
//! A config that cgrun accepts is valid. The schema cannot refuse everything that cgrun does: it knows nothing of other
//! services, of the host, or of regular expressions.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

use super::keys::ConfigKeys;

/// The schema as text.
pub(crate) fn schema() -> String {
    let generator = SchemaSettings::draft07().with(|it| it.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<ConfigKeys>();
    RecursiveTransform(for_toml).transform(&mut schema);
    schema.insert("title".into(), "cgrun".into());
    format!("{:#}\n", schema.as_value())
}

/// TOML has no null: a key that is optional is left out. The description says what the default is, in one line.
fn for_toml(schema: &mut Schema) {
    schema.remove("default");
    schema.remove("format");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|it| !it.is_null());
    }
    if let Some(Value::Array(kinds)) = schema.get_mut("anyOf") {
        kinds.retain(|it| it.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = kinds.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                // The description of the key says more than that of its type.
                if schema.get(&key).is_none() {
                    schema.insert(key, value);
                }
            }
        }
    }
}
