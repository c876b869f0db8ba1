//! How far a text file was read, with what is needed to see that it is still the same file.

use std::io::{self, Read, Seek, SeekFrom};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::super::SpoutError;

/// So much of a file's beginning is checked when it is opened again.
pub(super) const HEAD: u64 = 16 << 20;
/// So much before the position is checked as well.
pub(super) const TAIL: usize = 4 << 10;

const VERSION: u8 = 1;
const LEN: usize = 26;

/// A position in a text file; 26 bytes: version, flags, offset, digests of head and tail, all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextPosition {
    /// The byte that is read next.
    pub(super) offset: u64,
    /// The last line that was read had no end.
    pub(super) unterminated: bool,
    /// xxh3 of the first `min(offset, HEAD)` bytes.
    pub(super) head: u64,
    /// xxh3 of the `min(offset, TAIL)` bytes before `offset`.
    pub(super) tail: u64,
}

impl TextPosition {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.unterminated)];
        for field in [self.offset, self.head, self.tail] {
            out.extend(field.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SpoutError> {
        let field = |at: usize| {
            bytes[at..at + 8]
                .iter()
                .rev()
                .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        match bytes {
            [VERSION, flags @ (0 | 1), ..] if bytes.len() == LEN => Ok(TextPosition {
                offset: field(2),
                unterminated: *flags == 1,
                head: field(10),
                tail: field(18),
            }),
            _ => Err(SpoutError::permanent(format!(
                "the recorded position {bytes:02x?} is not a position in a text file of version {VERSION}: it was written by another program or version"
            ))),
        }
    }
}

/// What was read of a file so far, as far as its position needs to know.
pub(super) struct Seen {
    head: Xxh3,
    tail: Vec<u8>,
    offset: u64,
}

impl Seen {
    pub(super) fn nothing() -> Self {
        Seen {
            head: Xxh3::new(),
            tail: Vec::with_capacity(2 * TAIL),
            offset: 0,
        }
    }

    /// Reads again what a position was made from. `None`: the file differs.
    pub(super) fn again(
        file: &mut (impl Read + Seek),
        position: &TextPosition,
    ) -> io::Result<Option<Self>> {
        let mut seen = Seen::nothing();
        let mut block = vec![0; 256 << 10];
        let mut left = position.offset.min(HEAD);
        file.seek(SeekFrom::Start(0))?;
        while left > 0 {
            let want = left.min(block.len() as u64) as usize;
            file.read_exact(&mut block[..want])?;
            seen.head.update(&block[..want]);
            left -= want as u64;
        }
        let tail = position.offset.min(TAIL as u64);
        file.seek(SeekFrom::Start(position.offset - tail))?;
        seen.tail.resize(tail as usize, 0);
        file.read_exact(&mut seen.tail)?;
        seen.offset = position.offset;
        let same = seen.head.digest() == position.head && xxh3_64(&seen.tail) == position.tail;
        Ok(same.then_some(seen))
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What stands right before the offset.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        if self.offset < HEAD {
            let head = bytes.len().min((HEAD - self.offset) as usize);
            self.head.update(&bytes[..head]);
        }
        self.offset += bytes.len() as u64;
        let last = &bytes[bytes.len().saturating_sub(TAIL)..];
        let keep = TAIL.saturating_sub(last.len()).min(self.tail.len());
        let drop = self.tail.len() - keep;
        self.tail.drain(..drop);
        self.tail.extend_from_slice(last);
    }

    pub(super) fn position(&self, unterminated: bool) -> TextPosition {
        TextPosition {
            offset: self.offset,
            unterminated,
            head: self.head.digest(),
            tail: xxh3_64(&self.tail),
        }
    }
}
