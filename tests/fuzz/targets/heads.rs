//! The same as `requests` without sockets, which is a hundred times as fast, and with a client of which little arrives at once.

#![no_main]

use cgrun_fuzz::cgrun::pass_on;
use cgrun_fuzz::grammar::spell;
use cgrun_fuzz::requests::{LARGEST, WORDS, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&how, input)) = data.split_first() else { return };
    let sent = spell(input, WORDS);
    let passed = pass_on(&sent, usize::MAX);
    check(&sent, passed.as_slice());
    if sent.len() < LARGEST {
        // The labels have a value that is another one each time.
        let length = |it: Option<Vec<u8>>| it.map(|it| it.len());
        assert_eq!(length(pass_on(&sent, usize::from(how) + 1)), length(passed));
    }
});
