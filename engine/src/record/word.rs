//! A short run of bytes that is copied without allocation.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use fulmar_state::key::{Key, KeyError};

const INLINE: usize = 22;

/// A word: any bytes, up to 22 of them held inline, compared and ordered bytewise.
///
/// ```
/// use fulmar::Word;
///
/// let word = Word::from("whale");
/// assert_eq!(word.as_bytes(), b"whale");
/// assert!(word < Word::from("whales"));
/// ```
#[derive(Clone)]
pub struct Word(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl Word {
    /// The word's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Word {
    #[inline]
    fn from(word: &[u8]) -> Self {
        if word.len() > INLINE {
            return Word(Repr::Heap(word.into()));
        }
        let mut bytes = [0; INLINE];
        copy_short(word, &mut bytes);
        Word(Repr::Inline {
            len: word.len() as u8,
            bytes,
        })
    }
}

/// Copies up to 22 bytes in runs of fixed length, which may overlap: several times faster than a copy whose length
/// is only known when it runs.
#[inline]
fn copy_short(from: &[u8], to: &mut [u8; INLINE]) {
    let len = from.len();
    if len >= 16 {
        to[..16].copy_from_slice(&from[..16]);
        to[len - 8..len].copy_from_slice(&from[len - 8..]);
    } else if len >= 8 {
        to[..8].copy_from_slice(&from[..8]);
        to[len - 8..len].copy_from_slice(&from[len - 8..]);
    } else if len >= 4 {
        to[..4].copy_from_slice(&from[..4]);
        to[len - 4..len].copy_from_slice(&from[len - 4..]);
    } else if let [first, .., last] = from {
        to[0] = *first;
        to[len / 2] = from[len / 2];
        to[len - 1] = *last;
    } else if let [only] = from {
        to[0] = *only;
    }
}

impl From<&str> for Word {
    fn from(word: &str) -> Self {
        Word::from(word.as_bytes())
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Word {}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a word")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Word, E> {
        Ok(Word::from(bytes))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(Word::from(bytes.as_slice()))
    }
}

impl Key for Word {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            // All 22 bytes at once, and the rest cut off: a copy of fixed length is one or two instructions.
            Repr::Inline { len, bytes } => {
                let end = out.len() + usize::from(*len);
                out.extend_from_slice(bytes);
                out.truncate(end);
            }
            Repr::Heap(bytes) => out.extend_from_slice(bytes),
        }
    }

    fn encode_part(&self, out: &mut Vec<u8>) {
        self.as_bytes().to_vec().encode_part(out);
    }

    fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(Word::from(bytes))
    }

    fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        Vec::<u8>::decode_part(bytes).map(|word| Word::from(word.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_kept_compared_and_encoded() {
        let text: Vec<u8> = (0..64).map(|n| b'a' + n % 26).collect();
        let mut last = Word::from(&b""[..]);
        for len in 0..text.len() {
            let word = Word::from(&text[..len]);
            assert_eq!(word.as_bytes(), &text[..len]);
            assert_eq!(word, word.clone());
            assert!(len == 0 || last < word);
            let mut key = b"before".to_vec();
            word.encode(&mut key);
            assert_eq!(&key[6..], &text[..len]);
            assert_eq!(Word::decode(&key[6..]).unwrap(), word);
            let mut bytes = Vec::new();
            fulmar_state::codec::encode(&word, &mut bytes).unwrap();
            assert_eq!(fulmar_state::codec::decode::<Word>(&bytes).unwrap(), word);
            last = word;
        }
    }
}
