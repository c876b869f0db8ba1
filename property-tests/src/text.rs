//! Generated text, and the count that is made of it by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What texts are made of.
pub struct Vocabulary {
    words: Vec<String>,
}

impl Vocabulary {
    /// So many distinct words of these lengths, in any bytes but white space and NUL.
    pub fn new(rng: &mut ChaCha8Rng, words: usize, lengths: Range<usize>) -> Vocabulary {
        let letters: Vec<char> = "abcdefghijklmnopqrstuvwxyzABCDEFG'-.,éß漢\u{a0}"
            .chars()
            .collect();
        let words = (0..words).map(|_| {
            let length = rng.random_range(lengths.clone());
            (0..length)
                .map(|_| letters[rng.random_range(0..letters.len())])
                .collect()
        });
        Vocabulary {
            words: words.collect(),
        }
    }

    /// So many lines, some of them empty; frequent words are far more frequent than others.
    pub fn lines(&self, rng: &mut ChaCha8Rng, lines: usize, words: Range<usize>) -> String {
        let mut out = String::new();
        for _ in 0..lines {
            for at in 0..rng.random_range(words.clone()) {
                let drawn = rng.random_range(0.0..1.0f64);
                let word = &self.words[(drawn * drawn * self.words.len() as f64) as usize];
                let blank = if at == 0 {
                    ""
                } else {
                    [" ", " ", "\t", "  "][rng.random_range(0..4)]
                };
                let _ = write!(out, "{blank}{word}");
            }
            out.push_str(if rng.random_range(0..50) == 0 {
                "\r\n"
            } else {
                "\n"
            });
        }
        out
    }
}

/// The counts as WordCount must write them: `word<TAB>count<LF>`, sorted bytewise.
pub fn count<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    for text in texts {
        let words = text.split(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c));
        words
            .filter(|word| !word.is_empty())
            .for_each(|word| *counts.entry(word).or_default() += 1);
    }
    let mut out = Vec::new();
    for (word, count) in counts {
        out.extend_from_slice(word);
        out.extend_from_slice(format!("\t{count}\n").as_bytes());
    }
    out
}

/// Lines, as WordCount tells them: ends of lines, and a last line without one.
#[must_use]
pub fn lines_in(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    ends + u64::from(text.last().is_some_and(|byte| *byte != b'\n'))
}
