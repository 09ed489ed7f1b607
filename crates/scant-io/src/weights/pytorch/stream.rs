//! The bytes of a pickle, with a bound on how many there may be.

use std::io::Read;

use super::super::error::Fault;
use super::super::source::read_exactly;

/// Reads numbers, lines and strings from a pickle.
pub(super) struct Stream<'a> {
    input: &'a mut dyn Read,
    /// How many more bytes may come.
    left: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(input: &'a mut dyn Read, limit: u64) -> Self {
        Self { input, left: limit }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Fault> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| Fault::TooLarge("its pickle is longer than the limit".into()))?;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// A length of 1, 2, 4 or 8 bytes; of 4 bytes it is signed in some instructions, but a negative
    /// one is an error in all.
    pub(super) fn length<const N: usize>(&mut self) -> Result<u64, Fault> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        Ok(u64::from_le_bytes(wide))
    }

    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>, Fault> {
        self.spend(len)?;
        read_exactly(&mut self.input, len)
    }

    pub(super) fn text(&mut self, len: u64) -> Result<String, Fault> {
        let bytes = self.bytes(len)?;
        // Python writes lone surrogates too, which are no UTF-8; names never hold any.
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })
    }

    /// A line without its end.
    pub(super) fn line(&mut self) -> Result<String, Fault> {
        const LONGEST: usize = 4096;
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if line.len() == LONGEST => {
                    return Err(Fault::damaged("a name in its pickle does not end"));
                }
                byte => line.push(byte),
            }
        }
        String::from_utf8(line).map_err(|_| Fault::damaged("a name in its pickle is no text"))
    }
}
