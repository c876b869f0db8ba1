//! A line of text, a cheap slice of the block it was read in.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Word;

/// A line without its end, in whatever bytes the file holds; cloning shares the block.
///
/// ```
/// use fulmar::Line;
///
/// let line = Line::from("the quick  fox\t");
/// let words: Vec<String> = line.words().map(|word| word.to_string()).collect();
/// assert_eq!(words, ["the", "quick", "fox"]);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Line(Bytes);

impl Line {
    /// The line's bytes, without its end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its words: maximal runs of bytes that are not ASCII white space, case kept.
    pub fn words(&self) -> impl Iterator<Item = Word> + '_ {
        self.word_slices().map(Word::from)
    }

    /// Its words as slices, for programs that change them before they emit them.
    pub fn word_slices(&self) -> impl Iterator<Item = &[u8]> + '_ {
        WordSlices { rest: &self.0 }
    }
}

struct WordSlices<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for WordSlices<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self
            .rest
            .iter()
            .position(|byte| !byte.is_ascii_whitespace())?;
        let rest = &self.rest[start..];
        let end = rest
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

impl From<Bytes> for Line {
    fn from(bytes: Bytes) -> Self {
        Line(bytes)
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Line(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Line(Bytes::from(text))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_anything_but_white_space() {
        let line = Line::from(Bytes::from_static(b" \ta\xff b\x0c\r--c-- "));
        let words: Vec<&[u8]> = line.word_slices().collect();
        assert_eq!(words, [b"a\xff".as_slice(), b"b", b"--c--"]);
        assert_eq!(Line::from("").words().count(), 0);
        assert_eq!(Line::from("   ").words().count(), 0);
    }
}
