//! Whatever a client sends to the real proxy, the engine gets what it asks for by the letter, once, and nothing else.

#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use cgrun_fuzz::cgrun::Proxy;
use cgrun_fuzz::grammar::spell;
use cgrun_fuzz::requests::{WORDS, check};
use cgrun_fuzz::upstream::{ANSWER, Upstream};
use libfuzzer_sys::fuzz_target;

const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    static ENGINE: (Proxy, Upstream) = (Proxy::default(), Upstream::start());
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, input)) = data.split_first() else { return };
    let mut sent = spell(input, WORDS);
    let (mut client, served) = UnixStream::pair().unwrap();
    // What has no room in the socket is not sent.
    client.set_nonblocking(true).unwrap();
    let mut length = 0;
    while length < sent.len() {
        match client.write(&sent[length..]) {
            Ok(written) => length += written,
            Err(_) => break,
        }
    }
    sent.truncate(length);
    client.set_nonblocking(false).unwrap();
    let is_gone = how & 1 == 1;
    let mut answer = Vec::new();
    let received = ENGINE.with(|(proxy, upstream)| {
        if is_gone {
            drop(client);
            proxy.serve(&served, &upstream.socket);
        } else {
            client.shutdown(Shutdown::Write).unwrap();
            proxy.serve(&served, &upstream.socket);
            drop(served);
            let _ = client.read_to_end(&mut answer);
        }
        upstream.take()
    });
    // Who is gone cannot be told to go on.
    if !(is_gone && received.is_empty()) {
        check(&sent, &received);
    }
    if !is_gone {
        check_answer(&sent, received.is_empty(), &answer);
    }
});

fn check_answer(sent: &[u8], is_refused: bool, answer: &[u8]) {
    let answer = answer.strip_prefix(GO_ON).unwrap_or(answer);
    if is_refused {
        let is_refusal = [b"HTTP/1.1 4", b"HTTP/1.1 5"].iter().any(|it| answer.starts_with(*it));
        // What it was told to send can have come too late.
        assert!(is_refusal || sent.is_empty() && answer.is_empty(), "{:?}", String::from_utf8_lossy(answer));
    } else {
        assert_eq!(answer, ANSWER, "{:?}", String::from_utf8_lossy(answer));
    }
}
