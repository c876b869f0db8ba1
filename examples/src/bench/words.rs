//! What the hand-written loops share: lines of a file, words of a line, and a table of counts without an allocation per word.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::path::Path;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

const CHUNK: usize = 1 << 20;

/// The lines of a file, lent from one buffer.
pub(super) struct Lines {
    file: File,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            file,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
        })
    }

    /// The next line without its end, or `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.start;
        loop {
            if let Some(found) = memchr::memchr(b'\n', &self.buffer[searched..self.end]) {
                let line = self.start..searched + found;
                self.start = line.end + 1;
                return Ok(Some(&self.buffer[line]));
            }
            searched = self.end - self.start;
            if !self.fill()? {
                let line = self.start..self.end;
                self.start = self.end;
                return Ok((!line.is_empty()).then(|| &self.buffer[line]));
            }
        }
    }

    /// Moves the unfinished line to the front and reads on; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        let read = self.file.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read > 0)
    }
}

/// Calls `each` with every maximal run of bytes that are not ASCII whitespace.
#[inline]
pub(super) fn for_each_word(line: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = line;
    while !rest.is_empty() {
        let end = word_end(rest);
        if end > 0 {
            each(&rest[..end]);
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

/// Where the first whitespace is, or the length: eight bytes at a time.
#[inline]
fn word_end(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(eight) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(eight.try_into().expect("the slice has eight bytes"));
        // The lowest set bit marks the first byte below 0x21 exactly; higher ones may be wrong.
        let low = word.wrapping_sub(ONES * 0x21) & !word & HIGH;
        if low == 0 {
            at += 8;
            continue;
        }
        at += low.trailing_zeros() as usize / 8;
        if is_space(bytes[at]) {
            return at;
        }
        at += 1; // Another control character: part of a word.
    }
    bytes[at..]
        .iter()
        .position(|&byte| is_space(byte))
        .map_or(bytes.len(), |found| at + found)
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    offset: u32,
    length: u32,
    count: u64,
}

/// Counts by word; the words lie one after another in one buffer.
#[derive(Default)]
pub(super) struct WordTable {
    slots: HashTable<Slot>,
    bytes: Vec<u8>,
    hasher: DefaultHashBuilder,
}

impl WordTable {
    pub(super) fn hash(&self, word: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(word);
        hasher.finish()
    }

    /// A table whose hashes are the same as this one's.
    pub(super) fn sibling(&self) -> Self {
        Self {
            hasher: self.hasher.clone(),
            ..Self::default()
        }
    }

    /// Adds to a word's count and returns the new one. `hash` is `self.hash(word)`.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, word: &[u8], more: u64) -> u64 {
        let Self { slots, bytes, .. } = self;
        let entry = slots.entry(
            hash,
            |slot| {
                slot.hash == hash && &bytes[slot.offset as usize..][..slot.length as usize] == word
            },
            |slot| slot.hash,
        );
        match entry {
            Entry::Occupied(mut slot) => {
                slot.get_mut().count += more;
                slot.get().count
            }
            Entry::Vacant(vacant) => {
                let offset =
                    u32::try_from(bytes.len()).expect("the bench's distinct words are under 4 GiB");
                let length = u32::try_from(word.len()).expect("a word is under 4 GiB");
                bytes.extend_from_slice(word);
                vacant.insert(Slot {
                    hash,
                    offset,
                    length,
                    count: more,
                });
                more
            }
        }
    }

    /// Every word with its count, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.slots.iter().map(|slot| (self.word(slot), slot.count))
    }

    /// Every word with its hash and count, ascending, into `out` as far as it is reused; then `each`.
    pub(super) fn for_each_sorted(
        &self,
        order: &mut Vec<(u64, u32, u32)>,
        mut each: impl FnMut(u64, &[u8], u64),
    ) {
        let slots: Vec<&Slot> = self.slots.iter().collect();
        order.clear();
        order.extend(
            slots
                .iter()
                .zip(0..)
                .map(|(slot, index)| (head(self.word(slot)), slot.offset, index)),
        );
        // Most words differ in their first eight bytes, which compare as one number.
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| {
                self.word(slots[a.2 as usize])
                    .cmp(self.word(slots[b.2 as usize]))
            })
        });
        for &(_, _, index) in order.iter() {
            let slot = slots[index as usize];
            each(slot.hash, self.word(slot), slot.count);
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.bytes.clear();
    }

    fn word(&self, slot: &Slot) -> &[u8] {
        &self.bytes[slot.offset as usize..][..slot.length as usize]
    }
}

/// The first eight bytes as a number that orders as the bytes do.
fn head(word: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = word.len().min(8);
    first[..length].copy_from_slice(&word[..length]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for_each_word(line, |word| found.push(word.to_vec()));
        found
    }

    #[test]
    fn words_are_split_as_the_standard_library_splits_them() {
        let line = b"  a bb\tccc\x0bdddddddd \x01control\x00nul  eeeeeeeeeeeeeeeee\x0c\r f";
        // Standard `is_ascii_whitespace` leaves out the vertical tab, which C's `isspace` and this bench count.
        let expected: Vec<Vec<u8>> = line
            .split(|b| is_space(*b))
            .filter(|w| !w.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        assert_eq!(words(line), expected);
        assert_eq!(words(b""), Vec::<Vec<u8>>::new());
        assert_eq!(words(b"        "), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_table_counts_and_sorts() {
        let mut table = WordTable::default();
        for word in [&b"zebra"[..], b"a", b"abcdefghi", b"abcdefgh", b"a"] {
            table.add(table.hash(word), word, 1);
        }
        let mut sorted = Vec::new();
        table.for_each_sorted(&mut Vec::new(), |_, word, count| {
            sorted.push((word.to_vec(), count))
        });
        let expected = [("a", 2), ("abcdefgh", 1), ("abcdefghi", 1), ("zebra", 1)];
        assert_eq!(
            sorted,
            expected.map(|(word, count)| (word.as_bytes().to_vec(), count))
        );
    }
}
