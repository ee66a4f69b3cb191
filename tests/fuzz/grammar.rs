//! Turns what the fuzzer makes up into something that is nearly valid.

/// Each byte stands for a word, if there are so many, and otherwise for itself. An input whose first byte is 255 is taken as it
/// is.
pub fn spell(input: &[u8], words: &[&str]) -> Vec<u8> {
    if let Some(raw) = input.strip_prefix(&[u8::MAX]) {
        return raw.to_vec();
    }
    let mut text = Vec::new();
    for byte in input {
        match words.get(usize::from(*byte)) {
            Some(word) => text.extend_from_slice(word.as_bytes()),
            None => text.push(*byte),
        }
    }
    text
}
