//! The JSON Schema of each type of value. A schema accepts what its type does, and hardly more.

use std::borrow::Cow;

use nix::sys::signal::Signal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::diagnose::Diagnose;
use super::forward::Forward;
use super::private_kinds::Network;
use super::values::{ServiceName, StopSignal, Time, Variable, Word, Words};
use crate::containment::Require;
use crate::leaks::allow::Pattern;
use crate::limits::{CpuSet, Cpus, IoWeight, Memory, Pids, Swap};
use crate::sys::port::Port;

const DURATION: &str = r"^(0|\s*([0-9][0-9.\s]*[a-zA-Zµ]+\s*)+)$";
const SIZE: &str = r"^\s*([0-9.]+%|[0-9.]+\s*([kKmMgGtT]([iI][bB]?|[bB])?|[bB])?)\s*$";
const CPUS: &str = r"^\s*[0-9.]+%?\s*$";
const CPU_SET: &str = r"^\s*[0-9]+\s*(-\s*[0-9]+\s*)?(,\s*[0-9]+\s*(-\s*[0-9]+\s*)?)*$";
const WHOLE: &str = r"^\s*[0-9]+\s*$";
const PORT: &str = r"^\+?[0-9]+(/(tcp|udp))?$";
const TCP_PORT: &str = r"^\+?[0-9]+(/tcp)?$";
const FORWARD: &str = r"^\+?[0-9]+(:\+?[0-9]+)?$";
const URL: &str = r"^[hH][tT][tT][pP][sS]?://(localhost|127\.|0\.0\.0\.0|\[)[^@/?#]*([/?#].*)?$";
const NO_NUL: &str = r"^[^\x00]*$";
const NOT_EMPTY: &str = r"^[^\x00]+$";

/// One of the probes, or none, because a service with a port needs none.
pub(super) fn one_probe(schema: &mut Schema) {
    let probes = ["http", "tcp", "log", "command"];
    let required: Vec<_> = probes.iter().map(|it| json!({ "required": [it] })).collect();
    let none = json!({ "not": { "anyOf": required.clone() } });
    schema.insert("oneOf".into(), required.into_iter().chain([none]).collect());
}

pub(super) fn url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": URL })
}

pub(super) fn tcp_port(_: &mut SchemaGenerator) -> Schema {
    port(TCP_PORT)
}

fn port(pattern: &str) -> Schema {
    json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": 65535, "pattern": pattern })
}

pub(super) fn reports(generator: &mut SchemaGenerator) -> Schema {
    let file = Word::json_schema(generator);
    json_schema!({
        "type": "object",
        "properties": { "json": file.clone(), "junit": file.clone(), "html": file.clone(), "summary": file },
        "additionalProperties": false
    })
}

impl JsonSchema for Diagnose {
    fn schema_name() -> Cow<'static, str> {
        "Diagnose".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": Pattern::json_schema(generator),
            "additionalProperties": {
                "anyOf": [
                    { "const": false },
                    { "type": "array", "maxItems": 0 },
                    {
                        "type": "array",
                        "items": [{ "type": "string", "pattern": NOT_EMPTY }],
                        "additionalItems": { "type": "string", "pattern": NO_NUL },
                        "contains": { "pattern": r"\{pid\}" },
                        "minItems": 2
                    }
                ]
            }
        })
    }
}

/// The schemas of values that are parsed from text.
macro_rules! values {
    ($($type:ty: $schema:tt;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

values! {
    Time: { "type": "string", "pattern": DURATION };
    StopSignal: { "enum": signals() };
    ServiceName: { "type": "string", "pattern": r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$" };
    Word: { "type": "string", "pattern": NO_NUL };
    Words: {
        "type": "array",
        "items": [{ "type": "string", "pattern": NOT_EMPTY }],
        "additionalItems": { "type": "string", "pattern": NO_NUL },
        "minItems": 1
    };
    Variable: { "type": "string", "pattern": r"^[^=\x00]+$" };
    Pattern: { "type": "string", "pattern": r"^([^/*? ]+|[\s\S]*[*? ][\s\S]*)$" };
    Require: { "enum": ["cgroup", "pidns", "tree", "cgroup+pidns", "pidns+cgroup"] };
    Memory: { "type": ["string", "number"], "pattern": SIZE, "minimum": 1048576 };
    Swap: { "type": ["string", "number"], "pattern": SIZE, "minimum": 0 };
    Pids: { "type": ["integer", "string"], "pattern": WHOLE, "minimum": 1, "maximum": 4194304 };
    Cpus: { "type": ["number", "string"], "pattern": CPUS, "minimum": 0.01, "maximum": 100000 };
    CpuSet: { "type": ["string", "integer"], "pattern": CPU_SET, "minimum": 0, "maximum": 8191 };
    Network: { "enum": [true, false, "outbound"] };
    Forward: { "type": "string", "pattern": FORWARD };
    IoWeight: { "type": ["integer", "string"], "pattern": WHOLE, "minimum": 1, "maximum": 10000 };
}

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        port(PORT)
    }
}

/// With and without the prefix.
fn signals() -> Vec<&'static str> {
    let long = Signal::iterator().map(Signal::as_str);
    long.clone().chain(long.map(|name| name.trim_start_matches("SIG"))).collect()
}
