//! A number that others cannot guess.

use std::fmt;
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// 128 random bits.
#[derive(Debug)]
pub(crate) struct Nonce(u128);

impl Nonce {
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        // So few bytes are never cut short (getrandom(2)).
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(u128::from_ne_bytes(bytes)))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nonce_is_like_another() {
        let (one, other) = (Nonce::random().unwrap().to_string(), Nonce::random().unwrap().to_string());
        assert!(one.len() == 32 && one != other, "{one} {other}");
    }
}
