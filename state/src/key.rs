//! Keys as bytes whose order is the order of the keys, and which partition a key belongs to.
//!
//! A key is written whole ([`Key::encode`]) or as a component with others behind it ([`Key::encode_part`]), which
//! must show its own end. Text and byte strings as components escape `00` as `00 FF` and end in `00 01`.

mod compound;

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::attempt::Partition;

/// The longest encoded key, in bytes; a longer one fails its batch.
pub const MAX_KEY: usize = 64 << 20;

/// A type whose values can be keys of a state. The order of the encodings must be the order of the values, if they
/// have one, and equal values have equal encodings.
pub trait Key: Clone + Eq + Send + Sync + 'static {
    /// Appends the key as a whole or as the last component: nothing marks its end.
    fn encode(&self, out: &mut Vec<u8>);

    /// Appends the key as a component with others behind it: its encoding shows its end.
    fn encode_part(&self, out: &mut Vec<u8>);

    /// Reads what [`Key::encode`] wrote.
    fn decode(bytes: &[u8]) -> Result<Self, KeyError>;

    /// Reads what [`Key::encode_part`] wrote and takes it off the front of `bytes`.
    fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError>;
}

/// Bytes that are no key of the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes end within the key.
    #[error("the key ends too early")]
    Short,
    /// Bytes are left over.
    #[error("{0} bytes follow the key")]
    Trailing(usize),
    /// No value of the type has this encoding.
    #[error("these bytes are no {0}")]
    Invalid(&'static str),
}

/// The hash that routes a key: xxh3_64, unseeded, of its encoding. Fixed for ever; data on disk depends on it.
#[inline]
#[must_use]
pub fn hash_key(encoded: &[u8]) -> u64 {
    xxh3_64(encoded)
}

/// The partition of a key, out of `partitions`: the upper 32 bits of its hash, scaled. Fixed for ever.
#[inline]
#[must_use]
pub fn partition_of(hash: u64, partitions: u16) -> Partition {
    Partition((((hash >> 32) * u64::from(partitions)) >> 32) as u16)
}

pub(crate) fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], KeyError> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(KeyError::Short)?;
    *bytes = rest;
    Ok(taken)
}

pub(crate) fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], KeyError> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(KeyError::Short)?;
    *bytes = rest;
    Ok(*taken)
}

/// Decodes a component that must take up all of `bytes`.
fn whole<K: Key>(mut bytes: &[u8]) -> Result<K, KeyError> {
    let key = K::decode_part(&mut bytes)?;
    if bytes.is_empty() {
        Ok(key)
    } else {
        Err(KeyError::Trailing(bytes.len()))
    }
}

/// The methods of a key whose encoding always shows its own end.
macro_rules! self_delimiting {
    () => {
        #[inline]
        fn encode(&self, out: &mut Vec<u8>) {
            self.encode_part(out);
        }

        fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
            whole(bytes)
        }
    };
}

macro_rules! unsigned {
    ($($int:ty),*) => {$(
        impl Key for $int {
            self_delimiting!();

            #[inline]
            fn encode_part(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                take_array(bytes).map(<$int>::from_be_bytes)
            }
        }
    )*};
}

macro_rules! signed {
    ($($int:ty),*) => {$(
        impl Key for $int {
            self_delimiting!();

            // With the sign bit flipped, negative numbers come before the others.
            #[inline]
            fn encode_part(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(self ^ <$int>::MIN).to_be_bytes());
            }

            fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                take_array(bytes).map(|bytes| <$int>::from_be_bytes(bytes) ^ <$int>::MIN)
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128);
signed!(i8, i16, i32, i64, i128);

impl Key for bool {
    self_delimiting!();

    fn encode_part(&self, out: &mut Vec<u8>) {
        out.push((*self).into());
    }

    fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        match take_array(bytes)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(KeyError::Invalid("bool")),
        }
    }
}

impl Key for char {
    self_delimiting!();

    fn encode_part(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode_part(out);
    }

    fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        char::from_u32(u32::decode_part(bytes)?).ok_or(KeyError::Invalid("char"))
    }
}

impl Key for () {
    self_delimiting!();

    fn encode_part(&self, _out: &mut Vec<u8>) {}

    fn decode_part(_bytes: &mut &[u8]) -> Result<Self, KeyError> {
        Ok(())
    }
}

impl<const N: usize> Key for [u8; N] {
    self_delimiting!();

    #[inline]
    fn encode_part(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        take_array(bytes)
    }
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for (at, run) in bytes.split(|byte| *byte == 0).enumerate() {
        if at > 0 {
            out.extend_from_slice(&[0x00, 0xff]);
        }
        out.extend_from_slice(run);
    }
    out.extend_from_slice(&[0x00, 0x01]);
}

fn unescape(bytes: &mut &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut out = Vec::new();
    loop {
        let zero = bytes
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(KeyError::Short)?;
        out.extend_from_slice(take(bytes, zero)?);
        match take_array(bytes)? {
            [0x00, 0x01] => return Ok(out),
            [0x00, 0xff] => out.push(0),
            _ => return Err(KeyError::Invalid("escaped byte string")),
        }
    }
}

/// Keys that are a string of bytes: how to see the bytes, how to make the key of them.
macro_rules! byte_string {
    ($($string:ty: $as_bytes:expr, $from_vec:expr;)*) => {$(
        impl Key for $string {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice($as_bytes(self));
            }

            fn encode_part(&self, out: &mut Vec<u8>) {
                escape($as_bytes(self), out);
            }

            fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
                $from_vec(bytes.to_vec())
            }

            fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                unescape(bytes).and_then($from_vec)
            }
        }
    )*};
}

fn text(bytes: Vec<u8>) -> Result<String, KeyError> {
    String::from_utf8(bytes).map_err(|_| KeyError::Invalid("UTF-8 text"))
}

fn bytes_of<T: AsRef<[u8]>>(key: &T) -> &[u8] {
    key.as_ref()
}

fn text_of<T: AsRef<str>>(key: &T) -> &[u8] {
    key.as_ref().as_bytes()
}

fn whole_vec(bytes: Vec<u8>) -> Result<Vec<u8>, KeyError> {
    Ok(bytes)
}

byte_string! {
    Vec<u8>: bytes_of, whole_vec;
    Box<[u8]>: bytes_of, |bytes: Vec<u8>| Ok(bytes.into());
    Bytes: bytes_of, |bytes: Vec<u8>| Ok(bytes.into());
    String: text_of, text;
    Box<str>: text_of, |bytes| text(bytes).map(Into::into);
    Arc<str>: text_of, |bytes| text(bytes).map(Into::into);
}

#[cfg(test)]
mod tests;
