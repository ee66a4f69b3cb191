//! Whatever a client describes, the engine gets the same description with labels.

#![no_main]

use cgrun_fuzz::cgrun::{label, volumes};
use cgrun_fuzz::grammar::spell;
use cgrun_fuzz::oracle;
use libfuzzer_sys::fuzz_target;

const TARGETS: [&str; 6] = [
    "/v1.41/containers/create",
    "/libpod/containers/create",
    "/networks/create",
    "/volumes/create",
    "/v4.0.0/libpod/volumes/create",
    "/libpod/pods/create",
];
const DEEP: &str =
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";
const FLAT: &str =
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]";
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    " ",
    "\n",
    "\t",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "0",
    "-1",
    "1.50",
    "1e999",
    "18446744073709551616",
    "01",
    "\"a\":",
    "\"b\"",
    "\"Labels\":",
    "\"labels\":",
    "\"LABELS\":",
    "\"\\u004cabels\":",
    "\"Label\u{17f}\":",
    "{\"x\":\"y\"}",
    "{\"x\":\"z\",\"x\":\"\"}",
    "\"cgrun.session\":\"x\"",
    "\"cgrun.test\":\"x\"",
    "\"cgrun.session\":\"inner\",\"cgrun.boot\":\"boot\",\"cgrun.pid-namespace\":\"2\",\"cgrun.owner\":\"2:3\"",
    "\"cgrun.outer.ours\":\"x\"",
    "\"com.docker.cgrun.session\":\"x\"",
    "\"com.docker.compose.version\":\"1.29.2\"",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "\\u0000",
    "\\n",
    "\\\"",
    "\\",
    "\\x",
    "\u{e9}",
    "\u{1f600}",
    "\u{feff}",
    "\"HostConfig\":{\"Binds\":[\"data:/d\",\"/x:/y\"],\"Mounts\":[{\"Type\":\"volume\",\"Source\":\"w\"}]}",
    "\"hostconfig\":",
    "\"Binds\":",
    "\"Mounts\":",
    "\"VolumeOptions\":{\"Labels\":{\"a\":\"b\"}}",
    "\"volumes\":[{\"Name\":\"v\"}]",
    "\"Name\":\"n\"",
    DEEP,
    FLAT,
];

fuzz_target!(|data: &[u8]| {
    let Some((&at, input)) = data.split_first() else { return };
    let target = TARGETS[usize::from(at) % TARGETS.len()];
    let sent = spell(input, WORDS);
    oracle::check(&sent, label(target, &sent).expect("it is a creation").as_deref());
    let names = volumes(target, &sent);
    let text = String::from_utf8_lossy(&sent);
    let described = oracle::first(&text);
    for name in names {
        assert!(name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_.-".contains(&it)), "{name}");
        let (described, _) = described.as_ref().expect("a volume that nobody has described");
        let is_named = *described == oracle::Json::TooDeep || oracle::contains_name(described, &name);
        assert!(is_named, "{name}");
    }
});
