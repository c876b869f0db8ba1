//! What is drawn for each life of a campaign: the program, its texts, its ledger, its spout.

use std::path::PathBuf;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::attack::Variant;
use crate::text::Vocabulary;

/// The programs that are killed.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The WordCount that users run.
    pub real: PathBuf,
    /// The one that can die by its own hand.
    pub mortal: PathBuf,
}

/// Which spouts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spouts {
    /// One that is held to identical replays.
    Transactional,
    /// One that is free to replay differently.
    Opaque,
    /// Sometimes the one, sometimes the other.
    Both,
}

/// What lives are made of; made once, since it takes a while.
pub struct Matter {
    programs: Programs,
    spouts: Spouts,
    short: Vocabulary,
    long: Vocabulary,
}

/// Lines of a life with short words, which are fast, and with long ones, which fill the log so that it is folded.
const SHORT: usize = 6_000;
const LONG: usize = 2_400;

impl Matter {
    /// For lives of these programs.
    #[must_use]
    pub fn new(programs: Programs, spouts: Spouts, rng: &mut ChaCha8Rng) -> Matter {
        Matter {
            programs,
            spouts,
            short: Vocabulary::new(rng, 3_000, 1..12),
            long: Vocabulary::new(rng, 4_000, 150..350),
        }
    }

    /// The life of this number, with its ledger in a file or at such a connection string.
    #[must_use]
    pub fn life(&self, number: u64, zookeeper: Option<String>, rng: &mut ChaCha8Rng) -> Variant {
        // Of four lives, two are the real program's, and of each two one reads as an opaque spout.
        let (mortal, odd) = (number.is_multiple_of(2), (number / 2).is_multiple_of(2));
        let opaque = match self.spouts {
            Spouts::Transactional => false,
            Spouts::Opaque => true,
            Spouts::Both => odd,
        };
        let spout = if opaque { "opaque" } else { "transactional" };
        let (words, lines) = match mortal {
            true => (&self.long, LONG),
            false => (&self.short, SHORT),
        };
        let names: &[&str] = if rng.random() {
            &["a", "b", "c"]
        } else {
            &["text"]
        };
        let texts = names.iter().map(|name| {
            let text = words.lines(rng, lines / names.len(), 0..12).into_bytes();
            ((*name).to_owned(), text)
        });
        let texts = texts.collect();
        let memory = if mortal { "" } else { " --memory 32MiB" };
        Variant {
            name: match (mortal, zookeeper.is_some()) {
                (false, false) => "the real program, embedded ledger",
                (false, true) => "the real program, ledger in ZooKeeper",
                (true, false) => "the mortal program, embedded ledger",
                (true, true) => "the mortal program, ledger in ZooKeeper",
            },
            program: match mortal {
                true => self.programs.mortal.clone(),
                false => self.programs.real.clone(),
            },
            mortal,
            zookeeper,
            texts,
            fixed: format!("--spout {spout}{memory}"),
            batch_lines: &[10, 20, 40],
            kills: 25,
            // Then what is read again after a kill is more than before.
            grows: number % 8 == 1,
        }
    }
}
