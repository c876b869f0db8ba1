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
        bytes[..word.len()].copy_from_slice(word);
        Word(Repr::Inline {
            len: word.len() as u8,
            bytes,
        })
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
        out.extend_from_slice(self.as_bytes());
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
