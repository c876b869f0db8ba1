//! Bytes and limits: the one module that knows bincode, and checked readers for everything framed by hand.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attempt::{Attempt, Epoch, Generation, TxId};
use crate::error::{Result, StateError};

/// Version of the value encoding; part of every store's format marker.
pub const CODEC_VERSION: u32 = 1;

/// The largest encoded value, in bytes.
pub const MAX_VALUE: usize = 64 << 20;

// Decoding counts bytes as they are in memory, where an integer may take 16 times what its varint takes. Short
// input gets a small limit, so that a forged length cannot ask for much.
const SMALL: usize = 64 << 10;
const SMALL_LIMIT: usize = 2 << 20;
const LARGE_LIMIT: usize = 17 * MAX_VALUE;

type Config<const LIMIT: usize> = Configuration<LittleEndian, Varint, Limit<LIMIT>>;

const fn config<const LIMIT: usize>() -> Config<LIMIT> {
    bincode::config::standard().with_limit::<LIMIT>()
}

struct VecWriter<'a>(&'a mut Vec<u8>);

impl Writer for VecWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends a value's encoding to `out`; at most [`MAX_VALUE`] bytes.
///
/// On an error `out` is as it was.
#[inline]
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let outcome =
        bincode::serde::encode_into_writer(value, VecWriter(out), config::<SMALL_LIMIT>());
    let size = out.len() - start;
    if outcome.is_ok() && size <= MAX_VALUE {
        return Ok(());
    }
    out.truncate(start);
    Err(match outcome {
        Err(error) => StateError::Unencodable {
            message: error.to_string(),
        },
        Ok(()) => StateError::TooLarge {
            what: "an encoded value".to_owned(),
            size,
            limit: MAX_VALUE,
        },
    })
}

/// Decodes a value that takes up all of `bytes`.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let decoded = if bytes.len() <= SMALL {
        bincode::serde::decode_from_slice(bytes, config::<SMALL_LIMIT>())
    } else if bytes.len() <= MAX_VALUE {
        bincode::serde::decode_from_slice(bytes, config::<LARGE_LIMIT>())
    } else {
        return Err(StateError::malformed(format!(
            "a value of {} bytes",
            bytes.len()
        )));
    };
    match decoded {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(StateError::malformed(format!(
            "a value of {read} bytes in {}",
            bytes.len()
        ))),
        Err(error) => Err(StateError::malformed(format!(
            "a value does not decode: {error}"
        ))),
    }
}

/// Appends a value with its length before it.
#[inline]
pub fn put_value<T: Serialize>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    // Nearly all values are shorter than 128 bytes: their length is one byte, written afterwards in its place.
    let at = out.len();
    out.push(0);
    if let Err(error) = encode(value, out) {
        out.truncate(at);
        return Err(error);
    }
    let size = out.len() - at - 1;
    if size < 0x80 {
        out[at] = size as u8;
    } else {
        let mut prefix = Vec::with_capacity(10);
        put_varint(&mut prefix, size as u64);
        out.splice(at..=at, prefix);
    }
    Ok(())
}

/// Appends an integer in 7-bit groups, lowest first.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes with their length before them.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an attempt.
pub fn put_attempt(out: &mut Vec<u8>, attempt: Attempt) {
    put_varint(out, attempt.txid.0);
    put_generation(out, attempt.generation);
}

/// Appends a generation.
pub fn put_generation(out: &mut Vec<u8>, generation: Generation) {
    put_varint(out, generation.epoch.0);
    put_varint(out, generation.number);
}

/// Appends an attempt that may be absent.
pub fn put_attempt_option(out: &mut Vec<u8>, attempt: Option<Attempt>) {
    out.push(attempt.is_some().into());
    if let Some(attempt) = attempt {
        put_attempt(out, attempt);
    }
}

/// Reads what the `put_…` functions wrote; every length is checked against what is there.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Whether all is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails unless all is read.
    pub fn finish(self, what: &str) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(malformed(what, "is followed by other bytes"))
        }
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(malformed(what, "ends too early")),
        }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &str) -> Result<u8> {
        Ok(self.take(1, what)?[0])
    }

    /// A fixed number of bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        Ok(self
            .take(N, what)?
            .try_into()
            .expect("take returns as many bytes as asked"))
    }

    /// An integer of [`put_varint`].
    #[inline]
    pub fn varint(&mut self, what: &str) -> Result<u64> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok((*byte).into())
            }
            _ => self.long_varint(what),
        }
    }

    fn long_varint(&mut self, what: &str) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed(what, "is no 64-bit number"))
    }

    /// An integer of [`put_varint`] that must fit a narrower type.
    pub fn varint_as<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T> {
        T::try_from(self.varint(what)?).map_err(|_| malformed(what, "is too large"))
    }

    /// Bytes of [`put_bytes`] or a value of [`put_value`].
    #[inline]
    pub fn bytes(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.varint(what)?;
        match usize::try_from(len) {
            Ok(len) => self.take(len, what),
            Err(_) => Err(malformed(what, "ends too early")),
        }
    }

    /// UTF-8 text of [`put_bytes`].
    pub fn str(&mut self, what: &str) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| malformed(what, "is no UTF-8"))
    }

    /// An attempt of [`put_attempt`].
    pub fn attempt(&mut self) -> Result<Attempt> {
        let txid = TxId(self.varint("txid")?);
        Ok(Attempt {
            txid,
            generation: self.generation()?,
        })
    }

    /// A generation of [`put_generation`].
    pub fn generation(&mut self) -> Result<Generation> {
        let epoch = Epoch(self.varint("epoch")?);
        Ok(Generation {
            epoch,
            number: self.varint("generation number")?,
        })
    }

    /// An attempt of [`put_attempt_option`].
    pub fn attempt_option(&mut self) -> Result<Option<Attempt>> {
        match self.u8("attempt tag")? {
            0 => Ok(None),
            1 => self.attempt().map(Some),
            _ => Err(malformed("attempt tag", "is neither 0 nor 1")),
        }
    }
}

#[cold]
fn malformed(what: &str, why: &str) -> StateError {
    StateError::malformed(format!("{what} {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Rich {
        name: String,
        counts: Vec<u128>,
        nested: Option<Box<Rich>>,
    }

    #[test]
    fn what_is_encoded_at_the_limit_decodes() {
        let widest = vec![7_u128; 60 << 10];
        let mut out = Vec::new();
        encode(&widest, &mut out).unwrap();
        assert!(out.len() <= SMALL);
        assert_eq!(decode::<Vec<u128>>(&out).unwrap(), widest);

        let text = "x".repeat(MAX_VALUE - 8);
        out.clear();
        encode(&text, &mut out).unwrap();
        assert_eq!(decode::<String>(&out).unwrap(), text);
    }

    #[test]
    fn a_value_that_is_too_large_is_refused_and_leaves_nothing() {
        let mut out = vec![1, 2, 3];
        let error = put_value(&mut out, &vec![0_u8; MAX_VALUE + 1]).unwrap_err();
        assert!(matches!(error, StateError::TooLarge { .. }), "{error}");
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn a_forged_length_is_refused_without_its_memory() {
        let mut bytes = vec![0xfd]; // bincode's mark of a 64-bit length
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<String>(&bytes).is_err());
        assert!(decode::<Vec<u64>>(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn values_come_back(name in ".{0,200}", counts in proptest::collection::vec(any::<u128>(), 0..40)) {
            let inner = Rich { name: name.clone(), counts: vec![], nested: None };
            let value = Rich { name, counts, nested: Some(Box::new(inner)) };
            let mut out = Vec::new();
            put_value(&mut out, &value)?;
            let mut reader = Reader::new(&out);
            prop_assert_eq!(decode::<Rich>(reader.bytes("value")?)?, value);
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn varints_come_back(value in any::<u64>(), shift in 0_u32..64) {
            let mut out = Vec::new();
            put_varint(&mut out, value >> shift);
            prop_assert_eq!(Reader::new(&out).varint("number")?, value >> shift);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<Rich>(&bytes);
            let _ = Reader::new(&bytes).varint("number");
            let _ = Reader::new(&bytes).bytes("bytes");
            let _ = Reader::new(&bytes).str("text");
            let _ = Reader::new(&bytes).attempt_option();
        }
    }
}
