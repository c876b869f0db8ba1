//! The most frequent words, as a table, and the totals of a scan.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use fulmar::Word;

use super::text;

/// What a scan of the counts adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) words: u64,
    pub(super) distinct: u64,
}

impl Totals {
    pub(super) fn add(&mut self, count: u64) {
        self.words += count;
        self.distinct += 1;
    }
}

/// The words with the greatest counts, of equal ones the first bytewise; holds no more than it shows.
pub(super) struct Top {
    size: usize,
    /// The one that goes first is the least frequent, of equal ones the last bytewise.
    heap: BinaryHeap<(Reverse<u64>, Word)>,
}

impl Top {
    pub(super) fn of(size: usize) -> Self {
        Top {
            size,
            heap: BinaryHeap::with_capacity(size + 1),
        }
    }

    pub(super) fn add(&mut self, word: Word, count: u64) {
        self.heap.push((Reverse(count), word));
        if self.heap.len() > self.size {
            self.heap.pop();
        }
    }

    /// The most frequent first.
    pub(super) fn sorted(self) -> Vec<(Word, u64)> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|(Reverse(count), word)| (word, count))
            .collect()
    }
}

/// Writes one line a word. Control characters are escaped: a text must not be able to steer a terminal.
pub(super) fn write(out: &mut impl Write, words: &[(Word, u64)]) -> io::Result<()> {
    let counts: Vec<String> = words
        .iter()
        .map(|(_, count)| text::grouped(*count))
        .collect();
    let width = counts
        .iter()
        .map(String::len)
        .max()
        .unwrap_or(0)
        .max("count".len());
    if !words.is_empty() {
        writeln!(out, "{:>width$}  word", "count")?;
    }
    for ((word, _), count) in words.iter().zip(counts) {
        writeln!(out, "{count:>width$}  {}", shown(word))?;
    }
    Ok(())
}

fn shown(word: &Word) -> String {
    let text = String::from_utf8_lossy(word.as_bytes());
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_by_count_and_then_bytewise() {
        let mut top = Top::of(3);
        for (word, count) in [("d", 1), ("b", 2), ("a", 2), ("c", 2), ("e", 9)] {
            top.add(Word::from(word), count);
        }
        let words: Vec<String> = top
            .sorted()
            .iter()
            .map(|(word, count)| format!("{word} {count}"))
            .collect();
        assert_eq!(words, ["e 9", "a 2", "b 2"]);
    }

    #[test]
    fn a_word_cannot_steer_the_terminal() {
        assert_eq!(shown(&Word::from("a\u{1b}[2Jé")), "a\\u{1b}[2Jé");
    }
}
