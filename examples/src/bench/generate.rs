//! Text that is the same wherever it is made: lines of words drawn by Zipf's law or uniformly, from a seed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// What text to make.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// How many lines.
    pub lines: u64,
    /// How many words a line has, each number as likely as the others.
    pub words: RangeInclusive<u32>,
    /// How many distinct words there are to draw from.
    pub distinct: u64,
    /// Zipf's exponent: the word of rank r is drawn in proportion to 1 / r^zipf; 0 draws uniformly.
    pub zipf: f64,
    /// Another seed, another text.
    pub seed: u64,
}

impl Recipe {
    /// A file name that says all of it.
    pub fn file_name(&self) -> String {
        let Self {
            lines,
            words,
            distinct,
            zipf,
            seed,
        } = self;
        format!(
            "v1-{lines}x{}..{}-{distinct}-zipf{zipf}-seed{seed}.txt",
            words.start(),
            words.end()
        )
    }
}

/// Writes the text of `recipe` to `file`, which is renamed into place when it is whole.
pub fn generate(recipe: &Recipe, file: &Path) -> Result<()> {
    ensure!(
        recipe.distinct > 0,
        "there must be at least one distinct word"
    );
    ensure!(
        recipe.words.start() <= recipe.words.end(),
        "words a line: give the smaller number first"
    );
    let unfinished = file.with_extension(format!("{}.tmp", std::process::id()));
    let out = File::create(&unfinished)
        .with_context(|| format!("cannot create {}", unfinished.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let dictionary = Dictionary::new(recipe.distinct);
    let draw = Draw::new(recipe.distinct, recipe.zipf);
    let mut random = Random(recipe.seed);
    let mut line = Vec::new();
    for _ in 0..recipe.lines {
        line.clear();
        let (least, most) = (*recipe.words.start(), *recipe.words.end());
        for _ in 0..u64::from(least) + random.below(u64::from(most - least) + 1) {
            dictionary.spell(draw.next(&mut random), &mut line);
            line.push(b' ');
        }
        line.pop();
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.into_inner()?.sync_all()?;
    fs::rename(&unfinished, file)?;
    Ok(())
}

/// SplitMix64: small, fast, and the same everywhere and for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// In 0..1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Draws ranks (from 0) in constant time: uniformly, or by Walker's alias method.
enum Draw {
    Uniform(u64),
    Alias(Vec<(f64, u32)>),
}

impl Draw {
    fn new(distinct: u64, exponent: f64) -> Self {
        if exponent == 0.0 {
            return Self::Uniform(distinct);
        }
        let weights: Vec<f64> = (1..=distinct)
            .map(|rank| (rank as f64).powf(-exponent))
            .collect();
        let mean = weights.iter().sum::<f64>() / distinct as f64;
        let mut table: Vec<(f64, u32)> = weights
            .iter()
            .zip(0..)
            .map(|(weight, own)| (weight / mean, own))
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..table.len()).partition(|&index| table[index].0 < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            table[poor].1 = u32::try_from(rich).expect("a Zipf dictionary is under 4 G words");
            table[rich].0 -= 1.0 - table[poor].0;
            if table[rich].0 < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self::Alias(table)
    }

    fn next(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform(distinct) => random.below(*distinct),
            Self::Alias(table) => {
                let index = random.below(table.len() as u64);
                let (keep, other) = table[index as usize];
                if random.fraction() < keep {
                    index
                } else {
                    u64::from(other)
                }
            }
        }
    }
}

/// Spells words of 3 to 10 letters; all differ, frequent ones tend to be short, and their order has nothing to do with rank.
struct Dictionary {
    letters: u32,
    codes: u64,
}

impl Dictionary {
    fn new(distinct: u64) -> Self {
        let letters = (3..)
            .find(|&letters| 26_u64.pow(letters) >= distinct)
            .expect("26^13 exceeds every dictionary");
        Self {
            letters,
            codes: 26_u64.pow(letters),
        }
    }

    fn spell(&self, rank: u64, out: &mut Vec<u8>) {
        // The first letters are the rank, permuted (the factor is prime to 26), so that no two words are equal.
        let mut code = (u128::from(rank) * 0x9e37_79b9_7f4a_7c15 + 11) % u128::from(self.codes);
        for _ in 0..self.letters {
            out.push(b'a' + (code % 26) as u8);
            code /= 26;
        }
        // The rest only makes them as long as words are.
        let longest =
            (10_u32.saturating_sub(self.letters)).min(u64::BITS - (rank + 1).leading_zeros());
        let mut tail = mix(rank ^ 0xf01d);
        for _ in 0..tail % (u64::from(longest) + 1) {
            tail = mix(tail);
            out.push(b'a' + (tail % 26) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn words_are_distinct_and_of_the_stated_lengths() {
        let dictionary = Dictionary::new(20_000);
        let mut seen = BTreeMap::new();
        for rank in 0..20_000 {
            let mut word = Vec::new();
            dictionary.spell(rank, &mut word);
            assert!((3..=10).contains(&word.len()), "{word:?}");
            assert_eq!(seen.insert(word, rank), None);
        }
    }

    #[test]
    fn the_first_rank_is_drawn_as_often_as_zipf_says() {
        let draw = Draw::new(1_000, 1.0);
        let mut random = Random(1);
        let first = (0..100_000).filter(|_| draw.next(&mut random) == 0).count();
        // 1 / H(1000) = 0.1336; four standard deviations are 0.0043.
        assert!((12_930..13_790).contains(&first), "{first}");
    }

    #[test]
    fn the_same_recipe_makes_the_same_text() {
        let recipe = Recipe {
            lines: 50,
            words: 5..=15,
            distinct: 100,
            zipf: 1.0,
            seed: 7,
        };
        let dir = tempfile::tempdir().unwrap();
        let texts = ["a", "b"].map(|name| {
            let file = dir.path().join(name);
            generate(&recipe, &file).unwrap();
            fs::read(file).unwrap()
        });
        assert_eq!(texts[0], texts[1]);
        let lines: Vec<&[u8]> = texts[0]
            .strip_suffix(b"\n")
            .unwrap()
            .split(|&b| b == b'\n')
            .collect();
        assert_eq!(lines.len(), 50);
        assert!(
            lines
                .iter()
                .all(|line| (5..=15).contains(&line.split(|&b| b == b' ').count()))
        );
    }
}
